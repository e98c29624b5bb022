"""The patterns in which all dates of a stack are displaced, as relief under differing views displaces them.

Every date tells by its blocks how it is displaced, ``d_t(x) = a_t + sum_k v_tk h_k(x)``: a linear map `a_t` of its own,
and patterns `h_k` that all dates have in common, each times a view `v_tk` of the date. The first singular vectors of
the dates' own fields start the patterns; then, in turn, least squares give the numbers of each date against the
patterns, and each pattern on its control lattice from the blocks of all dates. Its roughness follows from the evidence
in two halves of the dates. What the anchor's own noise pretends is the same for all dates, and is taken out. Then
dates tell again, about the displacements by these patterns, and all is found once more (`better_terrain`).

How many patterns there are is decided by what they predict: patterns of one half of the dates have to predict regions
left out of the other half, in the way in which these dates differ from each other [1]_.

References
----------
.. [1] Owen, A. B., Perry, P. O. (2009). Bi-cross-validation of the SVD and the nonnegative matrix factorization.
   Annals of Applied Statistics 3, 564-594.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.certainty import field_variance, forgotten
from coregstack.kernels.equations import Equations, Grid
from coregstack.kernels.finer import TAIL
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.patterns import LINEAR, PITCH, Numbers, Patterns, Told, fitted, normal_of
from coregstack.kernels.posterior import Basis, Large, Normal, Solution
from coregstack.kernels.prior import Prior
from coregstack.kernels.selection import Candidate, Evidence, Weighed, simplest
from coregstack.kernels.symmetric import inverse, product, squared

MOST = 3
"""Patterns at most."""
_DATES = 4
"""Dates that a pattern takes at least."""
_MEMORY = 1 << 29
"""Bytes that what dates tell may take; a pattern is found from as many dates as that allows, evenly spread."""
_ROUNDS, _HALF_ROUNDS = 6, 3
"""Turns at most, of all dates and of the halves that only tell how many patterns there are."""
_STANDS = 0.002
"""Change of the displacements, px rms, at which they stand."""
_NEARLY = 1e-3
"""Part of the right-hand side that may be left over where a pattern is solved for."""
_NU = 4.0
_MEDIAN_CHI1, _MEDIAN_CHI2 = 0.455, 1.386
_OFF_CENTRE = 1.0
"""A block tells the displacement of its texture, which lies about its centre by this much along an axis, px rms."""
_ASTRAY = 2.0
"""A field that is longer by this factor than those of most dates counts no more than one of this length."""
_LEAST = 0.03
"""Patterns that displace by less, px rms, are what the method itself gets wrong for one texture and another shift."""
_MINOR = 0.15
"""Patterns of less than this part of the largest are second-order effects of it."""
_FOLDS = 4
_LARGE, _SMALL = (64, 3.0), (32, 2.0)
"""Side of the regions left out, px, and standard errors that a pattern has to gain, in large and in small scenes."""
_REGIONS = 60
"""Regions of the larger kind that make a scene large."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terrain:
    """Patterns of a stack, and the numbers of its dates."""

    patterns: Patterns | None
    """None where the dates have no pattern in common."""
    numbers: tuple[NDArray[np.float64] | None, ...]
    """Of each date the coefficients of 1, y, x and of each pattern for (y, x), px, shape (2, 3 + patterns)."""
    reason: str
    """Why there are as many patterns as there are, in words."""


def learners(count: int, frame: tuple[int, int]) -> NDArray[np.bool_]:
    """Which of some dates tell the patterns of their stack: all, or as many as memory allows, evenly spread.

    Parameters
    ----------
    count
        Number of dates.
    frame
        Rows and columns of the anchor.

    Examples
    --------
    >>> bool(learners(60, (2000, 2000)).all()), int(learners(2000, (2000, 2000)).sum())
    (True, 268)
    """
    blocks = int(np.prod(Grid.of(frame, PITCH).shape))
    most = max(2 * _DATES, _MEMORY // (blocks * Told.BYTES))
    chosen = np.zeros(count, np.bool_)
    chosen[np.linspace(0, count - 1, min(count, most)).round().astype(int)] = True
    return chosen


def find_terrain(dates: Sequence[Told | None], frame: tuple[int, int], lattice: Lattice) -> Terrain:
    """Find the patterns in which the dates of a stack are displaced.

    Parameters
    ----------
    dates
        What each date tells, about the same anchor; None where it tells nothing.
    frame
        Rows and columns of the anchor.
    lattice
        Control lattice of the patterns.

    Returns
    -------
    Terrain
        The same whatever the dates' order, up to rounding.
    """
    heard = [date for date in dates if date is not None]
    most = min(MOST, len(heard) // _DATES)
    nothing = (None,) * len(dates)
    if most == 0:
        words = (
            f"{len(heard)} of {len(dates)} dates tell how they are displaced, and a pattern takes {_DATES}"
        )
        return Terrain(patterns=None, numbers=nothing, reason=words)
    halves = heard[::2], heard[1::2]
    fits = [_Fit.of(halves[0], lattice, _started(halves[0], lattice, [None] * most), _HALF_ROUNDS)]
    fits.append(_Fit.of(halves[1], lattice, _started(halves[1], lattice, fits[0].priors), _HALF_ROUNDS))
    side, errors = _LARGE if np.prod(frame) > _REGIONS * _LARGE[0] ** 2 else _SMALL
    losses = [_left_out(half, fit, side) for half, fit in zip(halves, reversed(fits), strict=True)]
    candidates = [
        Candidate(model=str(k), prior=None, loss=np.concatenate([loss[k] for loss in losses]))
        for k in range(most + 1)
    ]
    count = min(int(simplest(candidates, errors).model), *(fit.important for fit in fits))
    return _of_all(dates, lattice, _started(heard, lattice, fits[1].priors[:count]), most)


def better_terrain(dates: Sequence[Told | None], patterns: Patterns) -> Terrain:
    """Find patterns again, from what dates tell about the displacements by those that were found.

    Equations are linear about a displacement, and a field of a date's own lies far from the true one.

    Parameters
    ----------
    dates
        What each date tells now; None where it tells nothing.
    patterns
        Those that were found.
    """
    grid = next(date.grid for date in dates if date is not None)
    return _of_all(dates, patterns.lattice, _restarted(patterns, grid), patterns.count)


def _of_all(
    dates: Sequence[Told | None], lattice: Lattice, started: Sequence[_Pattern], most: int
) -> Terrain:
    """Patterns of all dates, as many as are started with or fewer."""
    heard = [date for date in dates if date is not None]
    fit, count = None, len(started)
    while count and (fit is None or fit.important < count):
        # in all dates together a pattern may turn out to be less than in either half
        count = count if fit is None else fit.important
        fit = _Fit.of(heard, lattice, started[:count], _ROUNDS) if count else None
    if fit is None:
        words = f"the dates have no pattern of {_LEAST:g} px or more in common that predicts regions left out"
        return Terrain(patterns=None, numbers=(None,) * len(dates), reason=words)
    told = iter(fit.numbers)
    return Terrain(
        patterns=fit.patterns(),
        numbers=tuple(None if date is None else next(told).values for date in dates),
        reason=f"{count} of up to {most} patterns predict regions left out",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pattern:
    """One pattern as it is known after a round."""

    blocks: NDArray[np.float64]
    """At the blocks, mean 0 and rms 1, shape (down, across)."""
    linear: NDArray[np.float64]
    nodes: NDArray[np.float64]
    prior: Prior | None = None
    scale: NDArray[np.float64] | None = None
    """Prior deviation of each cosine of the coefficients."""
    texture: float = 1.0
    """Mean information that `prior` is in terms of."""
    known: NDArray[np.float64] | None = None
    """Information of the blocks on the pattern, shape (down, across)."""
    length: float = 1.0
    """By what the solution was divided to have rms 1."""
    noise: float = 1.0
    """Variance of the blocks about the pattern, in terms of what their equations say."""


class _Fit:
    """Patterns and numbers of some dates, in turn."""

    def __init__(self, dates: Sequence[Told], lattice: Lattice, started: Sequence[_Pattern]) -> None:
        self.dates = dates
        grid = dates[0].grid
        self.grid = grid
        self.basis = Basis(lattice, grid.rows, grid.cols, grid.pitch)
        self.common = np.zeros((*grid.shape, 2))
        self.precision = np.zeros(LINEAR + len(started))
        self.found = [*started]
        self.numbers: list[Numbers] = []
        self.weights: list[NDArray[np.float64]] = []

    @classmethod
    def of(cls, dates: Sequence[Told], lattice: Lattice, started: Sequence[_Pattern], rounds: int) -> _Fit:
        """Alternate until the displacements stand; priors are looked for near to those of what is started with."""
        fit = cls(dates, lattice, started)
        count = len(started)
        now = [date.own.astype(np.float64) for date in dates]
        for turn in range(rounds):
            before = now
            fit._weigh(now)
            fit._number()
            for k in range(count):
                fit._solve(k, look=turn == 0)
            now = fit._displacements()
            fit._take_common(now)
            pairs = zip(now, before, dates, strict=True)
            away = [np.square(a - b)[date.matrix[..., 0] > 0].mean() for a, b, date in pairs]
            if turn and np.sqrt(np.mean(away)) < _STANDS:
                break
        fit._number()
        order = np.argsort(
            [-np.square([n.values[:, LINEAR + k] for n in fit.numbers]).sum() for k in range(count)]
        )
        fit.found = [fit.found[k] for k in order]
        at = [*range(LINEAR), *(LINEAR + order)]
        fit.precision = fit.precision[at]
        both = [*at, *(len(at) + np.array(at))]
        fit.numbers = [
            Numbers(values=n.values[:, at], covariance=n.covariance[np.ix_(both, both)]) for n in fit.numbers
        ]
        return fit

    @property
    def priors(self) -> list[Prior | None]:
        """Of each pattern."""
        return [one.prior for one in self.found]

    @property
    def important(self) -> int:
        """How many patterns are worth following, and no second-order effects of the largest."""
        sizes = [
            np.square([n.values[:, LINEAR + k] for n in self.numbers]).mean() for k in range(len(self.found))
        ]
        lengths = np.sqrt(2 * np.array(sizes)) * [self._bent(one) for one in self.found]
        return int(np.count_nonzero(lengths >= max(_LEAST, _MINOR * lengths.max())))

    def _bent(self, one: _Pattern) -> float:
        """Rms of a pattern beyond a linear map, which each date has of its own and may take off again."""
        assert one.known is not None
        weight = np.sqrt(one.known / max(float(one.known.sum()), 1e-12)).ravel()
        linear = weight[:, None] * self.basis.linear.reshape(-1, LINEAR)
        values = weight * one.blocks.ravel()
        return float(np.linalg.norm(values - linear @ np.linalg.lstsq(linear, values, rcond=None)[0]))

    def functions(self) -> NDArray[np.float64]:
        """1, y, x and the patterns at the blocks."""
        return np.concatenate([self.basis.linear, *(one.blocks[..., None] for one in self.found)], axis=-1)

    def _weigh(self, now: Sequence[NDArray[np.float64]]) -> None:
        """Trust in each block of each date, by Student's t of how far it contradicts the displacement."""
        self.weights = []
        for date, displacement in zip(self.dates, now, strict=True):
            matrix = date.matrix.astype(np.float64)
            heard = matrix[..., 0] + matrix[..., 2] > 0
            misfit = squared(inverse(matrix), date.target - product(matrix, displacement + self.common))
            noise = max(float(np.median(misfit[heard])) / _MEDIAN_CHI2, 1e-12)
            self.weights.append(np.where(heard, (_NU + 2) / (_NU + misfit / noise) / noise, 0.0))

    def _equations(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weighted equations of a date, without what the anchor's noise pretends."""
        weight = self.weights[k][..., None]
        matrix = self.dates[k].matrix * weight
        return matrix, self.dates[k].target * weight - product(matrix, self.common)

    def _number(self) -> None:
        functions = self.functions()
        self.numbers = [
            fitted(normal_of(functions, *self._equations(k)), self.precision) for k in range(len(self.dates))
        ]
        count = functions.shape[-1]
        squares = [np.square(n.values) + np.diag(n.covariance).reshape(2, count) for n in self.numbers]
        self.precision = 1 / np.maximum(np.mean(squares, axis=(0, 1)), 1e-12)
        self.precision[0] = 0.0

    def _displacements(self) -> list[NDArray[np.float64]]:
        functions = self.functions()
        return [functions @ n.values.T for n in self.numbers]

    def _take_common(self, now: Sequence[NDArray[np.float64]]) -> None:
        """What all dates show alike, block by block, beyond their displacements: the noise of the anchor."""
        total, rest = np.zeros((*self.grid.shape, 3)), np.zeros((*self.grid.shape, 2))
        for date, weight, displacement in zip(self.dates, self.weights, now, strict=True):
            matrix = date.matrix * weight[..., None]
            total += matrix
            rest += date.target * weight[..., None] - product(matrix, displacement)
        self.common = product(inverse(total * self._shared), rest)

    @property
    def _shared(self) -> float:
        """The anchor's noise is as large as that of one date, and a mean over all of them tells it."""
        return 1 + 1 / len(self.dates)

    def _solve(self, k: int, *, look: bool) -> None:
        """One pattern from the blocks of all dates, the others as they are."""
        others = [*self.found]
        others[k] = replace(others[k], blocks=np.zeros(self.grid.shape))
        functions = np.concatenate([self.basis.linear, *(one.blocks[..., None] for one in others)], axis=-1)
        halves = [self._sums(k, functions, range(first, len(self.dates), 2)) for first in (0, 1)]
        information, target = self._without_common(halves[0] + halves[1])
        one = self.found[k]
        if look:
            parts = [self._without_common(half) for half in halves]
            weighed = self._weighed(*(np.stack(pair, axis=-1) for pair in zip(*parts, strict=True)))
            prior = Evidence(weighed).best_prior(one.prior, fine=True)
            one = replace(one, prior=prior, scale=weighed.scale(prior), texture=weighed.texture)
        both = self._weighed(*(np.stack([each, each], axis=-1) for each in (information, target)))
        assert one.scale is not None
        near = None
        if one.nodes.any():
            near = Solution(linear=np.stack([one.linear] * 2), nodes=np.stack([one.nodes] * 2))
        large = Large(self.basis, both.equations.matrix, one.scale)
        solution = large.solve(both.equations.target, near, _NEARLY)
        blocks = self.basis.blocks(solution.linear, solution.nodes)[..., 0]
        weight = information / max(float(information.sum()), 1e-12)
        mean = float((weight * blocks).sum())
        length = max(float(np.sqrt((weight * np.square(blocks - mean)).sum())), 1e-9)
        heard = information > 0
        away = np.square(target - information * blocks)[heard] / information[heard]
        linear = solution.linear[0].copy()
        linear[0] -= mean
        self.found[k] = replace(
            one,
            blocks=(blocks - mean) / length,
            linear=linear / length,
            nodes=solution.nodes[0] / length,
            known=information,
            length=length,
            noise=max(1.0, float(np.median(away)) / _MEDIAN_CHI1) if heard.any() else 1.0,
        )
        for number in self.numbers:
            number.values[:, LINEAR + k] *= length
        self.precision[LINEAR + k] /= length**2

    def _sums(self, k: int, functions: NDArray[np.float64], dates: Sequence[int]) -> NDArray[np.float64]:
        """Sums over dates at each block: v'Mv, v'r, M (3), Mv (2) and r (2), r being left by all other functions."""
        sums = np.zeros((*self.grid.shape, 9))
        for t in dates:
            weight = self.weights[t][..., None]
            matrix = self.dates[t].matrix * weight
            view = self.numbers[t].values[:, LINEAR + k]
            left = self.dates[t].target * weight - product(matrix, functions @ self.numbers[t].values.T)
            pull = product(matrix, view)
            sums[..., 0] += pull @ view
            sums[..., 1] += left @ view
            sums[..., 2:5] += matrix
            sums[..., 5:7] += pull
            sums[..., 7:9] += left
        return sums

    def _without_common(self, sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Information and target for a pattern, freed of what all dates share at a block."""
        known = inverse(sums[..., 2:5] * self._shared)
        information = sums[..., 0] - squared(known, sums[..., 5:7])
        target = sums[..., 1] - (product(known, sums[..., 5:7]) * sums[..., 7:9]).sum(axis=-1)
        return np.maximum(information, 0.0), target

    def _weighed(self, information: NDArray[np.float64], target: NDArray[np.float64]) -> Weighed:
        """Two separate problems as the two axes of one displacement."""
        matrix = np.stack([information[..., 0], np.zeros(self.grid.shape), information[..., 1]], axis=-1)
        equations = Equations(
            grid=self.grid,
            matrix=matrix,
            vector=target,
            here=np.zeros_like(target),
            usable=np.ones(self.grid.shape),
            shared=np.ones(self.grid.shape),
        )
        return Weighed(equations=equations, basis=self.basis)

    def patterns(self) -> Patterns:
        """The patterns with their variance, to be handed on."""
        return Patterns(
            lattice=self.basis.lattice,
            linear=np.stack([one.linear for one in self.found]),
            nodes=np.stack([one.nodes for one in self.found]),
            variance=np.stack([self._variance(one) for one in self.found]),
            precision=self.precision,
            dates=len(self.dates),
        )

    def _variance(self, one: _Pattern) -> NDArray[np.float64]:
        assert one.scale is not None
        assert one.known is not None
        assert one.prior is not None
        matrix = np.stack([one.known, np.zeros(self.grid.shape), one.known], axis=-1)
        variance, _ = field_variance(self.basis, matrix, Large(self.basis, matrix, one.scale))
        variance = variance + TAIL * one.prior.beyond(self.basis.lattice.step) / one.texture
        variance = one.noise * variance / one.length**2 + _OFF_CENTRE**2 * self._slope(one)
        heard = one.known > 0
        lost = forgotten(
            self.basis.lattice, self.grid, one.blocks[..., None], heard, one.known * one.length**2 > 1
        )
        unseen: NDArray[np.float64] = np.maximum(variance, np.square(lost))
        return unseen

    def _slope(self, one: _Pattern) -> NDArray[np.float64]:
        """Squared slope of a pattern at the nodes, 1 / px^2."""
        lattice = self.basis.lattice
        still = np.zeros_like(one.nodes)
        at_nodes = Basis(lattice, *lattice.nodes)
        values = at_nodes.blocks(np.stack([one.linear, np.zeros(LINEAR)]), np.stack([one.nodes, still]))[
            ..., 0
        ]
        square: NDArray[np.float64] = sum(np.square(part) for part in np.gradient(values, lattice.step))
        return square


def _started(dates: Sequence[Told], lattice: Lattice, priors: Sequence[Prior | None]) -> list[_Pattern]:
    """The first singular vectors of the dates' own fields about their means."""
    information = np.sum(
        [date.matrix[..., 0] + date.matrix[..., 2] for date in dates], axis=0, dtype=np.float64
    )
    weight = np.sqrt(np.minimum(information / max(float(information.mean()), 1e-12), 4.0)).ravel()
    rows = []
    for date in dates:
        bent = np.moveaxis(date.own - _mean(date), -1, 0).reshape(2, -1)
        rows.append(bent * weight)
    sizes = np.array([np.sqrt(np.square(row).mean()) for row in rows])
    # a date whose own field went astray must not be a pattern by itself
    most = _ASTRAY * np.median(sizes)
    stacked = np.concatenate([r * min(1.0, most / max(s, 1e-12)) for r, s in zip(rows, sizes, strict=True)])
    _, vectors = np.linalg.eigh(stacked @ stacked.T)
    found = []
    for k, prior in enumerate(priors):
        blocks = (vectors[:, -1 - k] @ stacked) / np.maximum(weight, 1e-3)
        blocks /= max(float(np.sqrt((np.square(weight * blocks)).sum() / np.square(weight).sum())), 1e-12)
        found.append(
            _Pattern(
                blocks=blocks.reshape(dates[0].grid.shape),
                linear=np.zeros(LINEAR),
                nodes=np.zeros(lattice.shape),
                prior=prior,
            )
        )
    return found


def _restarted(patterns: Patterns, grid: Grid) -> list[_Pattern]:
    """Patterns that were found, to begin with."""
    blocks = patterns.functions(grid.rows, grid.cols, grid.pitch)[..., LINEAR:]
    return [
        _Pattern(blocks=blocks[..., k], linear=patterns.linear[k], nodes=patterns.nodes[k])
        for k in range(patterns.count)
    ]


def _left_out(dates: Sequence[Told], fit: _Fit, side: int) -> list[NDArray[np.float64]]:
    """Loss of each region of `side` px, predicted by the first 0, 1, 2 and so on patterns of other dates.

    The numbers of each date come from the regions that are left in. What all dates show alike at a block does not
    count: the anchor's noise, and what has changed since the anchor alone.
    """
    grid, functions = fit.grid, fit.functions()
    rows, cols = (places // side for places in (grid.rows, grid.cols))
    region = (rows[:, None] * (cols.max() + 1) + cols[None]).astype(int)
    fold = ((rows[:, None] + 2 * cols[None]) % _FOLDS).astype(int)
    count = functions.shape[-1]
    most = count - LINEAR
    outs = [fold == k for k in range(_FOLDS)]
    parted = [functions[out] for out in outs]
    alike = _alike(dates)
    loss = np.zeros((most + 1, *grid.shape))
    total = np.zeros((*grid.shape, 3))
    rest = np.zeros((most + 1, *grid.shape, 2))
    for date in dates:
        matrix = date.matrix.astype(np.float64)
        target = date.target - product(matrix, alike)
        known = [(matrix[out], target[out]) for out in outs]
        parts = [normal_of(some, *one) for some, one in zip(parted, known, strict=True)]
        whole = reduce(add, parts)
        total += matrix
        for part, out, at, (own, wanted) in zip(parts, outs, parted, known, strict=True):
            for some in range(most + 1):
                values = _numbers(whole - part, count, LINEAR + some, fit.precision)
                away = at[:, : LINEAR + some] @ values.T
                pull = product(own, away)
                loss[some][out] += ((pull - 2 * wanted) * away).sum(axis=-1)
                rest[some][out] += wanted - pull
    shared = inverse(total)
    heard = total[..., 0] + total[..., 2] > 0
    ids, index = np.unique(region[heard], return_inverse=True)
    return [
        np.asarray(np.bincount(index, (one - squared(shared, left))[heard], ids.size), np.float64)
        for one, left in zip(loss, rest, strict=True)
    ]


def _alike(dates: Sequence[Told]) -> NDArray[np.float64]:
    """Displacement of the blocks about its mean that all dates show alike, px, shape (down, across, 2)."""
    total, rest = np.zeros(dates[0].matrix.shape), np.zeros(dates[0].target.shape)
    for date in dates:
        total += date.matrix
        rest += date.target - product(date.matrix.astype(np.float64), _mean(date))
    return product(inverse(total), rest)


def _mean(date: Told) -> NDArray[np.float64]:
    """Mean displacement by the date's own field (y, x), px."""
    known = (date.matrix[..., 0] + date.matrix[..., 2]).astype(np.float64)
    mean: NDArray[np.float64] = np.einsum("ij,ijk->k", known, date.own) / max(float(known.sum()), 1e-12)
    return mean


def _numbers(normal: Normal, count: int, some: int, precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers of the first `some` of `count` functions."""
    at = np.concatenate([np.arange(some), count + np.arange(some)])
    part = Normal(matrix=normal.matrix[np.ix_(at, at)], vector=normal.vector[at])
    return fitted(part, precision[:some]).values
