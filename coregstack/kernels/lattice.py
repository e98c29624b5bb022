"""The control lattice of a frame, and cubic splines on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from coregstack.model import Shift

_FINE = 12.0
"""Distance between nodes in small frames, px."""
_SMALL = 400
"""Longest side of a small frame, px."""
_STEP = 16.0
"""Distance between nodes in other frames, px."""
_FINEST = 8.0
"""Distance between nodes of what many dates have in common, px."""
_NODES = 1 << 16
"""Nodes, more or less, at most: larger frames have them further apart."""
_MANY = 40
"""Nodes along an axis from which the length of a transform matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Control nodes that cover a frame; they depend on the frame's shape only."""

    origin: Shift
    """Frame position of the first node."""
    step: float
    """Distance between neighbouring nodes, px."""
    shape: tuple[int, int]
    """Nodes down and across."""
    frame: tuple[int, int]
    """Rows and columns of the frame."""

    @classmethod
    def of(cls, frame: tuple[int, int], *, finest: float | None = None) -> Lattice:
        """The lattice of a frame; `finest` is the distance between nodes in frames that are not very large, px.

        Examples
        --------
        >>> lattice = Lattice.of((200, 180))
        >>> lattice.shape, lattice.step, lattice.origin
        ((18, 16), 12.0, Shift(y=-2.5, x=-0.5))
        """
        step = finest or (_FINE if max(frame) <= _SMALL else _STEP)
        step *= max(1.0, float(np.ceil(np.sqrt(frame[0] * frame[1] / _NODES) / step)))
        # by a few nodes more where that makes cosine transforms fast
        counts = (max(4, -int(-(n - 1) // step) + 1) for n in frame)
        shape = tuple(next_fast_len(m) if m > _MANY else m for m in counts)
        origin = Shift(*((n - 1 - step * (m - 1)) / 2 for n, m in zip(frame, shape, strict=True)))
        return cls(origin=origin, step=step, shape=(shape[0], shape[1]), frame=frame)

    def over(self, top: int, left: int, height: int, width: int) -> Lattice:
        """The same nodes, and as many more of them as cover an area of the frame as well.

        Examples
        --------
        >>> lattice = Lattice.of((200, 180)).over(0, -100, 200, 180)
        >>> lattice.shape, lattice.origin
        ((18, 25), Shift(y=-2.5, x=-108.5))
        """
        ends = []
        for start, count, first, size in zip(
            self.origin, self.shape, (top, left), (height, width), strict=True
        ):
            before = max(0, int(np.ceil((start - first) / self.step)))
            after = max(0, int(np.ceil((first + size - 1 - start) / self.step)) - (count - 1))
            ends.append((start - before * self.step, before + count + after))
        (y, rows), (x, cols) = ends
        return replace(self, origin=Shift(y, x), shape=(rows, cols))

    def rows(self, at: NDArray[np.float64], side: float = 1.0) -> Taps:
        """Splines of the nodes down at frame rows, or their means over so many pixels about each."""
        return splines(self.shape[0], (at - self.origin.y) / self.step, (side**2 - 1) / 12 / self.step**2)

    def cols(self, at: NDArray[np.float64], side: float = 1.0) -> Taps:
        """Splines of the nodes across at frame columns, or their means over so many pixels about each."""
        return splines(self.shape[1], (at - self.origin.x) / self.step, (side**2 - 1) / 12 / self.step**2)

    @property
    def nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Frame rows and columns of the nodes."""
        return (
            self.origin.y + self.step * np.arange(self.shape[0], dtype=np.float64),
            self.origin.x + self.step * np.arange(self.shape[1], dtype=np.float64),
        )

    def linear(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64]:
        """The functions 1, y and x, which run from -1/2 to 1/2 over the frame, shape (rows, cols, 3)."""
        y = (rows - (self.frame[0] - 1) / 2) / self.frame[0]
        x = (cols - (self.frame[1] - 1) / 2) / self.frame[1]
        whole = np.ones((rows.size, cols.size))
        return np.stack([whole, y[:, None] * whole, x[None] * whole], axis=-1)


def pattern_lattice(frame: tuple[int, int]) -> Lattice:
    """The control lattice of the patterns of a stack: many dates know finer detail than one.

    Examples
    --------
    >>> pattern_lattice((200, 180)).shape
    (26, 24)
    """
    return Lattice.of(frame, finest=_FINEST)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taps:
    """What takes coefficients of nodes to values at places: four neighbouring ones each."""

    first: NDArray[np.int64]
    """The first of the four, shape (places,)."""
    weights: NDArray[np.float64]
    """Shape (places, 4)."""
    nodes: int

    def dense(self) -> NDArray[np.float64]:
        """The same as a matrix, shape (places, nodes)."""
        out = np.zeros((self.first.size, self.nodes))
        np.put_along_axis(out, self.first[:, None] + np.arange(4), self.weights, axis=1)
        return out


def splines(nodes: int, at: NDArray[np.float64], scatter: float = 0.0) -> Taps:
    """Cubic B-splines with natural ends: values at positions from one coefficient a node.

    Beyond the nodes they keep the value of the end.

    Parameters
    ----------
    nodes
        Number of nodes, at positions 0, 1, 2 and so on; at least 4.
    at
        Positions, shape (n,).
    scatter
        Variance of the places about each position of which the mean is asked for, to second order.

    Returns
    -------
    Taps
        Weights sum to 1, and coefficients that lie on a line give that line.

    Examples
    --------
    >>> (splines(5, np.array([0.0, 1.25, 9.0])).dense() @ np.arange(5.0)).tolist()
    [0.0, 1.25, 4.0]
    """
    t = np.clip(at, 0.0, nodes - 1.0)
    interval = np.minimum(t.astype(np.int64), nodes - 2)
    f = t - interval
    plain = np.stack(
        [(1 - f) ** 3, 4 - 6 * f**2 + 3 * f**3, 1 + 3 * f + 3 * f**2 - 3 * f**3, f**3], axis=1
    ) / 6  # fmt: skip
    plain += scatter / 2 * np.stack([1 - f, 3 * f - 2, 1 - 3 * f, f], axis=1)
    first = np.clip(interval - 1, 0, nodes - 4)
    weights = np.zeros((t.size, 6))
    np.put_along_axis(weights, (interval - first)[:, None] + np.arange(4), plain, axis=1)
    # Beyond the ends lies one more coefficient, on the line of the last two, so that the curve has no bend there.
    low, high = weights[:, 0].copy(), weights[:, 5].copy()
    weights[:, 1] += 2 * low
    weights[:, 2] -= low
    weights[:, 4] += 2 * high
    weights[:, 3] -= high
    return Taps(first=first, weights=np.ascontiguousarray(weights[:, 1:5]), nodes=nodes)
