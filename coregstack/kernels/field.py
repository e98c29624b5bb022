"""The displacement of an item against the anchor: as one, by a linear map, or by a field that follows its parts.

One frame for all: robust least squares on blocks with a gain of either sign, in which a constant, linear functions or
splines on the control lattice are the basis. A few Gauss-Newton steps, the first in half resolution for what lies
further off; before each, `selection` says which model the blocks carry. Blocks whose own step is not that of the
model lose their say (Student's t), so that clouds and what moves by itself do not bend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.equations import Equations, Grid, gather
from coregstack.kernels.finer import GATHERED, blurred, finest
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.linear_start import linear_start
from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.posterior import Basis, Solution
from coregstack.kernels.prior import Prior
from coregstack.kernels.selection import Evidence, Weighed, freedom_of, left_out, simplest
from coregstack.kernels.state import State, trust_of
from coregstack.kernels.told import as_one_shift, result_of
from coregstack.model import AFFINE, FIELD, SHIFT, DisplacementEstimate, PixelSource, ShiftEstimate

MODELS = (SHIFT, AFFINE, FIELD, "auto")
"""Models of displacement that can be asked for of one pair of scenes."""
_PITCHES = (16, 8, 8, 8, 8)
"""Side of the blocks of each step, px."""
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
_WORTH = 2.0
"""What a model has to bend a scene by, in terms of what it leaves, to be taken in place of one shift."""
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
        return _unfollowed(as_one_shift(found), model, stable)
    result = result_of(search.sharpened(state), found)
    if model == "auto" and found.shift is not None and not _worth_it(result):
        return as_one_shift(found)
    return result


def _unfollowed(
    found: DisplacementEstimate, model: str, stable: NDArray[np.bool_] | None
) -> DisplacementEstimate:
    """One shift, which says so where more was asked for and too few blocks tell any."""
    if model == "auto" or found.shift is None:
        return found
    where = "" if stable is None else " of stable ground"
    words = (
        f"one shift, not model={model!r}: fewer than {LEAST_BLOCKS} pieces{where} tell how they are displaced"
    )
    return replace(found, details="; ".join(filter(None, (words, found.details))))


def _worth_it(found: DisplacementEstimate) -> bool:
    """Whether what a model bends a scene by is well more than what it leaves."""
    return found.spread is None or found.residual is None or found.spread > _WORTH * found.residual


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
    prior: Prior | None = None
    """Of a field; by default that of most evidence."""

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
        model, chosen = self._choose(blurred(weighed, prior), prior, stands)
        return _state(weighed, equations, model, chosen)

    def sharpened(self, state: State) -> State:
        """The field with its edges where its finest detail is gathered in few places and blocks left out show edges."""
        if state.model != FIELD or state.prior is None or finest(state)[1] < GATHERED:
            return state
        told = replace(blurred(state.weighed, state.prior), noise=state.noise)
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
        best = self.prior or Evidence(weighed).best_prior(prior, stands=stands)
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


def _state(weighed: Weighed, equations: Equations, model: str, prior: Prior | None) -> State:
    """The displacement of a model."""
    solution = blurred(weighed, prior).solve(model, prior)
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
