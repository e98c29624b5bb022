"""What residual misalignment does to the pixel values of an aligned stack."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr

from coregstack.errors import InvalidStack
from coregstack.graph.blocks import by_time
from coregstack.graph.displaced import sigma_planes
from coregstack.model import Status
from coregstack.stack.applying import for_items
from coregstack.stack.conform import Stack, conform, like_given
from coregstack.stack.measured import displacements_on


def change_sigma(aligned: xr.DataArray, quality: xr.Dataset | None = None) -> xr.DataArray:
    """Standard deviation of pixel values that residual misalignment causes, for each date and pixel.

    A pixel that lies off by a fraction of a pixel shows another value wherever the scene is not flat: at edges of
    fields and roads that looks like change. This is how large it is to be expected: the length of the image's gradient
    times the residual misalignment along an axis. Differences of two dates `a` and `b` are to be held against
    ``sqrt(sigma_a**2 + sigma_b**2)``. It is right to first order, for residuals below about a pixel.

    Parameters
    ----------
    aligned : DataArray
        As `coregstack.align` or `coregstack.apply` returned it, with its coordinate `residual`.
    quality : Dataset, optional
        What `coregstack.estimate` returned with another `model` than "shift": then the sigma of the displacement at
        each place counts, where an item was moved by one, and not its mean over the scene.

    Returns
    -------
    DataArray
        Lazy, float32, dims and coordinates of `aligned`, in units of its values. NaN where a pixel is not valid or has
        no valid neighbour along an axis, and for items whose alignment is not known; 0 for the anchor, which the others
        are held against.

    Raises
    ------
    InvalidStack
        If the stack does not carry the quality that it was aligned by, or `quality` lacks some of its items.

    Examples
    --------
    >>> from coregstack import align
    >>> from coregstack.testing import sample_stack
    >>> aligned = align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> sigma = change_sigma(aligned)
    >>> change = aligned[2].astype(float) - aligned[1].astype(float)
    >>> weighed = change / np.hypot(sigma[2], sigma[1])
    >>> weighed.dims
    ('band', 'y', 'x')
    """
    known = conform(aligned)
    missing = [name for name in ("status", "residual") if name not in aligned.coords]
    if missing:
        raise InvalidStack(
            f"The stack carries no {missing[0]!r}: pass what align or apply returned, which says how well it lies."
        )
    values = known.array.where(_valid(known)).astype(np.float32)
    slopes = [_slope(values, dim) for dim in ("y", "x")]
    square = slopes[0] ** 2 + slopes[1] ** 2
    found = square**0.5 * _along_axis(known, aligned, quality)
    attrs = {
        "long_name": "standard deviation of the values that residual misalignment causes",
        "units": str(aligned.attrs.get("units", "units of the values")),
    }
    return like_given(known, found.astype(np.float32).assign_attrs(attrs)).rename("change_sigma")


def _valid(known: Stack) -> xr.DataArray:
    """Where pixels hold data."""
    finite: xr.DataArray = known.array.notnull()
    if known.empty is not None and np.isfinite(known.empty):
        finite = finite & (known.array != known.empty)
    return finite


def _slope(values: xr.DataArray, dim: str) -> xr.DataArray:
    """Change of the values from pixel to pixel: between both neighbours, or to the only one that is valid."""
    after, before = values.shift({dim: -1}), values.shift({dim: 1})
    one_sided = (after - values).fillna(values - before)
    return ((after - before) / 2).fillna(one_sided)


def _along_axis(known: Stack, aligned: xr.DataArray, quality: xr.Dataset | None) -> xr.DataArray:
    """Residual misalignment along an axis, px: of each date, or of each of its pixels."""
    status, residual = (by_time(aligned.coords[name].data) for name in ("status", "residual"))
    mean = da.where(status == Status.ANCHOR, 0.0, residual / np.sqrt(2))
    one = xr.DataArray(mean, dims="time")
    field = None if quality is None else displacements_on(for_items(quality, known, aligned), known.box)
    if field is None:
        return one
    moved = xr.DataArray(status == Status.COREGISTERED, dims="time")
    planes = sigma_planes(field, known.array.data.chunks[2:])
    sigma = xr.DataArray(planes, dims=("time", "y", "x"))
    return sigma.where(moved).fillna(one).where(one.notnull())
