"""Frozen values that the rooms of the package hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Shift(NamedTuple):
    """A translation in pixels of the anchor's lattice, rows first.

    A shift is what must be applied to an item's content to match the anchor:
    ``item(y - shift.y, x - shift.x) = anchor(y, x)``, the sign that
    ``skimage.registration.phase_cross_correlation(anchor, item)`` returns.
    """

    y: float
    """Pixels down the rows."""
    x: float
    """Pixels along the columns."""


NO_SHIFT = Shift(0.0, 0.0)
SHIFT, AFFINE, FIELD = "shift", "affine", "field"
TERRAIN = "terrain"
"""Model of a displacement that follows from the patterns of a whole stack; see `coregstack.kernels.patterns`."""


class Viewing(NamedTuple):
    """From where a scene was seen."""

    incidence: float
    """Angle on the ground between the vertical and the satellite, degrees."""
    azimuth: float
    """Direction from the ground to the satellite, degrees from north eastwards."""


OUTSIDE = "outside"
"""What is named as the anchor where it is not an item of the stack."""

UNSCALED = 1.0, 0.0
"""Scale and offset of numbers that are what was measured."""


class Status(StrEnum):
    """What was done with an item, and why its output looks as it does."""

    ANCHOR = "anchor"
    """The item is the anchor: its pixels are left as they are."""
    ALREADY_ALIGNED = "already_aligned"
    """The score before was at or above the threshold: pixels are not shifted."""
    COREGISTERED = "coregistered"
    """A shift was found, it improves the score enough, and it is applied."""
    NO_IMPROVEMENT = "no_improvement"
    """A shift was found, but it does not improve the score enough: left untouched."""
    FAILED = "failed"
    """No shift could be known: left untouched."""


class PixelSource(Protocol):
    """Pixels of one item, read window by window, placed on the anchor's lattice.

    The *frame* is the anchor's lattice counted in pixels from the anchor's first pixel. A
    source's own pixel ``(i, j)`` has its centre at frame position ``(i + origin.y, j + origin.x)``;
    `origin` may be any real numbers, so a raster whose lattice has another phase is read without
    interpolation. Pixel size and orientation are the anchor's.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def origin(self) -> Shift:
        """Frame position (row, column) of the centre of the source's first pixel."""

    @property
    def bands(self) -> int:
        """How many match bands there are; band ``k`` of an item corresponds to band ``k`` of the anchor."""

    def read(self, band: int, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Pixels and their usable-mask (valid, finite and clear) of one window.

        `rows` and `cols` lie inside `shape`, with step 1. Pixels that are not usable hold 0. Both arrays are the
        caller's to change.
        """

    def overview(self, band: int, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means over ``factor x factor`` blocks of usable pixels, and the usable share of each block.

        The shape is ``(rows // factor, cols // factor)``; blocks without a usable pixel hold 0.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TiePoints:
    """Local shifts, one for each matched window (and band), all arrays of shape (n,)."""

    y: NDArray[np.float64]
    """Frame row of the window's centre in the anchor."""
    x: NDArray[np.float64]
    """Frame column of the window's centre in the anchor."""
    shift_y: NDArray[np.float64]
    """Local shift down the rows, px."""
    shift_x: NDArray[np.float64]
    """Local shift along the columns, px."""
    weight: NDArray[np.float64]
    """Weight in the final agreement, 0 to 1."""
    inlier: NDArray[np.bool_]
    """True where the window agrees with the shift that was accepted."""
    band: NDArray[np.int64]
    """Match band that the window was matched in."""


NO_TIES = TiePoints(
    **{name: np.zeros(0) for name in ("y", "x", "shift_y", "shift_x", "weight")},
    inlier=np.zeros(0, np.bool_),
    band=np.zeros(0, np.int64),
)
"""Of an item without a match."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displacement:
    """A shift that varies over the scene, given at the nodes of a control lattice.

    Between nodes it is the separable natural cubic spline through their values; outside the nodes it keeps the
    value of the nearest edge. Its sign is that of a `Shift`: ``item(y - dy, x - dx) = anchor(y, x)`` with the
    displacement ``(dy, dx)`` taken at ``(y, x)`` of the anchor.
    """

    origin: Shift
    """Frame position (row, column) of the first node."""
    step: float
    """Distance between neighbouring nodes, px of the frame."""
    y: NDArray[np.float32]
    """Displacement down the rows at each node, px, shape (rows, columns)."""
    x: NDArray[np.float32]
    """Displacement along the columns at each node, px, shape (rows, columns)."""
    sigma: NDArray[np.float32]
    """1 sigma of the displacement along either axis at each node, px, shape (rows, columns)."""


Move: TypeAlias = Shift | Displacement
"""What is applied to the content of an item to match the anchor: the same everywhere, or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftEstimate:
    """What the estimator knows about one item against the anchor."""

    shift: Shift | None
    """The shift, or None where it cannot be known."""
    sigma: Shift | None
    """1 sigma of the shift along each axis, px; None where there is no shift."""
    reason: str
    """Why there is no shift, or what a user should know about the one there is; may be empty."""
    ties: TiePoints
    """The windows that were matched."""
    spread: float | None = None
    """Rms length of the displacement about its mean over the windows, beyond noise, px; None if not known."""
    patterned: bool = False
    """Whether something was found that stays on the pixel grid while the scene moves: stripes, blocks, dead lines."""


class Window(NamedTuple):
    """The same area of one scene as an estimator of one's own gets it."""

    values: NDArray[np.float32]
    """Pixels of one band, shape (y, x); those that are not usable hold 0."""
    usable: NDArray[np.bool_]
    """Where a pixel is valid, finite and clear, shape (y, x)."""


class WindowShift(NamedTuple):
    """What an estimator of one's own says of two windows."""

    shift: tuple[float, float] | None
    """Shift (y, x) to apply to the item's window to match the anchor's, px of the windows, rows down and columns right;
    None where it cannot be known."""
    sigma: tuple[float, float] | None = None
    """1 sigma of the shift (y, x), px; None where the estimator does not know it: then the windows' scatter tells."""
    reason: str = ""
    """Why there is no shift; may be empty."""


@runtime_checkable
class WindowEstimator(Protocol):
    """An estimator of one's own: what ``estimator=`` takes beside its names.

    It is called with windows of the anchor and of an item, of one shape, and says by how much the item's window has to
    be shifted to match the anchor's. It is called first with reduced images of the whole overlap, then with windows at
    full resolution that lie where that has put them, for up to three bands. It may be called in several threads at
    once, must not change the arrays, and must be picklable and give the same result for the same windows.

    Examples
    --------
    >>> def centroids(anchor: Window, item: Window) -> WindowShift:
    ...     if not (anchor.usable & item.usable).any():
    ...         return WindowShift(None, reason="nothing is usable in both")
    ...     rows, cols = np.indices(anchor.values.shape)
    ...     places = [[np.average(axis, weights=w.values * w.usable) for axis in (rows, cols)] for w in (anchor, item)]
    ...     return WindowShift((places[0][0] - places[1][0], places[0][1] - places[1][1]))
    >>> isinstance(centroids, WindowEstimator)
    True
    """

    def __call__(self, anchor: Window, item: Window, /) -> WindowShift:
        """The shift of one pair of windows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DisplacementEstimate:
    """How an item is displaced against the anchor: as one, by a linear map, or by a field."""

    model: str
    """``"shift"``, ``"affine"``, ``"field"`` or ``"terrain"``."""
    shift: Shift | None
    """Mean displacement over the usable overlap, px; None where nothing can be known."""
    sigma: Shift | None
    """1 sigma of `shift` along each axis, px; None where there is none."""
    displacement: Displacement | None
    """The displacement of an affine map or a field, on the control lattice of the anchor's frame; None for a shift."""
    spread: float | None
    """Rms length of the displacement about its mean over the usable overlap, beyond noise, px; None if not known."""
    residual: float | None
    """Rms length of the misalignment to be expected once the model has been applied, px; None if not known."""
    details: str
    """What a user should know of it, in words; may be empty."""
    ties: TiePoints
    """Windows, each with the displacement that it shows by itself."""
    residual_y: NDArray[np.float64]
    """What each window of `ties` shows beyond the model, down the rows, px, shape (n,)."""
    residual_x: NDArray[np.float64]
    """The same along the columns."""
    view: Shift | None = None
    """Rms displacement by the first pattern that it follows, px, with a sign that all dates of the stack share."""
    pattern_dates: int | None = None
    """Dates that the patterns which it follows were found from; None where it follows none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Matching scores, version 1, of an item against the anchor on the same pixels."""

    before: float | None
    """Score of the item as it is; None where no pixel can be compared."""
    after: float | None
    """Score of the item moved by its shift; None where there is no shift."""
    held: float | None = None
    """Score of the item as it is, where `before` leaves out what a pattern that stays on the pixel grid adds to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidArea:
    """Where a raster holds valid pixels; see `coregstack.geometry.validarea` for how well it is known."""

    parts: tuple[tuple[tuple[float, float], ...], ...]
    """Corners (x, y) of each part, in order round it; the last is joined with the first."""
    crs: str
    """What the corners are counted in: ``EPSG:32633``, or WKT."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What lets a person judge an item's match: its windows, and a small picture."""

    ties: TiePoints
    """The windows that were matched."""
    picture: bytes
    """JPEG, grey, black where there is no data; see `coregstack.matching.preview` for what lies where in it."""
    chips: Shift | None
    """Frame position of the first pixel of the chips; None where the picture has none."""
    overview: tuple[int, ...]
    """Rows and columns of the overview."""
    origin: Shift
    """Frame position of the upper left corner of the overview's first pixel."""
    factor: float
    """Side of an overview's pixel, px of the frame."""
    against: str | None = None
    """Id of the item, other than the anchor, that the item was matched with; None for the anchor."""
    residual_y: NDArray[np.float64] | None = None
    """What each window of `ties` shows beyond the model, down the rows, px, shape (n,); None where it is not known."""
    residual_x: NDArray[np.float64] | None = None
    """The same along the columns."""
    area: ValidArea | None = None
    """Where the whole of the item's image is valid, as it came; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuality:
    """All that is known and decided about one item: one entry along `time` of `quality`."""

    shift: Shift | None
    """Mean displacement over the usable overlap, px of the anchor; None where it cannot be known."""
    sigma: Shift | None
    """1 sigma of the shift along each axis, px."""
    before: float | None
    """Matching score as it is."""
    after: float | None
    """Matching score when moved."""
    improvement: float | None
    """After minus before."""
    status: Status
    """What is done with it."""
    details: str
    """Why, in words."""
    unreadable: bool = False
    """Whether it failed because its files could not be read."""
    redundancy: float | None = None
    """Pairs beyond the one that is needed, where a network of pairs told the shift."""
    closure: float | None = None
    """Rms length of the closures of loops through the item, px, where a network of pairs told the shift."""
    against: str | None = None
    """Id of the item, other than the anchor, that the item was matched and scored against."""
    model: str | None = None
    """How it is displaced: "shift", "affine", "field" or "terrain"; None where nothing is known."""
    spread: float | None = None
    """Rms length of the displacement about its mean over the usable overlap, beyond noise, px."""
    residual: float | None = None
    """Rms misalignment to be expected over the scene after what is done with it, px."""
    datum_sigma: Shift | None = None
    """1 sigma of the datum along each axis, px, which all items share; None where the stack itself holds its datum."""
    view: Shift | None = None
    """Rms displacement by the first pattern that it follows, px, with a sign that all dates of the stack share."""
    pattern_dates: float | None = None
    """Dates that the patterns which it follows were found from; None where it follows none."""
    displacement: Displacement | None = field(default=None, compare=False, repr=False)
    """The displacement of an affine map or a field; None where the item is displaced as one."""
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    """What a report shows; it is not part of a quality Dataset."""
