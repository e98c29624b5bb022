"""Heights: views that were found against angles that are told, and the error of a height model that follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest
from coregstack.model import Shift, Viewing
from coregstack.network.heights import LEAST_DATES, ViewFit, fit_views, tilt_of
from coregstack.stack.measured import measured_on
from coregstack.stack.nodes import DISPLACEMENT

ANGLES = ("view_incidence", "view_azimuth")
"""Coordinates on time of a stack: degrees from the vertical, and from north eastwards to the satellite."""
_VIEWS = ("view_y", "view_x")
T = TypeVar("T", xr.DataArray, xr.Dataset)


def with_angles(array: T, seen: Sequence[Viewing | None]) -> T:
    """A stack or quality with from where each of its scenes was seen, NaN where that is not known."""
    told = np.array([one or (np.nan, np.nan) for one in seen], float)
    return array.assign_coords({name: ("time", told[:, k]) for k, name in enumerate(ANGLES)})


def height_error(quality: xr.Dataset) -> xr.Dataset:
    """The error in metres of the height model that orthorectified a stack, from its relief and the angles of its dates.

    Parameters
    ----------
    quality : Dataset
        What `coregstack.estimate` returned with ``model="terrain"``, with the coordinates `view_incidence` (degrees
        from the vertical, on the ground) and `view_azimuth` (degrees from north eastwards, from the ground to the
        satellite) on time. Stacks of files have them where metadata tell them; else assign them.

    Returns
    -------
    Dataset
        Computed: `height_error` (lattice_y, lattice_x), the height of the ground less that of the model, m, but for a
        plane, which cannot be told from a linear displacement of each date; `height_error_sigma`, 1 sigma of it, m. The
        attributes `correlation`, `metres` and `metres_sigma` say how the views that were found follow the angles, and
        how many metres one unit of the pattern is; `dates` how many dates tell it.

    Raises
    ------
    InvalidRequest
        If angles are not known of the anchor and three dates, pixels are not counted in metres, or the views that were
        found do not follow the angles.

    Examples
    --------
    >>> import coregstack
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(3, shape=(128, 128))
    >>> height_error(coregstack.estimate(stack, anchor=0, model="terrain"))
    Traceback (most recent call last):
    ...
    coregstack.errors.InvalidRequest: The quality lacks the coordinate 'view_incidence' ...
    """
    tilts = _tilts(quality)
    _check_held(quality, DISPLACEMENT)
    fit, followed = _fit(quality, tilts)
    if not fit.known:
        raise InvalidRequest(f"No heights follow: {fit_words(fit)}.")
    tilts = np.where(followed[:, None], tilts, 0.0)
    square = float(np.square(tilts).sum())
    names = {"y": tilts[:, 0], "x": tilts[:, 1], "sigma": np.sqrt(2) * np.hypot(*tilts.T)}
    sums = [
        (quality[f"displacement_{name}"] * xr.DataArray(weight, dims="time")).sum("time", skipna=True)
        for name, weight in names.items()
    ]
    found = xr.Dataset({"bent": sums[0] + sums[1], "sigma": sums[2]}).compute() / square
    error = _without_plane(found.bent.values)
    # what is wrong with the pattern, and with its scale
    sigma = np.hypot(found.sigma.values, error * fit.sigma / fit.scale)
    dims = ("lattice_y", "lattice_x")
    return xr.Dataset(
        {
            "height_error": (dims, error.astype(np.float32), {"units": "m"}),
            "height_error_sigma": (dims, sigma.astype(np.float32), {"units": "m"}),
        },
        coords={name: quality[name].variable for name in dims},
        attrs={
            **{key: value for key, value in quality.attrs.items() if str(key).startswith("lattice_")},
            "correlation": abs(fit.correlation),
            "metres": abs(fit.scale),
            "metres_sigma": fit.sigma,
            "dates": fit.dates,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldViews:
    """Views that were found beside the angles that are told."""

    tilts: NDArray[np.float64]
    """Tilt of each item less that of the anchor, px / m, shape (time, 2), NaN where it is not known."""
    fit: ViewFit
    """How the views follow them."""


def compare_views(quality: xr.Dataset) -> ToldViews | None:
    """The views of a quality that is known beside the angles that are told; None where these are not."""
    try:
        tilts = _tilts(quality)
    except InvalidRequest:
        return None
    return ToldViews(tilts=tilts, fit=_fit(quality, tilts)[0])


def fit_words(fit: ViewFit) -> str:
    """How views follow angles, in words."""
    if fit.dates < LEAST_DATES:
        return f"{fit.dates} dates follow a pattern and have known angles, and it takes {LEAST_DATES}"
    words = (
        f"the views of {fit.dates} dates have a correlation of {abs(fit.correlation):.2f} with the angles that "
        "metadata tell"
    )
    if not fit.known:
        return f"{words}, which may be chance"
    return f"{words}: one unit of the pattern is {abs(fit.scale):.3g} m of height, sigma {fit.sigma:.2g} m"


def check_angles(incidence: Any, anchor: int) -> None:
    """Refuse angles that tell no heights.

    Parameters
    ----------
    incidence : array_like
        Of each item, degrees, NaN where it is not known.
    anchor : int
        Position of the anchor.

    Raises
    ------
    InvalidRequest
    """
    known = np.isfinite(np.asarray(incidence, float))
    if not known[anchor] or np.count_nonzero(known) <= LEAST_DATES:
        whose = "" if known[anchor] else ", and not of the anchor"
        raise InvalidRequest(
            "Heights follow from the angles under which dates were seen: they have to be known of the anchor and "
            f"{LEAST_DATES} dates, but are known of {np.count_nonzero(known)} of {known.size} items{whose}. Metadata "
            "of Sentinel-2 (MTD_TL.xml) and Planet (*_metadata.json or .xml) beside the images tell them, and rasters "
            "of angles of Landsat and HLS (VZA and VAA) that were cropped to one area; in Python, assign "
            "view_incidence and view_azimuth to the quality and pass it to coregstack.height_error."
        )


def _tilts(quality: xr.Dataset) -> NDArray[np.float64]:
    """Tilt of each item less that of the anchor, px / m, NaN where it is not known."""
    if missing := [name for name in ANGLES if name not in quality.coords]:
        raise InvalidRequest(
            f"The quality lacks the coordinate {missing[0]!r} on time, in degrees: the files of the stack tell no "
            "angles. Assign it, if you know it."
        )
    _check_held(quality, _VIEWS)
    incidence, azimuth = (np.asarray(quality[name].values, float) for name in ANGLES)
    ids = [str(one) for one in quality["id"].values]
    name = str(quality.attrs.get("anchor", ""))
    if name not in ids:
        raise InvalidRequest(
            "Heights follow from the angles of dates and anchor, but the anchor is none of the items."
        )
    check_angles(incidence + azimuth, ids.index(name))
    pixel = pixel_metres(measured_on(quality))
    tilts = np.array(
        [
            tilt_of(Viewing(incidence=one, azimuth=other), pixel)
            for one, other in zip(incidence, azimuth, strict=True)
        ]
    )
    apart: NDArray[np.float64] = tilts - tilts[ids.index(name)]
    return apart


def _check_held(quality: xr.Dataset, names: Iterable[str]) -> None:
    if missing := [name for name in names if name not in quality]:
        raise InvalidRequest(
            f"The quality lacks {missing[0]!r}: pass what estimate returned with model='terrain'."
        )


def pixel_metres(box: GeoBox | None) -> Shift:
    """Step of a row to the north and of a column to the east, m.

    Raises
    ------
    InvalidRequest
        If the CRS does not count metres.
    """
    if box is None or box.crs is None or box.crs.proj.axis_info[0].unit_name not in ("metre", "meter"):
        raise InvalidRequest("Heights in metres need an anchor whose CRS counts metres.")
    return Shift(box.affine.e, box.affine.a)


def _fit(quality: xr.Dataset, tilts: NDArray[np.float64]) -> tuple[ViewFit, NDArray[np.bool_]]:
    """How views follow tilts, and which items tell it."""
    views = np.stack([np.asarray(quality[f"view_{axis}"].values, float) for axis in "yx"], axis=1)
    told = np.isfinite(views).all(axis=1) & np.isfinite(tilts).all(axis=1)
    return fit_views([Shift(*view) for view in views[told]], tilts[told]), told


def _without_plane(values: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = (places.ravel() for places in np.indices(values.shape, float))
    plane = np.stack([np.ones_like(y), y, x], axis=1)
    flat = plane @ np.linalg.lstsq(plane, values.ravel(), rcond=None)[0]
    bent: NDArray[np.float64] = values - flat.reshape(values.shape)
    return bent
