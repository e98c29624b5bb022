"""Displacements that vary over a scene: evaluated, summed up, scaled, composed.

A `Displacement` holds values at the nodes of a control lattice; between them it is the separable natural cubic
spline, which is exact for what is constant or linear and has no jump in its first two derivatives [1]_. A pixel's
displacement is always computed by the same operations, whichever window it is part of.

References
----------
.. [1] C. de Boor, A Practical Guide to Splines, Springer, 1978, chapters IV and XVII.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.kernels._spline import evaluate_crossings, evaluate_points, second_derivatives
from coregstack.model import Displacement, Shift

_STRIP = 256
"""Rows that are evaluated at a time where only sums of them are wanted."""
_FINER = 4
"""Nodes for each one there was where a displacement has to be sampled anew."""
_LOOKS = 4
"""Places between two nodes at which bounds look at a displacement."""

Area = tuple[int, int, int, int]
"""First row, first column, rows and columns of a part of the frame, px."""


class Bounds(NamedTuple):
    """Between what a displacement lies in a part of the frame, px."""

    least: Shift
    """Not above the smallest displacement along each axis."""
    greatest: Shift
    """Not below the largest displacement along each axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spline:
    """A displacement made ready once to be evaluated at many places.

    Examples
    --------
    >>> tilt = Displacement(origin=Shift(0, 0), step=10, y=np.float32([[0, 1], [0, 1]]),
    ...                     x=np.zeros((2, 2), np.float32), sigma=np.zeros((2, 2), np.float32))
    >>> Spline.of(tilt).at(np.array([4.0]), np.array([-5.0, 2.5, 10.0, 99.0]))[0]
    array([[0.  , 0.25, 1.  , 1.  ]])
    """

    origin: Shift
    """Frame position of the first node."""
    step: float
    """Distance between neighbouring nodes, px."""
    y: NDArray[np.float64]
    """Values down the rows and their second derivatives at each node: none, by rows, by columns, by both; in
    units of the step, shape (4, rows, columns)."""
    x: NDArray[np.float64]
    """The same along the columns."""

    @classmethod
    def of(cls, displacement: Displacement) -> Spline:
        """Solve for the second derivatives at the nodes of a displacement.

        Raises
        ------
        InvalidRequest
            If the nodes are no lattice of finite numbers, or their distance is not positive.
        """
        _check(displacement)
        y, x = (second_derivatives(values) for values in (displacement.y, displacement.x))
        return cls(origin=displacement.origin, step=displacement.step, y=y, x=x)

    def at(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Displacement at every crossing of some rows and some columns.

        Parameters
        ----------
        rows, cols : ndarray of float, shape (n,) and (m,)
            Frame positions, px; fastest where the columns ascend.

        Returns
        -------
        dy, dx : ndarray of float64, shape (n, m)
            px.
        """
        down, along = self._in_steps(np.asarray(rows, float), np.asarray(cols, float))
        dy, dx = np.empty((2, down.size, along.size))
        for table, out in ((self.y, dy), (self.x, dx)):
            evaluate_crossings(table, down, along, out)
        return dy, dx

    def on(self, area: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Displacement at every pixel of a part of the frame: ``dy, dx``, each of its shape, px."""
        row, col, height, width = area
        return self.at(np.arange(row, row + height, dtype=float), np.arange(col, col + width, dtype=float))

    def at_points(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Displacement at scattered places.

        Parameters
        ----------
        y, x : ndarray of float, any one shape
            Frame positions, px.

        Returns
        -------
        dy, dx : ndarray of float64, shape of `y`
            px.
        """
        down, along = self._in_steps(np.asarray(y, float), np.asarray(x, float))
        dy, dx = np.empty(down.shape), np.empty(down.shape)
        for table, out in ((self.y, dy), (self.x, dx)):
            evaluate_points(table, down.ravel(), along.ravel(), out.reshape(-1))
        return dy, dx

    def bounds(self, top: float, bottom: float, left: float, right: float) -> Bounds:
        """Between what the displacement lies at all places from `top` to `bottom` and from `left` to `right`.

        The displacement is looked at a few times between nodes; what it can do between these places is known from
        its second derivatives, so that the bounds hold everywhere.

        Parameters
        ----------
        top, bottom, left, right : float
            Frame positions, px, all included.

        Returns
        -------
        Bounds
        """
        ends = self._in_steps(np.array([top, bottom]), np.array([left, right]))
        pairs = []
        for table in (self.y, self.x):
            looks = [_looks(end, nodes) for end, nodes in zip(ends, table.shape[1:], strict=True)]
            (down, around), (along, across) = looks
            seen = np.empty((down.size, along.size))
            evaluate_crossings(table, down, along, seen)
            rows, cols, both = (np.abs(bends[around, across]).max() for bends in table[1:])
            more = (rows + cols + both / 4) / (8 * _LOOKS**2)
            pairs.append((float(seen.min() - more), float(seen.max() + more)))
        least, greatest = (Shift(*edge) for edge in zip(*pairs, strict=True))
        return Bounds(least, greatest)

    def _in_steps(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (y - self.origin.y) / self.step, (x - self.origin.x) / self.step


def constant(shift: Shift, sigma: float = 0.0) -> Displacement:
    """A displacement that is the same everywhere.

    Parameters
    ----------
    shift : Shift
        What it is, px.
    sigma : float
        1 sigma along either axis, px.

    Examples
    --------
    >>> constant(Shift(0.5, -2.0)).x
    array([[-2.]], dtype=float32)
    """
    y, x, spread = (np.full((1, 1), value, np.float32) for value in (*shift, sigma))
    return Displacement(origin=Shift(0.0, 0.0), step=1.0, y=y, x=x, sigma=spread)


def mean_and_rms(
    displacement: Displacement, area: Area, mask: NDArray[np.bool_] | None = None
) -> tuple[Shift, float]:
    """Mean displacement over a part of the frame, and how far it lies about that.

    Parameters
    ----------
    displacement : Displacement
        What is summed up.
    area : tuple of int
        First row, first column, rows and columns, px of the frame.
    mask : ndarray of bool, shape (rows, columns), optional
        Pixels that count; all by default.

    Returns
    -------
    mean : Shift
        px; NaN where no pixel counts.
    rms : float
        Root mean square length of the displacement about its mean, px, over both axes together.

    Examples
    --------
    >>> mean_and_rms(constant(Shift(0.5, -2.0)), (0, 0, 4, 4))
    (Shift(y=0.5, x=-2.0), 0.0)
    """
    spline = Spline.of(displacement)
    centre = Shift(float(displacement.y.mean(dtype=float)), float(displacement.x.mean(dtype=float)))
    sums: list[list[float]] = [[], [], []]
    pixels = 0
    for rows, part in _strips(area):
        count = np.ones(part[2:], bool) if mask is None else mask[rows]
        # about a value that is nearly the mean, so that squares lose nothing; row by row, so that strips do not matter
        dy, dx = (np.where(count, d - c, 0.0) for d, c in zip(spline.on(part), centre, strict=True))
        for total, values in zip(sums, (dy, dx, dy**2 + dx**2), strict=True):
            total.extend(values.sum(axis=1).tolist())
        pixels += int(np.count_nonzero(count))
    if pixels == 0:
        return Shift(math.nan, math.nan), math.nan
    y, x, square = (math.fsum(total) / pixels for total in sums)
    return Shift(centre.y + y, centre.x + x), math.sqrt(max(square - y * y - x * x, 0.0))


def sigma_on(displacement: Displacement, area: Area) -> NDArray[np.float64]:
    """1 sigma of a displacement along either axis at every pixel of a part of the frame.

    Parameters
    ----------
    displacement : Displacement
        Whose sigma; it is interpolated linearly between nodes, so that it never falls below those around it.
    area : tuple of int
        First row, first column, rows and columns, px of the frame.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
        px.

    Examples
    --------
    >>> float(sigma_on(constant(Shift(0, 0), sigma=0.25), (0, 0, 1, 1))[0, 0])
    0.25
    """
    return _sigma_surface(displacement).on(area)[0]


def reach(displacement: Displacement) -> Shift:
    """How far a displacement moves anything along each axis at most, px.

    It is a bound that is not exceeded, close to the largest value; by that much a window has to be read wider.

    Examples
    --------
    >>> reach(constant(Shift(0.5, -2.0)))
    Shift(y=0.5, x=2.0)
    """
    least, greatest = Spline.of(displacement).bounds(-math.inf, math.inf, -math.inf, math.inf)
    return Shift(max(-least.y, greatest.y), max(-least.x, greatest.x))


def moved_extent(
    displacement: Displacement, top: float, bottom: float, left: float, right: float
) -> tuple[float, float, float, float]:
    """Edges of a box that holds all of a rectangle after its content was moved by a displacement.

    Content at `q` comes to lie where ``p - d(p) = q``. Only the displacement near an edge can move content beyond
    that edge, so the box is close even where the displacement differs over the scene.

    Parameters
    ----------
    displacement : Displacement
        What moves the content.
    top, bottom, left, right : float
        Edges of the rectangle, frame positions, px.

    Returns
    -------
    tuple of float
        Its edges after that, in the same order.

    Examples
    --------
    >>> moved_extent(constant(Shift(0.5, -2.0)), -0.5, 9.5, -0.5, 9.5)
    (0.0, 10.0, -2.5, 7.5)
    """
    spline = Spline.of(displacement)
    least, greatest = spline.bounds(-math.inf, math.inf, -math.inf, math.inf)
    rows = top + least.y, bottom + greatest.y
    cols = left + least.x, right + greatest.x
    return (
        top + spline.bounds(rows[0], top + greatest.y, *cols).least.y,
        bottom + spline.bounds(bottom + least.y, rows[1], *cols).greatest.y,
        left + spline.bounds(*rows, cols[0], left + greatest.x).least.x,
        right + spline.bounds(*rows, right + least.x, cols[1]).greatest.x,
    )


def composed(first: Displacement, second: Displacement) -> Displacement:
    """The displacement of an item that was matched with another item instead of the anchor.

    With ``other(z - first(z)) = anchor(z)`` and ``item(y - second(y)) = other(y)`` the item lies on the anchor by
    ``first(z) + second(z - first(z))``.

    Parameters
    ----------
    first : Displacement
        Of the other item, in the anchor's frame.
    second : Displacement
        Of the item, in the other item's frame, which is counted in the same pixels.

    Returns
    -------
    Displacement
        On the control lattice of `first`, or of `second` where `first` has a single node; exact at its nodes. The two
        errors are taken to be independent.

    Examples
    --------
    >>> float(composed(constant(Shift(0.5, -2.0)), constant(Shift(1.0, 1.0))).y[0, 0])
    1.5
    """
    lattice = second if first.y.size == 1 else first
    rows, cols = (
        start + lattice.step * np.arange(count, dtype=float)
        for start, count in zip(lattice.origin, lattice.y.shape, strict=True)
    )
    dy, dx = Spline.of(first).at(rows, cols)
    y, x = rows[:, None] - dy, cols[None, :] - dx
    more_y, more_x = Spline.of(second).at_points(y, x)
    here, there = (sigma_at(one, *place) for one, place in ((first, (y + dy, x + dx)), (second, (y, x))))
    return Displacement(
        origin=lattice.origin,
        step=lattice.step,
        y=(dy + more_y).astype(np.float32),
        x=(dx + more_x).astype(np.float32),
        sigma=np.hypot(here, there).astype(np.float32),
    )


def about(displacement: Displacement, place: Shift) -> Displacement:
    """The displacement of an item onto the anchor's content where that has been moved back by a shift.

    With ``item(y - d(y)) = anchor(y)``, the item lies on ``anchor(y + place)`` by ``d(y + place) - place``.

    Parameters
    ----------
    displacement : Displacement
        Of the item onto the anchor as it is.
    place : Shift
        px.

    Returns
    -------
    Displacement
        On the same control lattice, exact at its nodes.

    Examples
    --------
    >>> float(about(constant(Shift(0.5, -2.0)), Shift(0.25, 0.0)).y[0, 0])
    0.25
    """
    rows, cols = (
        start + displacement.step * np.arange(count, dtype=float) + more
        for start, count, more in zip(displacement.origin, displacement.y.shape, place, strict=True)
    )
    y, x, sigma = sampled(displacement, rows, cols)
    return Displacement(
        origin=displacement.origin,
        step=displacement.step,
        y=(y - place.y).astype(np.float32),
        x=(x - place.x).astype(np.float32),
        sigma=sigma.astype(np.float32),
    )


def rescaled(displacement: Displacement, scale: Shift, first: Shift) -> Displacement:
    """A displacement expressed in another frame of the same orientation, such as that of larger pixels.

    Parameters
    ----------
    displacement : Displacement
        In its own frame.
    scale : Shift
        Height and width of a pixel of the new frame, in pixels of the old one; negative where an axis runs the other
        way.
    first : Shift
        Position in the old frame of the centre of the new frame's first pixel.

    Returns
    -------
    Displacement
        The same displacement on the ground. Where pixels of the new frame are square in the old one, it is so
        exactly; else it is sampled anew on nodes at most a quarter as far apart.

    Raises
    ------
    InvalidRequest
        If a scale is 0 or no finite number.

    Examples
    --------
    >>> coarse = rescaled(constant(Shift(1.0, -2.0)), scale=Shift(2.0, 2.0), first=Shift(0.5, 0.5))
    >>> float(coarse.y[0, 0]), float(coarse.x[0, 0])
    (0.5, -1.0)
    """
    if 0 in scale or not np.isfinite([*scale, *first]).all():
        raise InvalidRequest(f"A scale of pixels has to be a finite number other than 0, not {tuple(scale)}.")
    size = Shift(abs(scale.y), abs(scale.x))
    step = displacement.step / max(size)
    spans = [(count - 1) * displacement.step for count in displacement.y.shape]
    nodes: tuple[NDArray[np.floating], ...] = (displacement.y, displacement.x, displacement.sigma)
    if not math.isclose(size.y, size.x, rel_tol=1e-9):
        step /= _FINER
        counts = [math.ceil(span / (step * s) - 1e-9) + 1 for span, s in zip(spans, size, strict=True)]
        spans = [(count - 1) * step * s for count, s in zip(counts, size, strict=True)]
        lines = zip(displacement.origin, spans, counts, strict=True)
        nodes = sampled(displacement, *(np.linspace(o, o + span, n) for o, span, n in lines))
    y, x, sigma = nodes
    flip = tuple(slice(None, None, -1 if value < 0 else 1) for value in scale)
    starts = (
        o + (span if s < 0 else 0) for o, span, s in zip(displacement.origin, spans, scale, strict=True)
    )
    return Displacement(
        origin=Shift(*((o - f) / s for o, f, s in zip(starts, first, scale, strict=True))),
        step=step,
        y=(y[flip] / scale.y).astype(np.float32),
        x=(x[flip] / scale.x).astype(np.float32),
        sigma=(sigma[flip] / min(size)).astype(np.float32),
    )


def sampled(
    displacement: Displacement, rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Displacement along both axes and its sigma at every crossing of some rows and columns: three of one shape, px."""
    y, x = np.meshgrid(rows, cols, indexing="ij")
    return *Spline.of(displacement).at(rows, cols), sigma_at(displacement, y, x)


def sigma_at(
    displacement: Displacement, y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 sigma of a displacement along either axis at scattered places, px; arguments as `Spline.at_points`."""
    return _sigma_surface(displacement).at_points(y, x)[0]


def _sigma_surface(displacement: Displacement) -> Spline:
    """Sigma between the nodes; without second derivatives it is linear along both axes, and never below 0."""
    _check(displacement)
    nodes = displacement.sigma.astype(float)
    table = np.concatenate([nodes[None], np.zeros((3, *nodes.shape))])
    return Spline(origin=displacement.origin, step=displacement.step, y=table, x=table)


def _strips(area: Area) -> Iterator[tuple[slice, Area]]:
    row, col, height, width = area
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        yield rows, (row + top, col, rows.stop - rows.start, width)


def _check(displacement: Displacement) -> None:
    y, x, sigma = displacement.y, displacement.x, displacement.sigma
    if y.ndim != 2 or y.size == 0 or not y.shape == x.shape == sigma.shape:
        raise InvalidRequest(
            "The nodes of a displacement have to be three arrays of one shape (rows, columns), not "
            f"{y.shape}, {x.shape} and {sigma.shape}."
        )
    numbers = [*displacement.origin, displacement.step]
    if not (np.isfinite(y).all() and np.isfinite(x).all() and np.isfinite(numbers).all()):
        raise InvalidRequest("The nodes of a displacement have to be finite numbers at finite places.")
    if not displacement.step > 0:
        raise InvalidRequest(
            f"The nodes of a displacement have to lie more than 0 px apart, not {displacement.step}."
        )


def _looks(ends: NDArray[np.float64], nodes: int) -> tuple[NDArray[np.float64], slice]:
    """Places between two ends, counted in steps, a part of a step apart, and the nodes around them."""
    low, high = np.clip(ends, 0, nodes - 1)
    return np.linspace(low, high, math.ceil((high - low) * _LOOKS) + 1), slice(
        math.floor(low), math.ceil(high) + 1
    )
