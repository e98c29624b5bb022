"""Which model of displacement the blocks of two scenes carry: a shift, a linear map or a field, and how rough a field.

The *evidence* is the marginal likelihood of a linear Gaussian model whose noise level is not known; it sets the prior
of a field [1]_. It takes the errors of blocks as independent, and between real dates they are not: crops, shadows and
ice move neighbouring blocks together. So whether there is anything but a shift is decided by regions left out: the
simplest model is taken that predicts them about as well as the best one.

References
----------
.. [1] MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4, 415-447.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.edges import with_edges
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.posterior import Basis, Large, Normal, Solution
from coregstack.kernels.prior import PIECE, Prior
from coregstack.kernels.symmetric import squared
from coregstack.model import AFFINE, FIELD, SHIFT, Shift

if TYPE_CHECKING:
    from coregstack.kernels.equations import Equations

_FOLDS = 4
_PLENTY = 600
"""Regions of which a part is enough."""
_ROUGHLY = 0.01
"""Accuracy of the predictions of regions left out."""
_FINELY = 0.001
"""And of those of blocks, which are nearer to what tells them."""
_OCCAM = 6.0
"""What the evidence of a field has to gain over a simpler model, for its prior was looked for."""
_FREE = {SHIFT: 1, AFFINE: 3, FIELD: 3}
"""Functions of each axis that no prior holds."""
_WINDOWS = 3
_LEAST = 30
"""Blocks that say something, without which a window tells nothing."""
_POWERS = (0.01, 0.1, 1.0, 3.0, 10.0, 100.0, 1000.0, 10000.0)
_NEAR_POWERS = 10.0 ** np.array([-0.5, 0.0, 0.5])
_NEARER_POWERS = 10.0 ** np.array([-0.5, -0.25, 0.25, 0.5])
_LENGTHS = (2.0, 4.0, 8.0, 16.0, 64.0)
"""In steps of the lattice."""
_SLOPES = (3.0, 4.5, 6.0)
_FREEDOMS = (np.inf, 3.0, 1.0)
"""From no edges to a few sharp ones."""
_AROUND = 32
"""Side of regions whose blocks tell together how sharp a field is, px."""
_SILENT = 1e-3
"""Prior variance, in units of what the blocks know, below which a cosine is left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighed:
    """Equations with the trust that each block has, and what all of them share."""

    equations: Equations
    """With trust."""
    basis: Basis
    noise: float = 1.0
    """Variance of the blocks, in terms of what their equations say."""

    @property
    def texture(self) -> float:
        """Mean information of a block that says something, along an axis."""
        trace = self.equations.matrix[..., 0] + self.equations.matrix[..., 2]
        return float(trace[trace > 0].mean() / 2) if np.any(trace > 0) else 1.0

    def scale(self, prior: Prior) -> NDArray[np.float64]:
        """Prior deviation of each cosine of the coefficients, in units of the noise, px."""
        lattice = self.basis.lattice
        return np.sqrt(prior.spectrum(lattice.shape, lattice.step) / self.texture)

    def solve(
        self,
        model: str,
        prior: Prior | None,
        *,
        keep: NDArray[np.bool_] | None = None,
        start: Solution | None = None,
        within: float = 1e-4,
    ) -> Solution:
        """The displacement of a model, from the blocks that are kept; `start` and `within` as in `Large.solve`."""
        matrix, target = self.equations.matrix, self.equations.target
        if keep is not None:
            matrix, target = matrix * keep[..., None], target * keep[..., None]
        if model == FIELD and prior is not None:
            large = Large(self.basis, matrix, self.scale(prior))
            smooth = large.solve(target, start, within)
            if np.isinf(prior.freedom):
                return smooth
            return with_edges(large, target, smooth, prior.freedom, self.noise, within)
        return linear_solution(self.basis, matrix, target, _FREE[model])


def linear_solution(
    basis: Basis, matrix: NDArray[np.float64], target: NDArray[np.float64], functions: int
) -> Solution:
    """A shift (one function) or a linear map (three) by least squares."""
    some = basis.linear.reshape(-1, 3)[:, :functions]
    normal = Normal.of(some, matrix.reshape(-1, 3), target.reshape(-1, 2))
    posterior = normal.posterior(np.full(functions, np.inf))
    linear = np.zeros((2, 3))
    linear[:, :functions] = posterior.mean
    return Solution(linear=linear, nodes=np.zeros((2, *basis.lattice.shape)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Normal equations of a window, and what the evidence needs besides."""

    normal: Normal
    shape: tuple[int, int]
    total: float
    count: int


def windows_of(lattice: Lattice) -> list[tuple[slice, slice]]:
    """Windows of nodes that tell the evidence: the whole of a small lattice, else a few, evenly spread."""
    spans = []
    for nodes in lattice.shape:
        if nodes <= 1.5 * PIECE:
            spans.append([slice(0, nodes)])
        else:
            count = min(3, nodes // PIECE)
            starts = np.linspace(0, nodes - PIECE, count).round().astype(int)
            spans.append([slice(s, s + PIECE) for s in starts])
    return [(rows, cols) for rows in spans[0] for cols in spans[1]]


def _inside(weighed: Weighed, window: tuple[slice, slice]) -> list[NDArray[np.bool_]]:
    """Rows and columns of blocks that lie in a window of nodes."""
    grid = weighed.equations.grid
    inside = []
    for places, nodes, span in zip((grid.rows, grid.cols), weighed.basis.lattice.nodes, window, strict=True):
        part = nodes[span]
        low = part[0] if span.start else -np.inf
        high = part[-1] if span.stop < nodes.size else np.inf
        inside.append((places >= low) & (places <= high))
    return inside


def _part(weighed: Weighed, window: tuple[slice, slice], inside: list[NDArray[np.bool_]]) -> _Part:
    equations, lattice = weighed.equations, weighed.basis.lattice
    rows, cols = lattice.nodes
    block = np.ix_(*inside)
    heard = equations.heard[block]
    small = replace(
        lattice,
        origin=Shift(float(rows[window[0].start]), float(cols[window[1].start])),
        shape=(window[0].stop - window[0].start, window[1].stop - window[1].start),
    )
    functions = Basis(small, equations.grid.rows[inside[0]], equations.grid.cols[inside[1]]).dense()
    matrix, target = equations.matrix[block], equations.target[block]
    full = equations.here[block] + equations.steps[block]
    return _Part(
        normal=Normal.of(functions[heard.ravel()], matrix[heard], target[heard]),
        shape=small.shape,
        total=float(squared(matrix, full)[heard].sum()),
        count=2 * int(heard.sum()),
    )


class Evidence:
    """Log evidence of models, from windows of the scene."""

    def __init__(self, weighed: Weighed) -> None:
        self.step = weighed.basis.lattice.step
        windows = [(window, _inside(weighed, window)) for window in windows_of(weighed.basis.lattice)]
        heard = [int(np.count_nonzero(weighed.equations.heard[np.ix_(*inside)])) for _, inside in windows]
        most = sorted((k for k, count in enumerate(heard) if count >= _LEAST), key=lambda k: -heard[k])
        self.parts = [_part(weighed, *windows[k]) for k in most[:_WINDOWS]]
        self.texture = weighed.texture
        self.known: dict[tuple[str, Prior | None], float] = {}

    def of(self, model: str, prior: Prior | None = None) -> float:
        """Log evidence of a model, up to what all models share."""
        key = model, prior
        if key not in self.known:
            self.known[key] = self._of(model, prior)
        return self.known[key]

    def _of(self, model: str, prior: Prior | None) -> float:
        rest, count, volume = 0.0, 0, 0.0
        for part in self.parts:
            size = part.normal.vector.size // 2
            scale = np.zeros(size)
            scale[: _FREE[model]] = np.inf
            if prior is not None:
                variance = prior.spectrum(part.shape, self.step).ravel()[1:]
                per_node = part.count / 2 / size
                scale[3:] = np.where(variance * per_node > _SILENT, np.sqrt(variance / self.texture), 0)
            posterior = part.normal.posterior(scale)
            rest += max(part.total - posterior.explained, 1e-9)
            count += part.count - 2 * _FREE[model]
            volume += posterior.log_det
        if not self.parts:
            return 0.0
        return (
            float(-0.5 * count * np.log(rest / count)) - 0.5 * volume - (_OCCAM if prior is not None else 0.0)
        )

    def best_prior(self, start: Prior | None, *, stands: bool = False, fine: bool = False) -> Prior:
        """The prior of most evidence, looked for around `start`; where that `stands`, if another power has more.

        `fine` says that the finest detail is known, as where many dates tell it: other forms keep its power then.
        """

        def form(prior: Prior, length: float, slope: float) -> Prior:
            if fine:
                return prior.with_detail_kept(self.step, length=length, slope=slope)
            return replace(prior, length=length, slope=slope)

        look, near = (self._best, _NEARER_POWERS) if fine else (self._climbed, _NEAR_POWERS)
        best = start or Prior(power=3.0, length=4 * self.step, slope=4.5)
        powers: Iterable[float] = _POWERS if start is None else best.power * near
        for _ in range(2):
            before = best
            best = look(best, [replace(best, power=float(power)) for power in powers])
            if stands and best == start:
                break
            best = look(best, [form(best, length * self.step, best.slope) for length in _LENGTHS])
            best = look(best, [form(best, best.length, slope) for slope in _SLOPES])
            if best == before:
                break
            powers = best.power * near
        return best

    def _best(self, start: Prior, priors: Sequence[Prior]) -> Prior:
        """Of all of some priors, and `start`, that of most evidence."""
        return max([start, *priors], key=lambda prior: self.of(FIELD, prior))

    def _climbed(self, start: Prior, ladder: Sequence[Prior]) -> Prior:
        """The prior on a ladder that `start` is on from which no step up or down has more evidence."""
        at = ladder.index(start)
        for step in (1, -1):
            while 0 <= at + step < len(ladder) and self.of(FIELD, ladder[at + step]) > self.of(
                FIELD, ladder[at]
            ):
                at += step
        return ladder[at]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A model with how badly it predicts each region that is left out."""

    model: str
    prior: Prior | None
    loss: NDArray[np.float64]


def left_out(
    weighed: Weighed, candidates: Sequence[tuple[str, Prior | None]], side: int, *, single: bool = False
) -> list[Candidate]:
    """Loss of each region of `side` px, predicted from what lies around it; if `single`, block by block."""
    equations = weighed.equations
    rows, cols = (places // side for places in (equations.grid.rows, equations.grid.cols))
    region = (rows[:, None] * (cols.max() + 1) + cols[None]).astype(int)
    down, across = (np.arange(n, dtype=float) for n in equations.grid.shape) if single else (rows, cols)
    fold = ((down[:, None] + 2 * across[None]) % _FOLDS).astype(int)
    ids = np.unique(region[equations.heard])
    turns = _FOLDS if ids.size <= _PLENTY else 1
    near: list[Solution | None] = [None] * turns
    trace = equations.matrix[..., 0] + equations.matrix[..., 2]
    even = 1 / (
        1 + trace / (2 * weighed.texture)
    )  # or the few blocks that know most would speak for their region
    found = []
    for model, prior in candidates:
        loss = np.zeros(equations.grid.shape)
        for k in range(turns):
            out = fold == k
            near[k] = solution = weighed.solve(
                model, prior, keep=~out, start=near[k], within=_FINELY if single else _ROUGHLY
            )
            away = weighed.basis.blocks(solution.linear, solution.nodes) - equations.here
            each = squared(equations.matrix, away) - 2 * (equations.vector * away).sum(axis=-1)
            loss[out] = (even * each)[out]
        told = equations.heard & (fold < turns)
        sums = np.asarray(np.bincount(np.searchsorted(ids, region[told]), loss[told], ids.size), np.float64)
        found.append(Candidate(model=model, prior=prior, loss=sums[np.isin(ids, region[told])]))
    return found


def freedom_of(weighed: Weighed, prior: Prior) -> float:
    """Degrees of freedom of a field's innovations, the fewer the more edges it has: as blocks left out tell.

    Regions left out cannot tell, for where a seam runs in them lies with what is left out.
    """
    options = [(FIELD, replace(prior, freedom=freedom)) for freedom in _FREEDOMS]
    found = left_out(weighed, options, _AROUND, single=True)
    sharp = min(range(1, len(found)), key=lambda k: float(found[k].loss.sum()))
    # one standard error: both are the same field, but for its sharpest places
    chosen = simplest([replace(found[0], model="smooth"), found[sharp]], 1.0)
    return _FREEDOMS[0] if chosen.model == "smooth" else _FREEDOMS[sharp]


def simplest(candidates: Sequence[Candidate], errors: float) -> Candidate:
    """The first of candidates, ordered from simple to rich, whose loss is about that of the best one.

    Where that is a field, there is one, and how rough it is the best of them tells.
    """
    best = min(candidates, key=lambda c: float(c.loss.sum()))
    for candidate in candidates:
        worse = candidate.loss - best.loss
        if candidate.model == best.model:
            break
        if worse.sum() <= errors * np.sqrt(worse.size) * worse.std():
            return candidate
    return best
