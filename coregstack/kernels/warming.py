"""Has every kernel compiled that an ordinary run calls, so that the first run need not.

The kernels are called as a run calls them, on small made images. ``python -m coregstack.kernels.warming`` does it in
several processes at once; the package is built with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from coregstack.errors import CoregError
from coregstack.kernels.displaced import displaced_positions, resample_at, resample_mask_at
from coregstack.kernels.displacement import Spline
from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.lines import level_lines
from coregstack.kernels.resample import translate, translate_mask
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.selected_inverse import selected_inverse
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.unheld import unheld
from coregstack.model import Displacement, Shift

PIXELS: tuple[type[np.generic], ...] = (np.uint16, np.float32, np.uint8, np.int16)
"""Types of pixels that kernels are compiled for beforehand."""
_SIDE = 320
_MOVED = Shift(1.3, -0.6)


def match() -> None:
    """Find a shift, of whole scenes, of scenes with stripes and many narrow gaps, and beside a pattern that stays."""
    anchor, item = _source(np.uint16, Shift(0.0, 0.0)), _source(np.uint16, _MOVED)
    estimate_shift(prepare_anchor(anchor), item)
    seen = item.usable.copy()
    seen[:, ::3] = False
    estimate_shift(prepare_anchor(anchor), replace(item, usable=seen))
    level_lines(np.zeros((1, 64, 64), np.float32), np.ones((1, 64, 64), np.bool_), True, True)
    windows = np.random.default_rng(0).normal(size=(12, 32, 32)).astype(np.float32)
    unheld(windows, windows, np.ones(windows.shape, np.bool_), 0)


def follow() -> None:
    """Find displacements that vary over a scene."""
    anchor, item = _source(np.uint16, Shift(0.0, 0.0)), _source(np.uint16, _MOVED)
    prepared = prepare_anchor(anchor)
    found = estimate_shift(prepared, item)
    for model in ("affine", "field"):
        estimate_displacement(prepared, item, found, model=model)


def compare() -> None:
    """Score a shift and a displacement."""
    anchor, item = _source(np.uint16, Shift(0.0, 0.0)), _source(np.uint16, _MOVED)
    for move in (None, _MOVED, _displacement()):
        matching_scores(anchor, item, move, value_range=anchor_range(anchor))


def read() -> None:
    """Read windows and overviews of pixels of each type."""
    for dtype in PIXELS:
        source = _source(dtype, _MOVED)
        source.read(0, slice(0, 64), slice(0, 64))
        source.overview(0, 4)


def move() -> None:
    """Move images of each type, by fractions and by whole pixels, and masks."""
    for dtype in PIXELS:
        image = _image(dtype, Shift(0.0, 0.0))
        for nodata in (None, 0):
            translate(image, start=Shift(0.4, 2.3), shape=image.shape[1:], nodata=nodata)
    translate_mask(image[0] > 0, start=Shift(0.4, 2.3), shape=image.shape[1:])


def displace() -> None:
    """Move images of each type, and masks, by a displacement that varies."""
    spline = Spline.of(_displacement())
    rows, cols = displaced_positions(spline, (0, 0, _SIDE, _SIDE), Shift(0.0, 0.0))
    spline.at_points(rows, cols)
    for dtype in PIXELS:
        image = _image(dtype, Shift(0.0, 0.0))
        for kernel in ("cubic", "nearest"):
            resample_at(image, rows, cols, kernel=kernel, nodata=0)
    resample_mask_at(image[0] > 0, rows, cols)


def adjust() -> None:
    """Take the inverse of a sparse matrix, as the adjustment of a network does."""
    selected_inverse(sp.csc_matrix([[2.0, -1.0], [-1.0, 2.0]]), np.array([0]), np.array([1]))


class CompilingFailed(CoregError, RuntimeError):
    """Kernels that cannot be compiled."""


PARTS: dict[str, Callable[[], None]] = {
    "match": match,
    "displace": displace,
    "follow": follow,
    "compare": compare,
    "move": move,
    "read": read,
    "adjust": adjust,
}
"""What processes can do apart from each other, that which takes longest first."""


def warm(processes: int | None = None) -> None:
    """Compile in several processes what is not compiled yet, and wait for it.

    Parameters
    ----------
    processes : int, optional
        How many at once; by default one a core, and at most one for each of `PARTS`.

    Raises
    ------
    CompilingFailed
        If a process fails; it has said why on its error stream.

    Examples
    --------
    >>> warm()  # doctest: +SKIP
    """
    left = list(PARTS)
    count = min(processes or _cores(), len(left))
    running = [_started(left.pop(0)) for _ in range(count)]
    failed = 0
    while running:
        failed += running.pop(0).wait() != 0
        if left:
            running.append(_started(left.pop(0)))
    if failed:
        raise CompilingFailed(
            f"{failed} of {len(PARTS)} processes that compile kernels failed; their output says why. "
            "A run compiles the kernels that it needs."
        )


def _started(part: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "coregstack.kernels.warming", part])


def _cores() -> int:
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1


def _displacement() -> Displacement:
    """About `_MOVED`, and by a tenth of a pixel more from one side to the other."""
    y, x = np.meshgrid(np.linspace(0.0, 0.1, 5), np.linspace(0.0, 0.1, 5), indexing="ij")
    nodes = [(part + by).astype(np.float32) for part, by in zip((y, x), _MOVED, strict=True)]
    sigma = np.full(y.shape, 0.01, np.float32)
    return Displacement(origin=Shift(0.0, 0.0), step=_SIDE / 4, y=nodes[0], x=nodes[1], sigma=sigma)


def _source(dtype: type[np.generic], shift: Shift) -> ArraySource:
    values = _image(dtype, shift)
    return ArraySource(values=values, usable=values[0] > 0, nodata=0)


def _image(dtype: type[np.generic], shift: Shift) -> NDArray[np.generic]:
    """Smooth noise of a few pixels' size with a shift, 2 bands, and a corner that holds nothing."""
    places = np.arange(_SIDE)
    rng = np.random.default_rng(0)
    image = np.zeros((2, _SIDE, _SIDE))
    for _ in range(60):
        y, x = rng.uniform(-0.9, 0.9, 2)
        phase = rng.uniform(0, 2 * np.pi, (2, 1, 1))
        down, along = y * (places - shift.y), x * (places - shift.x)
        image += np.cos(down[:, None] + along[None] + phase)
    image = 110 + 4 * image
    image[:, :40, :40] = 0
    # within the limits of all types
    return np.clip(image, 0, 127).astype(dtype)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        PARTS[sys.argv[1]]()
    else:
        warm()
