"""A temporal stack of sample scenes as an xarray loader would give it."""

from __future__ import annotations

import numpy as np
import rioxarray  # noqa: F401  # registers the accessor `rio`
import xarray as xr

from coregstack.errors import InvalidRequest
from coregstack.model import Shift
from coregstack.testing.landscape import BAND_NAMES
from coregstack.testing.scenes import NODATA, Conditions, shifted_scene

_WEST, _NORTH = 500_001.0, 5_300_001.0
_SATELLITES = ("2465", "247a", "24af", "2416", "248e", "2427")


def sample_stack(
    n: int = 6,
    shape: tuple[int, int] = (512, 512),
    *,
    seed: int = 0,
    bands: int = 4,
    crs: str = "EPSG:32633",
    resolution: float = 3.0,
    max_shift: float = 3.0,
    cloud_cover: float = 0.15,
    chunks: int | dict[str, int] | str | None = None,
) -> xr.DataArray:
    """A temporal stack with known shifts; its first item is a clear anchor.

    Parameters
    ----------
    n : int
        How many items.
    shape : (int, int)
        Rows and columns.
    seed : int
        Which landscape, shifts and clouds.
    bands : {4, 8}
        How many bands.
    crs : str
        Projected CRS of the lattice.
    resolution : float
        Pixel size in the CRS's units.
    max_shift : float
        Shifts are drawn evenly from minus to plus this, px.
    cloud_cover : float
        Cloud cover is drawn evenly from 0 to twice this.
    chunks : optional
        As `xarray.DataArray.chunk` takes them; None leaves the stack in memory.

    Returns
    -------
    xarray.DataArray
        uint16, dims (time, band, y, x), nodata 0; coords `time`, `id`, `band`, `y`, `x`,
        `spatial_ref`, `clear` (time, y, x) and the truth, `true_shift_y` and `true_shift_x`, px.

    Raises
    ------
    InvalidRequest
        If there is to be no item at all.

    Examples
    --------
    >>> stack = sample_stack(2, (48, 64))
    >>> stack.dims, stack.shape, int(stack.rio.nodata)
    (('time', 'band', 'y', 'x'), (2, 4, 48, 64), 0)
    """
    if n < 1:
        raise InvalidRequest(f"n has to be at least 1, but {n!r} was given.")
    rng = np.random.default_rng([seed, 1])
    shifts = [
        Shift(0.0, 0.0),
        *(Shift(*rng.uniform(-max_shift, max_shift, 2).tolist()) for _ in range(n - 1)),
    ]
    covers = [0.0, *rng.uniform(0, min(2 * cloud_cover, 1), n - 1).tolist()]
    scenes = [
        shifted_scene(
            shape,
            shift,
            conditions=Conditions(seed=k, season=(0.4 + 0.013 * k) % 1, cloud_cover=cover),
            seed=seed,
            bands=bands,
        )
        for k, (shift, cover) in enumerate(zip(shifts, covers, strict=True))
    ]
    times = np.datetime64("2022-05-26T09:45:12", "ns") + 5 * np.arange(n) * np.timedelta64(1, "D")
    ids = [
        f"{str(time)[:10].replace('-', '')}_094512_{k % 90 + 10}_{_SATELLITES[k % len(_SATELLITES)]}"
        for k, time in enumerate(times)
    ]
    bare = xr.DataArray(
        np.stack([scene.values for scene in scenes]),
        dims=("time", "band", "y", "x"),
        coords={
            "time": times,
            "id": ("time", ids),
            "band": list(BAND_NAMES[bands]),
            "y": _NORTH - resolution * (np.arange(shape[0]) + 0.5),
            "x": _WEST + resolution * (np.arange(shape[1]) + 0.5),
            "clear": (("time", "y", "x"), np.stack([scene.clear for scene in scenes])),
            "true_shift_y": ("time", [shift.y for shift in shifts]),
            "true_shift_x": ("time", [shift.x for shift in shifts]),
        },
        name="reflectance",
    )
    stack: xr.DataArray = bare.rio.write_crs(crs).rio.write_transform().rio.write_nodata(NODATA)
    return stack if chunks is None else stack.chunk(chunks)
