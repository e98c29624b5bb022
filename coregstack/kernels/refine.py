"""The fit: robust least squares at full resolution, within windows of a few thousand pixels.

Both images are moved by half the shift towards each other, so that both are smoothed alike and
what is left of it cancels. Every block of `BLOCK` pixels has its own gain, of either sign, and its own
noise, and weighs as much as its correlation deserves: the sum over blocks of log(1 - rho^2) is what the
fit brings down, the likelihood of blocks that each follow the other up to gain and noise. So clouds,
waves and changed fields weigh nothing, and no mask is needed to be rid of most of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coregstack.kernels._blocks import BLOCK, block_weights
from coregstack.kernels.bridge import bridge
from coregstack.kernels.compiling import compiled
from coregstack.kernels.gaps import RIM, eroded, pixels_in
from coregstack.kernels.lines import drop_dead_lines, level_lines, striped
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.rectangles import rectangles
from coregstack.kernels.repeated import repeated
from coregstack.kernels.smoothing import REACH, halfway_taps
from coregstack.kernels.windows import (
    Box,
    Lag,
    grown,
    moved,
    parts_for,
    parts_of,
    read_stack,
)
from coregstack.model import PixelSource

if TYPE_CHECKING:
    from coregstack.kernels.overview import PreparedAnchor

S = TypeVar("S", bound=np.generic)

_FLAT = 0.001
"""Part of the typical variance that every block is taken to have as noise."""
_LEAST = 1e-36
"""The same of images that hold nothing: far less than the square of any unit that values are told in."""
Rectangle = tuple[int, int, int, int]
"""First row, the one after the last, and the same of columns."""
_DEAD = 0.01
"""Part of the pixels on lines that are dead from which on they count as a pattern; fewer are found by chance."""
_CROSSED = 0.15
"""Part of the pixels of both images on dead lines from which on these lie so close that they still pull."""
_DECOY = 6
"""Offset, px, at which a match must be worse than where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of one band, band-passed and ready to be fitted again and again."""

    centres: NDArray[np.float64]
    """Frame position (y, x) of the centre of each part of each window, shape (n x parts x parts, 2)."""
    heard: NDArray[np.bool_]
    """Which parts are worth a fit, shape (n x parts x parts,)."""
    anchor: NDArray[np.float32]
    """Shape (n, y, x)."""
    item: NDArray[np.float32]
    """Shape (n, y, x)."""
    usable: NDArray[np.bool_]
    """Shape (n, y, x)."""
    margin: int
    """Pixels on every side that only serve the filters."""
    parts: int = 1
    """Parts down and across that are judged by themselves, as windows of their own would be."""
    bridged: bool = False
    """Whether narrow gaps were filled in, which holds the fit back towards the whole pixels read at."""
    lined: bool = False
    """Whether stripes, or lines that are dead, were taken out."""
    crossed: bool = False
    """Whether many lines were dead in both images."""
    repeated: tuple[int, int] = (0, 0)
    """In how many of the two images rows, and columns, repeat those beside them."""

    def every(self, step: int) -> Windows:
        """One window in `step`, side by side in memory: kernels are compiled for one layout only."""
        if step == 1:
            return self
        return replace(
            self,
            centres=self.centres.reshape(len(self.anchor), -1, 2)[::step].reshape(-1, 2),
            heard=self.heard.reshape(len(self.anchor), -1)[::step].ravel(),
            anchor=np.ascontiguousarray(self.anchor[::step]),
            item=np.ascontiguousarray(self.item[::step]),
            usable=np.ascontiguousarray(self.usable[::step]),
        )

    def apart(self) -> Windows:
        """The parts of all windows that are worth a fit as windows of their own."""
        if self.parts == 1 and self.heard.all():
            return self
        return replace(
            self,
            centres=self.centres[self.heard],
            heard=self.heard[self.heard],
            anchor=_parted(self.anchor, self.margin, self.parts)[self.heard],
            item=_parted(self.item, self.margin, self.parts)[self.heard],
            usable=_parted(self.usable, self.margin, self.parts)[self.heard],
            parts=1,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks down and across a part of a window."""
        _, height, width = self.anchor.shape
        side = BLOCK * self.parts
        return (height - 2 * self.margin) // side, (width - 2 * self.margin) // side

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of parts of windows, and of blocks in each."""
        down, across = self.grid
        return len(self.heard), down * across


def _parted(values: NDArray[S], margin: int, parts: int) -> NDArray[S]:
    """Windows (n, y, x) cut into parts, each with the whole margin."""
    around = 2 * margin
    down, across = ((size - around) // parts for size in values.shape[1:])
    places = [(k * down, m * across) for k in range(parts) for m in range(parts)]
    found = np.empty((len(values), len(places), down + around, across + around), values.dtype)
    for k, (top, left) in enumerate(places):
        found[:, k] = values[:, top : top + down + around, left : left + across + around]
    return found.reshape(-1, *found.shape[2:])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ground:
    """A window of the anchor with its margin."""

    values: NDArray[np.float32]
    """Shape (1, y, x)."""
    usable: NDArray[np.bool_]
    """Shape (1, y, x)."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.values.nbytes + self.usable.nbytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Passed:
    """A window of the anchor band-passed over a rectangle, as far as nothing in it is unusable or dead."""

    images: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    """At full and at half resolution, shape (y, x); None where lines are dead."""

    @classmethod
    def of(cls, ground: _Ground, rectangle: Rectangle) -> _Passed:
        mask = np.zeros(ground.usable.shape, np.bool_)
        top, bottom, left, right = rectangle
        mask[0, top:bottom, left:right] = True
        seen = np.count_nonzero(mask)
        drop_dead_lines(ground.values, mask)
        if np.count_nonzero(mask) < seen:
            return cls(images=None)
        half, _, half_mask = halved(ground.values, ground.values, mask)
        return cls(images=(high_pass(ground.values, mask)[0], high_pass(half, half_mask)[0]))

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return 0 if self.images is None else sum(image.nbytes for image in self.images)


def prepare(
    anchor: PreparedAnchor,
    item: PixelSource,
    band: int,
    boxes: Sequence[Box],
    lag: Lag,
    deaf: Collection[Box] = (),
) -> tuple[Windows, Windows] | None:
    """Read windows of one size with their margin and band-pass them, at full and at half resolution.

    Windows of which too little is usable are left out; None where no other is left. `deaf` are parts of them that are
    not worth a fit.
    """
    raw = _Raw.of(anchor, item, band, boxes, lag, deaf)
    if raw is None:
        return None
    full, stripes = raw.full()
    return full, raw.half(stripes)


def prepare_full(
    anchor: PreparedAnchor,
    item: PixelSource,
    band: int,
    boxes: Sequence[Box],
    lag: Lag,
    deaf: Collection[Box] = (),
) -> Windows | None:
    """The same at full resolution alone."""
    raw = _Raw.of(anchor, item, band, boxes, lag, deaf)
    return None if raw is None else raw.full()[0]


def prepare_plain(
    anchor: PreparedAnchor, item: PixelSource, bands: Sequence[int], boxes: Sequence[Box], lag: Lag
) -> list[Windows | None]:
    """Windows of some bands at full resolution as they come, nothing in the item taken out.

    None for a band where the anchor's are not whole. It takes a third of the time of `prepare_full`.
    """
    wide = [grown(box, REACH) for box in boxes]
    there = [moved(box, lag) for box in wide]
    read = [read_stack(item, band, there) for band in bands]
    for band, (_, usable) in zip(bands, read, strict=True):
        usable &= np.concatenate([_ground(anchor, band, box).usable for box in wide])
    values, masks = (np.concatenate(part) for part in zip(*read, strict=True))
    own = [_all_known(anchor, band, wide, usable) for band, (_, usable) in zip(bands, read, strict=True)]
    passed, clear = high_pass(values, masks), eroded(masks)
    parts, count = parts_for(boxes), len(boxes)
    centres, heard = _centres(boxes, parts), np.ones(count * parts**2, np.bool_)
    found: list[Windows | None] = []
    for k, known in enumerate(own):
        images = [one.images[0] for one in known if one is not None and one.images]
        part = slice(k * count, (k + 1) * count)
        whole = len(images) == count
        found.append(Windows(
            centres=centres, heard=heard, anchor=np.array(images), item=passed[part], usable=clear[part], margin=REACH,
            parts=parts,
        ) if whole else None)  # fmt: skip
    return found


def _centres(boxes: Sequence[Box], parts: int) -> NDArray[np.float64]:
    """Centre (y, x) of each part of each window."""
    height, width = boxes[0].height // parts, boxes[0].width // parts
    places = [(k * height, m * width) for k in range(parts) for m in range(parts)]
    corners = np.array([box[:2] for box in boxes], np.float64)[:, None] + np.array(places, np.float64)
    return np.asarray((corners + np.array([height - 1, width - 1]) / 2).reshape(-1, 2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Raw:
    """Windows with their margin side by side, dead lines and gaps seen to; arrays of shape (n, y, x)."""

    known: Sequence[_Passed | None]
    """The anchor's side of each band-passed, where items before have needed the same."""
    centres: NDArray[np.float64]
    heard: NDArray[np.bool_]
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    solid: NDArray[np.bool_]
    """Where something stands in both."""
    clear: NDArray[np.bool_]
    """Which pixels may be compared."""
    parts: int
    bridged: bool
    dead: bool
    """Whether lines were dead."""
    crossed: bool
    """Whether many were in both images."""
    repeated: tuple[int, int]
    """In how many of the two images rows, and columns, repeat those beside them."""

    @classmethod
    def of(
        cls,
        anchor: PreparedAnchor,
        item: PixelSource,
        band: int,
        boxes: Sequence[Box],
        lag: Lag,
        deaf: Collection[Box],
    ) -> _Raw | None:
        parts = parts_for(boxes)
        wide = [grown(box, REACH) for box in boxes]
        first, own = _grounds(anchor, band, wide)
        second, theirs = read_stack(item, band, [moved(box, lag) for box in wide])
        usable = theirs & own
        before = pixels_in(usable)
        some = np.flatnonzero(before >= BLOCK * BLOCK)
        if some.size == 0:
            return None
        if some.size < len(boxes):
            first, second, usable, theirs = first[some], second[some], usable[some], theirs[some]
            before = before[some]
        known = _all_known(anchor, band, [wide[k] for k in some], usable)
        seen = before.sum()
        odd = [k for k, one in enumerate(known) if one is None]
        if odd:
            mask = own[some[odd]]
            drop_dead_lines(first[odd], mask)
            usable[odd] &= mask
            before = pixels_in(usable)
        # a line is judged by its neighbours, which may be dead in the other scene
        given = np.count_nonzero(theirs)
        drop_dead_lines(second, theirs)
        kept = np.count_nonzero(theirs)
        if kept < given:
            usable &= theirs
        now = pixels_in(usable) if kept < given else before
        dead = bool(now.sum() < (1 - _DEAD) * seen)
        few = 1 - _CROSSED
        crossed = kept < few * given and before.sum() < few * seen
        rows, columns = np.add(repeated(first, usable), repeated(second, usable), dtype=np.int64).tolist()
        solid, clear, bridged = bridge(first, second, usable)
        # lines that are dead in the item, or gaps that were filled, change the anchor's side as well
        same = (now == before) & (pixels_in(solid) == before if bridged else True)
        left = [boxes[int(k)] for k in some]
        pieces = [part for box in left for part in parts_of(box, parts)] if deaf else []
        return cls(
            known=[one if still else None for one, still in zip(known, same.tolist(), strict=True)],
            centres=_centres(left, parts),
            heard=np.array([part not in deaf for part in pieces]) if deaf else np.ones(len(left) * parts**2, np.bool_),
            first=first, second=second, solid=solid, clear=clear, parts=parts, bridged=bridged,
            dead=dead, crossed=bool(crossed), repeated=(rows, columns),
        )  # fmt: skip

    def full(self) -> tuple[Windows, tuple[bool, bool]]:
        """Windows at full resolution, and whether they were striped along their rows, and along their columns."""
        images = self._passed(0, self.first, self.second, self.solid)
        striped_by = [striped(image, self.solid) for image in images]
        stripes = striped_by[0][0] | striped_by[1][0], striped_by[0][1] | striped_by[1][1]
        return self._windows(images, stripes, self.solid, self.clear, REACH), stripes

    def half(self, stripes: tuple[bool, bool]) -> Windows:
        """Windows at half resolution."""
        first, second, solid = halved(self.first, self.second, self.solid)
        images = self._passed(1, first, second, solid)
        return self._windows(images, stripes, solid, _half_clear(self.clear, solid), REACH // 2)

    def _passed(
        self, level: int, first: NDArray[np.float32], second: NDArray[np.float32], solid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both images band-passed; where the anchor's side is known, it is taken as it is."""
        own = np.empty_like(first)
        for image, one in zip(own, self.known, strict=True):
            if one is not None and one.images is not None:
                image[:] = one.images[level]
        new = [k for k, one in enumerate(self.known) if one is None]
        if new:
            own[new] = high_pass(first[new], solid[new])
        return own, high_pass(second, solid)

    def _windows(
        self,
        images: tuple[NDArray[np.float32], NDArray[np.float32]],
        stripes: tuple[bool, bool],
        solid: NDArray[np.bool_],
        clear: NDArray[np.bool_],
        margin: int,
    ) -> Windows:
        if any(stripes):
            for image in images:
                level_lines(image, solid, *stripes)
        return Windows(
            centres=self.centres, heard=self.heard, anchor=images[0], item=images[1], usable=clear, margin=margin,
            parts=self.parts, bridged=self.bridged, lined=self.dead or any(stripes),
            crossed=self.crossed, repeated=self.repeated,
        )  # fmt: skip


def _grounds(
    anchor: PreparedAnchor, band: int, boxes: Sequence[Box]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Windows of the anchor and where they are usable, shape (n, y, x)."""
    grounds = [_ground(anchor, band, box) for box in boxes]
    return np.concatenate([one.values for one in grounds]), np.concatenate([one.usable for one in grounds])


def _ground(anchor: PreparedAnchor, band: int, box: Box) -> _Ground:
    def read() -> _Ground:
        values, usable = read_stack(anchor.source, band, [box])
        return _Ground(values=values, usable=usable)

    return anchor.kept.of(("ground", band, box), read)


def _all_known(
    anchor: PreparedAnchor, band: int, boxes: Sequence[Box], usable: NDArray[np.bool_]
) -> list[_Passed | None]:
    """The anchor band-passed in windows, where what is usable in both scenes is a rectangle without dead lines."""
    return [
        _known(anchor, band, box, (top, bottom, left, right)) if bottom else None
        for box, (top, bottom, left, right) in zip(boxes, rectangles(usable).tolist(), strict=True)
    ]


def _known(anchor: PreparedAnchor, band: int, box: Box, rectangle: Rectangle) -> _Passed | None:
    def make() -> _Passed:
        return _Passed.of(_ground(anchor, band, box), rectangle)

    passed = anchor.kept.of(("passed", band, box, rectangle), make)
    return None if passed.images is None else passed


@compiled
def halved(
    first: NDArray[np.float32], second: NDArray[np.float32], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Means of 2 x 2 pixels of both images, and where all four are usable."""
    shape = len(first), first.shape[1] // 2, first.shape[2] // 2
    one, two, mask = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.bool_)
    for n in range(shape[0]):
        for i in range(shape[1]):
            y = 2 * i
            for j in range(shape[2]):
                x = 2 * j
                one[n, i, j] = np.float32(0.25) * (
                    (first[n, y, x] + first[n, y + 1, x]) + (first[n, y, x + 1] + first[n, y + 1, x + 1])
                )
                two[n, i, j] = np.float32(0.25) * (
                    (second[n, y, x] + second[n, y + 1, x]) + (second[n, y, x + 1] + second[n, y + 1, x + 1])
                )
                mask[n, i, j] = (usable[n, y, x] & usable[n, y + 1, x]) & (
                    usable[n, y, x + 1] & usable[n, y + 1, x + 1]
                )
    return one, two, mask


def _half_clear(clear: NDArray[np.bool_], solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels of half resolution may be compared: those of which half is, away from where nothing stands."""
    inner = eroded(solid)
    if solid.all() and clear[:, RIM:-RIM, RIM:-RIM].all():
        return inner
    rows, cols = 2 * solid.shape[1], 2 * solid.shape[2]
    part = clear[:, :rows, :cols].view(np.int8)
    count = part[:, ::2, ::2] + part[:, 1::2, ::2] + part[:, ::2, 1::2] + part[:, 1::2, 1::2]
    return inner & (count >= 2)


def flatness(anchor: NDArray[np.float32], item: NDArray[np.float32]) -> NDArray[np.float64]:
    """Variance, of anchor and item, that every block of windows (n, y, x) is taken to have as noise; shape (2,)."""
    return least_variance([median(_powers(images).tolist()) for images in (anchor, item)])


def least_variance(typical: ArrayLike) -> NDArray[np.float64]:
    """Variance that blocks are taken to have as noise in images of some typical variances.

    A thousandth of these: without it, blocks of calm water or of one saturated value would match to perfection.
    """
    return np.maximum(_FLAT * np.asarray(typical, np.float64), _LEAST)


@compiled
def _powers(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square of each image."""
    powers = np.empty(len(images))
    line = np.empty(images.shape[2], np.float32)
    for n in range(len(images)):
        line[:] = 0
        for y in range(images.shape[1]):
            for x in range(line.size):
                line[x] += images[n, y, x] * images[n, y, x]
        powers[n] = line.sum() / (images.shape[1] * images.shape[2])
    return powers


def decoys(windows: Windows, lag: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of each block of each part of the windows a few pixels away from a lag, shape (n, block); 0 for deaf ones.

    Blocks of unlike texture correlate too, by chance, but nowhere in particular.
    """
    weights = np.empty(windows.blocks)
    offsets = np.array([(_DECOY, _DECOY), (_DECOY, -_DECOY)])
    block_weights(
        windows.anchor, windows.item, windows.usable, windows.margin, halfway_taps(lag), noise, windows.parts, offsets,
        weights,
    )  # fmt: skip
    weights[~windows.heard] = 0
    return weights
