"""The displacement of an item against the anchor: as one, by a linear map, or by a field that follows its parts.

One frame for all: robust least squares on blocks with a gain of either sign, in which a constant, linear functions or
splines on the control lattice are the basis. A few Gauss-Newton steps, the first in half resolution for what lies
further off; before each, `selection` says which model the blocks carry. Blocks whose own step is not that of the
model lose their say (Student's t), so that clouds and what moves by itself do not bend it.

References
----------
.. [1] Cook, R. D. and Weisberg, S. (1982). Residuals and Influence in Regression. Chapman and Hall, chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from coregstack.kernels.equations import Equations, Grid, gather
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.linear_start import linear_start
from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.posterior import DENSE, Basis, Large, Normal, Solution
from coregstack.kernels.prior import Prior
from coregstack.kernels.selection import (
    AFFINE,
    FIELD,
    SHIFT,
    Evidence,
    Weighed,
    freedom_of,
    left_out,
    simplest,
)
from coregstack.kernels.spread import beyond_noise, shared_square
from coregstack.kernels.symmetric import inverse, product
from coregstack.model import Displacement, DisplacementEstimate, PixelSource, Shift, ShiftEstimate, TiePoints

MODELS = (SHIFT, AFFINE, FIELD, "auto")
"""Models of displacement that can be asked for of one pair of scenes."""
TERRAIN = "terrain"
"""Model of a displacement that follows from the patterns of a whole stack; see `coregstack.kernels.patterns`."""
_PITCHES = (16, 8, 8, 8, 8)
"""Side of the blocks of each step, px."""
_NU = 4.0
"""Degrees of freedom of Student's t."""
_MEDIAN_CHI2 = 1.386
_BOUND = 0.9
"""Leverage of a block at most."""
CONVERGED = 0.003
"""Change of a displacement, px rms, at which it stands."""
_STILL = 0.001
"""The same of a linear map, which all blocks together know better: of the last step, not of what is to come."""
_SHRINKS = 0.3
"""Factor by which a step is shorter than the one before it at least, where steps are short."""
_SHARPENED = 2
"""Steps after edges were seen."""
_BUDGET = 3 << 20
"""Pixels up to which every band is used, and the best one alone beyond."""
_BANDS = 3
_LARGE, _SMALL = (64, 3.0), (32, 2.0)
"""Side of the regions left out, px, and standard errors that a model has to gain, in large and in small scenes."""
_REGIONS = 60
"""Regions of the larger kind that make a scene large."""
_STIFFER = (0.01, 0.1, 1.0)
"""Powers of the priors that are tried, in terms of the power of most evidence."""
_SAMPLES = 8
"""Displacements by chance that tell the sigma of a field."""
TAIL = 1 / 6
"""Part of the detail beyond the lattice, as the prior goes on, that there is: what displaces scenes ends somewhere."""
_SHARP = 0.1
"""Blocks that know their displacement better have no more say in what a field leaves, px."""
_SURE = 2.0
"""Standard errors by which what blocks show together has to exceed 0."""
_GATHERED = 2.0
"""Mean of the squares over the square of the mean of the power of a field's finest detail, at most where it is alike
all over the scene, as where it is smooth or rough by one law."""
_CLIFFS = 3.5
"""What is left beside cliffs and seams, in terms of the power of the finest detail that is followed there."""
_FOLLOWED = 1.4
"""The same where edges are followed as such."""
_AROUND = 1.5
"""Blocks about which what a field leaves is told as one: standard deviation of a Gaussian."""
_FORGOTTEN = 0.6
"""Lengths, over which a displacement changes by itself, from seen ground, where little of what that says is left."""
METHOD = 0.0015
"""What the method itself gets wrong along an axis when all is well, as by aliasing, px."""
_WORTH_SAYING = 0.1
"""Spread that a user is told of, px."""
_WORTH = 2.0
"""What a model has to bend a scene by, in terms of what it leaves, to be taken in place of one shift."""
_TIES = 1024
"""Windows at most that are given as tie points."""
LEAST_BLOCKS = 30
"""Blocks that have to say something."""


def estimate_displacement(
    anchor: PreparedAnchor,
    item: PixelSource,
    found: ShiftEstimate,
    *,
    model: str = "auto",
    stable: NDArray[np.bool_] | None = None,
) -> DisplacementEstimate:
    """Estimate how the parts of an item are displaced against the anchor.

    Parameters
    ----------
    anchor
        What `prepare_anchor` returned.
    item
        Match bands of the item, in the anchor's order.
    found
        What `estimate_shift` returned for them. Where it has no shift, an item that is turned or scaled may
        still be found.
    model
        ``"shift"``, ``"affine"``, ``"field"``, or ``"auto"`` for the simplest that the scenes do not contradict.
    stable
        True on ground that may drive the displacement, shape of the anchor's frame; None for all.

    Returns
    -------
    DisplacementEstimate
        ``item(y - dy, x - dx) = anchor(y, x)``; its control lattice depends on the anchor's shape only.

    Raises
    ------
    ValueError
        If there is no such model, or the mask has another shape than the anchor.

    Examples
    --------
    >>> from coregstack.kernels.shift import estimate_shift, prepare_anchor
    >>> from coregstack.kernels.sources import ArraySource
    >>> scene = np.random.default_rng(1).normal(size=(120, 120)).cumsum(0).cumsum(1)
    >>> clear = np.ones((100, 100), bool)
    >>> anchor = prepare_anchor(ArraySource(values=scene[None, 10:110, 10:110], usable=clear))
    >>> item = ArraySource(values=scene[None, 13:113, 8:108], usable=clear)
    >>> estimate_displacement(anchor, item, estimate_shift(anchor, item)).model
    'shift'
    """
    if model not in MODELS:
        raise ValueError(f"model is one of {', '.join(MODELS)}, not {model!r}")
    if stable is not None and stable.shape != anchor.source.shape:
        raise ValueError(
            f"the mask of stable ground has shape {stable.shape}, the anchor {anchor.source.shape}"
        )
    if model == SHIFT:
        return as_one_shift(found)
    search = Search(anchor=anchor, item=item, found=found, model=model, stable=stable)
    state = search.run()
    if state is None:
        return as_one_shift(found)
    result = result_of(search.sharpened(state), found)
    if model == "auto" and found.shift is not None and not _worth_it(result):
        return as_one_shift(found)
    return result


def _worth_it(found: DisplacementEstimate) -> bool:
    """Whether what a model bends a scene by is well more than what it leaves."""
    return found.spread is None or found.residual is None or found.spread > _WORTH * found.residual


def as_one_shift(found: ShiftEstimate) -> DisplacementEstimate:
    """What one shift says of an item, and what its windows say of the spread."""
    residual = None
    if found.sigma is not None and found.spread is not None:
        residual = float(np.sqrt(found.sigma.y**2 + found.sigma.x**2 + found.spread**2))
    ties = found.ties
    mean = found.shift if found.shift is not None else Shift(np.nan, np.nan)
    return DisplacementEstimate(
        model=SHIFT,
        shift=found.shift,
        sigma=found.sigma,
        displacement=None,
        spread=found.spread if found.shift is not None else None,
        residual=residual,
        details=found.reason if found.shift is None else _words(SHIFT, found.spread or 0.0),
        ties=ties,
        residual_y=ties.shift_y - mean.y,
        residual_x=ties.shift_x - mean.x,
    )


def _words(model: str, spread: float) -> str:
    if model == SHIFT and spread >= _WORTH_SAYING:
        return f"parts of it lie up to {2 * spread:.1f} px apart: model='field' follows them"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The model after a step, and the equations that it was found from."""

    model: str
    prior: Prior | None
    solution: Solution
    weighed: Weighed
    plain: Equations
    """Without trust."""
    now: NDArray[np.float64]
    """Displacement of the blocks by the model, px, shape (down, across, 2)."""
    noise: float
    """Variance of the blocks, in terms of what their equations say."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """Steps to a displacement of one model; the fields are those that `estimate_displacement` takes."""

    anchor: PreparedAnchor
    item: PixelSource
    found: ShiftEstimate
    model: str
    stable: NDArray[np.bool_] | None
    pitches: tuple[int, ...] = _PITCHES
    """Side of the blocks of each step, px, as many steps at most."""

    def run(self) -> State | None:
        """Step until the displacement stands; None where nothing is seen."""
        source = self.anchor.source
        lattice = Lattice.of(source.shape)
        bands = matched_bands(self.anchor, self.item, self.found)
        start = self._start(lattice, bands)
        if start is None:
            return None
        solution = Solution(linear=start, nodes=np.zeros((2, *lattice.shape)))
        prior, stands = None, False
        state = None
        last = np.inf
        for turn, pitch in enumerate(self.pitches):
            grid = Grid.of(source.shape, pitch)
            here = solution.at(lattice, grid.rows, grid.cols)
            equations = gather(source, self.item, bands, grid, here, self.stable)
            if np.count_nonzero(equations.heard) < LEAST_BLOCKS:
                return None
            state = self._step(Basis(lattice, grid.rows, grid.cols), equations, prior, stands)
            prior, stands = state.prior or prior, state.prior == prior
            solution = state.solution
            change = float(np.sqrt(np.square(state.now - here)[equations.heard].mean()))
            # the next step would be shorter by the factor by which steps shrink
            if turn and (
                last == 0  # as where an item is its anchor, pixel by pixel
                or _stands(state.model, change, last)
                or (state.model == SHIFT and self.model == "auto")
            ):
                break
            last = change
        return state

    def _start(self, lattice: Lattice, bands: Sequence[int]) -> NDArray[np.float64] | None:
        """Linear coefficients to begin with."""
        shift = self.found.shift
        turned = linear_start(self.anchor, self.item, lattice, shift, bands)
        if shift is None or (turned is not None and np.abs(turned[:, 1:]).max() > 1.5):
            return turned
        return np.array([[shift.y, 0.0, 0.0], [shift.x, 0.0, 0.0]])

    def _step(self, basis: Basis, equations: Equations, prior: Prior | None, stands: bool) -> State:
        weighed = _weighed(basis, equations)
        model, chosen = self._choose(_blurred(weighed, prior), prior, stands)
        return _state(weighed, equations, model, chosen)

    def sharpened(self, state: State) -> State:
        """The field with its edges where its finest detail is gathered in few places and blocks left out show edges."""
        if state.model != FIELD or state.prior is None or _finest(state)[1] < _GATHERED:
            return state
        told = replace(_blurred(state.weighed, state.prior), noise=state.noise)
        prior = replace(state.prior, freedom=freedom_of(told, state.prior))
        if np.isinf(prior.freedom):
            return state
        bands = matched_bands(self.anchor, self.item, self.found)
        basis, grid = state.weighed.basis, state.plain.grid
        for _ in range(_SHARPENED):
            equations = gather(self.anchor.source, self.item, bands, grid, state.now, self.stable)
            state = _state(_weighed(basis, equations), equations, FIELD, prior)
        return state

    def _choose(self, weighed: Weighed, prior: Prior | None, stands: bool) -> tuple[str, Prior | None]:
        if self.model == AFFINE:
            return AFFINE, None
        best = Evidence(weighed).best_prior(prior, stands=stands)
        if self.model == FIELD:
            return FIELD, best
        priors = [replace(best, power=best.power * part) for part in _STIFFER]
        options = [(SHIFT, None), (AFFINE, None), *((FIELD, p) for p in priors)]
        side, errors = _LARGE if np.prod(self.anchor.source.shape) > _REGIONS * _LARGE[0] ** 2 else _SMALL
        chosen = simplest(left_out(weighed, options, side), errors)
        return chosen.model, chosen.prior


def _stands(model: str, change: float, last: float) -> bool:
    """Whether a displacement stands after steps of some lengths, px rms."""
    if model == AFFINE:
        return change < _STILL
    return change * min(_SHRINKS, change / last) < CONVERGED


def _weighed(basis: Basis, equations: Equations) -> Weighed:
    """What blocks say, by the trust in each."""
    trust, noise = trust_of(equations, equations.here)
    return Weighed(equations=equations.weighted(trust), basis=basis, noise=noise)


def _blurred(weighed: Weighed, prior: Prior | None) -> Weighed:
    """The same where a field has detail that is finer than its lattice: it moves blocks, however sure they are."""
    if prior is None:
        return weighed
    finer = TAIL * prior.beyond(weighed.basis.lattice.step) / weighed.texture
    return replace(weighed, equations=weighed.equations.blurred(finer))


def _state(weighed: Weighed, equations: Equations, model: str, prior: Prior | None) -> State:
    """The displacement of a model."""
    solution = _blurred(weighed, prior).solve(model, prior)
    now = weighed.basis.blocks(solution.linear, solution.nodes)
    _, noise = trust_of(equations, now)
    return State(
        model=model, prior=prior, solution=solution, weighed=weighed, plain=equations, now=now, noise=noise
    )


def matched_bands(anchor: PreparedAnchor, item: PixelSource, found: ShiftEstimate) -> list[int]:
    """The best band, and others that were fitted where the scene is small."""
    seen = list(dict.fromkeys(found.ties.band.tolist())) or list(range(item.bands))[:_BANDS]
    pixels = int(np.prod(anchor.source.shape))
    return seen[: max(1, min(len(seen), _BUDGET // pixels))]


def trust_of(equations: Equations, displacement: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Trust in each block by Student's t of its own step against a displacement, and the blocks' noise."""
    misfit = equations.misfit(displacement)
    noise = _noise(misfit, equations.heard)
    return np.where(equations.heard, (_NU + 2) / (_NU + misfit / noise), 0.0), noise


def result_of(
    state: State, found: ShiftEstimate, known: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
) -> DisplacementEstimate:
    """Everything that is handed on of the last step; where that is a shift, what is said of one shift.

    `known` is the variance of the displacement along an axis at each node, px^2, and the sigma of its mean (y, x), px,
    where these do not follow from the prior of the state.
    """
    if state.model == SHIFT and found.shift is not None and found.sigma is not None:
        return as_one_shift(found)
    usable = state.plain.usable * state.plain.heard
    if known is None:
        state, variance, mean_sigma = _uncertainty(state, usable)
    else:
        variance, mean_sigma = known
    total = usable.sum()
    left = state.plain.vector - product(state.plain.matrix, state.now - state.plain.here)
    unseen = beyond_noise(*shared_square(state.plain.matrix[None], left[None], np.ones((1, *usable.shape))))
    beyond, rough = np.zeros(usable.shape), 0.0
    if state.model in (FIELD, TERRAIN):
        beyond, rough = _unfollowed(state)
    if state.model == FIELD:
        beyond += _sharper(state)
    unseen = max(unseen, rough)
    mean = np.einsum("ij,ijk->k", usable, state.now) / total
    bent = float(np.einsum("ij,ijk->", usable, np.square(state.now - mean)) / total)
    spread = float(np.sqrt(bent + unseen**2))
    lattice = state.weighed.basis.lattice
    rows, cols = lattice.nodes
    values = state.solution.at(lattice, rows, cols)
    variance = variance + np.maximum(_near_nodes(lattice, state.plain.grid, beyond), unseen**2) / 2
    sigma = np.sqrt(np.maximum(variance, _unseen(state, mean) ** 2))
    at = np.sqrt(2 * _at_blocks(state, np.square(sigma))[state.plain.heard].mean())
    ties, residuals = _windows(state)
    return DisplacementEstimate(
        model=state.model,
        shift=Shift(*(float(v) for v in mean)),
        sigma=Shift(*(float(v) for v in mean_sigma)),
        displacement=None if state.model == SHIFT else Displacement(
            origin=lattice.origin,
            step=lattice.step,
            y=values[..., 0].astype(np.float32),
            x=values[..., 1].astype(np.float32),
            sigma=sigma.astype(np.float32),
        ),
        spread=spread,
        residual=float(at),
        details=_words(state.model, spread),
        ties=ties,
        residual_y=residuals[:, 0],
        residual_x=residuals[:, 1],
    )  # fmt: skip


def _unfollowed(state: State) -> tuple[NDArray[np.float64], float]:
    """Mean square length of what blocks show beyond a field and more than noise, px^2: about each block, and overall.

    A seam is followed as a slope, and what is left of it lies beside it.
    """
    equations = state.plain
    known = inverse(equations.matrix)
    variance = (known[..., 0] + known[..., 2]) * state.noise
    away = equations.steps - (state.now - equations.here)
    good = equations.heard & (np.abs(away).max(axis=-1) < 1.5) & (variance > 0)
    if not good.any():
        return np.zeros(good.shape), 0.0
    weight = np.where(good, 1 / np.maximum(variance, _SHARP**2), 0.0)
    more = weight * (np.square(away).sum(axis=-1) - variance)
    overall = max(0.0, more.sum() / weight.sum() - float(np.median(variance[good])))
    local = np.maximum(*(_alike(away, weight, axis) for axis in (0, 1)))
    return local, float(np.sqrt(overall))


def _sharper(state: State) -> NDArray[np.float64]:
    """Mean square length about each block of detail that is sharper than the lattice, px^2.

    Blocks that lie further off than a fit reaches do not show it. But where the finest detail that is followed is
    gathered in few places, as beside cliffs and seams, it is not the end of what there is.
    """
    fine, gathered = _finest(state)
    left = _CLIFFS if state.prior is None or np.isinf(state.prior.freedom) else _FOLLOWED
    sharper: NDArray[np.float64] = fine * (left * min(max(gathered - _GATHERED, 0.0), 1.0))
    return sharper


def _finest(state: State) -> tuple[NDArray[np.float64], float]:
    """Power of the finest detail of a field about each block, px^2, and how gathered it is: 1 if even, more if not."""
    width = state.weighed.basis.lattice.step / state.plain.grid.pitch
    coarse = np.stack(
        [gaussian_filter(axis, width, mode="nearest") for axis in np.moveaxis(state.now, -1, 0)]
    )
    fine = gaussian_filter(np.square(np.moveaxis(state.now, -1, 0) - coarse).sum(axis=0), 1.0)
    power = fine[state.plain.heard]
    return fine, float(np.square(power).mean() / max(float(power.mean()) ** 2, 1e-24))


def _alike(steps: NDArray[np.float64], weight: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean product about each block of the steps of blocks that lie two apart along an axis, as far as it is sure."""
    products, both = np.zeros(weight.shape), np.zeros(weight.shape)
    here, there, middle = ([slice(None)] * 2 for _ in range(3))
    here[axis], there[axis], middle[axis] = slice(None, -2), slice(2, None), slice(1, -1)
    one, two, at = tuple(here), tuple(there), tuple(middle)
    both[at] = np.sqrt(weight[one] * weight[two])
    products[at] = both[at] * (steps[one] * steps[two]).sum(axis=-1)
    around, sure = (gaussian_filter(values, _AROUND, mode="constant") for values in (products, both))
    scatter = gaussian_filter(np.square(products), _AROUND / np.sqrt(2), mode="constant")
    error = np.sqrt(scatter / (4 * np.pi * _AROUND**2))
    return np.where(sure > 0, np.maximum(around - _SURE * error, 0.0) / np.where(sure > 0, sure, 1), 0.0)


def _unseen(state: State, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigma at each node by how far it lies from ground that tells its displacement, px; 0 on such ground."""
    if state.model != FIELD:
        return np.zeros(state.weighed.basis.lattice.shape)
    bent, matrix = state.now - mean, state.weighed.equations.matrix
    square = float(np.square(bent[state.plain.heard]).mean())
    told = (matrix[..., 0] + matrix[..., 2]) / 2 * square > state.noise
    return forgotten(state.weighed.basis.lattice, state.plain.grid, bent, state.plain.heard, told)


def forgotten(
    lattice: Lattice,
    grid: Grid,
    bent: NDArray[np.float64],
    heard: NDArray[np.bool_],
    told: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Sigma at each node by how far it lies from blocks that tell a displacement; 0 where they do.

    The prior of most evidence is that of the ground that is seen, and of long waves it knows little. Over more than
    the distance in which the displacement itself changes, nothing is known but how far it lies about its mean.

    Parameters
    ----------
    lattice, grid
        Nodes and blocks.
    bent
        Displacement of the blocks about its mean, shape (down, across, n).
    heard, told
        Blocks that say something, and those that say more than nothing of the displacement, shape (down, across).
    """
    square = float(np.square(bent[heard]).sum(axis=-1).mean()) / bent.shape[-1]
    if square == 0 or not told.any():
        return np.zeros(lattice.shape)
    slope = np.mean([np.square(np.diff(bent, axis=k)).mean() for k in (0, 1)]) / grid.pitch**2
    length = np.sqrt(square / max(float(slope), 1e-12))
    distance = np.asarray(distance_transform_edt(~told)) * grid.pitch
    away = np.maximum(_near_nodes(lattice, grid, distance) - grid.pitch, 0.0)
    unknown: NDArray[np.float64] = np.sqrt(square * -np.expm1(-np.square(away / (_FORGOTTEN * length))))
    return unknown


def _near_nodes(lattice: Lattice, grid: Grid, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the blocks nearest to the nodes."""
    index = [
        np.clip(np.rint((nodes - places[0]) / grid.pitch).astype(int), 0, places.size - 1)
        for nodes, places in zip(lattice.nodes, (grid.rows, grid.cols), strict=True)
    ]
    return blocks[np.ix_(*index)]


def _at_blocks(state: State, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the nodes at the blocks, each from the nearest node."""
    lattice, grid = state.weighed.basis.lattice, state.plain.grid
    index = [
        np.clip(np.rint((places - start) / lattice.step).astype(int), 0, n - 1)
        for places, start, n in zip((grid.rows, grid.cols), lattice.origin, lattice.shape, strict=True)
    ]
    return nodes[np.ix_(*index)]


def _uncertainty(
    state: State, usable: NDArray[np.float64]
) -> tuple[State, NDArray[np.float64], NDArray[np.float64]]:
    """The state with the noise of its blocks told anew, variance along an axis at each node, sigma of the mean (y, x).

    A field bends to each block as far as its prior lets it, so that blocks lie nearer to it than to the truth: by the
    part that the block itself has in what is found there, its leverage [1]_.
    """
    basis, prior = state.weighed.basis, state.prior
    rows, cols = basis.lattice.nodes
    linear = basis.lattice.linear(rows, cols).reshape(-1, 3)
    mean = np.einsum("ij,ijk->k", usable, basis.linear) / usable.sum()
    if state.model != FIELD or prior is None:
        count = 1 if state.model == SHIFT else 3
        some = basis.linear.reshape(-1, 3)[:, :count]
        equations = state.weighed.equations
        posterior = Normal.of(
            some, equations.matrix.reshape(-1, 3), equations.target.reshape(-1, 2)
        ).posterior(np.full(count, np.inf))
        variance = posterior.variance(linear[:, :count]).mean(axis=1).reshape(basis.lattice.shape)
        of_mean = posterior.variance(mean[None, :count])[0]
    else:
        large = Large(basis, state.weighed.equations.matrix, state.weighed.scale(prior))
        of_mean = large.variance_of_mean(usable)
        matrix = state.weighed.equations.matrix
        variance, of_blocks = field_variance(basis, matrix, large)
        leverage = (matrix[..., 0] + matrix[..., 2]) / 2 * of_blocks
        state = replace(state, noise=_noise(state.plain.misfit(state.now), state.plain.heard, leverage))
        variance += TAIL * prior.beyond(basis.lattice.step) / state.weighed.texture
    return state, variance * state.noise + METHOD**2, np.sqrt(of_mean * state.noise + METHOD**2)


def _noise(
    misfit: NDArray[np.float64], heard: NDArray[np.bool_], leverage: NDArray[np.float64] | float = 0.0
) -> float:
    """Variance of blocks, in terms of what their equations say, that no block that lies far off can raise."""
    free = 1 - np.minimum(leverage, _BOUND)
    return max(float(np.median((misfit / free)[heard])) / _MEDIAN_CHI2, 1e-12)


def field_variance(
    basis: Basis, matrix: NDArray[np.float64], large: Large
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of a field along an axis at each node and at each block, in units of the noise.

    Exact in small scenes, and from chance displacements in large ones.
    """
    lattice = basis.lattice
    places = Basis(lattice, *lattice.nodes), basis
    if large.scale.size <= DENSE:
        functions = [at.dense() for at in places]
        normal = Normal.of(functions[1], matrix.reshape(-1, 3), np.zeros((matrix[..., 0].size, 2)))
        posterior = normal.posterior(np.concatenate([np.full(3, np.inf), large.scale.ravel()[1:]]))
        at_nodes, at_blocks = (posterior.variance(some).mean(axis=1) for some in functions)
        return at_nodes.reshape(lattice.shape), at_blocks.reshape(matrix.shape[:2])
    rng = np.random.default_rng(0)
    squares = [np.zeros(lattice.shape), np.zeros(matrix.shape[:2])]
    for _ in range(_SAMPLES):
        sample = large.sample(rng)
        for total, at in zip(squares, places, strict=True):
            total += np.square(at.blocks(sample.linear, sample.nodes)).mean(axis=-1) / _SAMPLES
    smoothed = [gaussian_filter(total, 1.0, mode="nearest") for total in squares]
    return smoothed[0], smoothed[1]


def _windows(state: State) -> tuple[TiePoints, NDArray[np.float64]]:
    """Windows with the displacement that each shows by itself, and what it shows beyond the model."""
    equations = state.plain
    trust, noise = trust_of(equations, state.now)
    weighted = equations.weighted(trust)
    left = weighted.vector - product(weighted.matrix, state.now - equations.here)
    side = max(4, int(np.ceil(np.sqrt(equations.heard.size / _TIES))))
    parts = [
        _blocked(values, side)
        for values in (
            weighted.matrix,
            left,
            (state.now * equations.heard[..., None]),
            equations.heard[..., None],
        )
    ]
    matrix, vector, now, count = parts
    good = count[..., 0] > side * side / 4
    known = inverse(matrix)
    step = product(known, vector)
    rows, cols = (
        (places[0] + np.arange(n) * side * equations.grid.pitch + (side - 1) / 2 * equations.grid.pitch)
        for places, n in zip((equations.grid.rows, equations.grid.cols), good.shape, strict=True)
    )
    y, x = np.broadcast_arrays(rows[:, None], cols[None])
    local = now / np.maximum(count, 1) + step
    trusted = _blocked((trust * equations.heard)[..., None], side)[..., 0] / np.maximum(count[..., 0], 1)
    sigma2 = (known[..., 0] + known[..., 2]) * noise
    agrees = np.square(step).sum(axis=-1) < 9 * (sigma2 + 0.02**2)
    ties = TiePoints(
        y=y[good],
        x=x[good],
        shift_y=local[..., 0][good],
        shift_x=local[..., 1][good],
        weight=np.clip(trusted * _NU / (_NU + 2), 0, 1)[good],
        inlier=agrees[good],
        band=np.zeros(int(good.sum()), np.int64),
    )
    return ties, step[good]


def _blocked(values: NDArray[np.float64] | NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """Sums over squares of blocks, shape (down, across, k)."""
    down, across = (-(-n // side) for n in values.shape[:2])
    padded = np.zeros((down * side, across * side, values.shape[2]))
    padded[: values.shape[0], : values.shape[1]] = values
    sums: NDArray[np.float64] = padded.reshape(down, side, across, side, -1).sum(axis=(1, 3))
    return sums
