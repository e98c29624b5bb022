"""A date of a stack whose dates are displaced in the same patterns: what it tells of them, and how it follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.certainty import METHOD
from coregstack.kernels.equations import Grid, gather
from coregstack.kernels.field import CONVERGED, LEAST_BLOCKS, Search, matched_bands
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.patterns import LINEAR, PITCH, Numbers, Patterns, Told, fitted, normal_of
from coregstack.kernels.posterior import Basis, Solution
from coregstack.kernels.prior import Prior
from coregstack.kernels.selection import Weighed
from coregstack.kernels.state import State, trust_of
from coregstack.kernels.told import result_of
from coregstack.model import FIELD, TERRAIN, DisplacementEstimate, PixelSource, Shift, ShiftEstimate

_ROUGHLY = (16,)
"""Side of the blocks of each step to a field of a date's own, px: all dates together tell it better than more steps."""
_NEAR, _FAR = (8, 8, 8), (16, 8, 8, 8)
"""The same to the numbers of a date: from ones that are known nearly, and from a shift."""


def tell(
    anchor: PreparedAnchor,
    item: PixelSource,
    found: ShiftEstimate,
    *,
    here: NDArray[np.float64] | None = None,
    stable: NDArray[np.bool_] | None = None,
) -> Told | None:
    """What a date tells of the patterns of its stack.

    Parameters
    ----------
    anchor
        What `prepare_anchor` returned.
    item
        Match bands of the date, in the anchor's order.
    found
        What `estimate_shift` returned for them.
    here
        Displacement (y, x) of the blocks that is near to the true one, px, shape (down, across, 2); by default that of
        a field of the date's own.
    stable
        True on ground that may drive the displacement, shape of the anchor's frame; None for all.

    Returns
    -------
    Told or None
        None where the shift is not known, or too little is seen.
    """
    if found.shift is None:
        return None
    grid = Grid.of(anchor.source.shape, PITCH)
    if here is None:
        search = Search(
            anchor=anchor,
            item=item,
            found=found,
            model=FIELD,
            stable=stable,
            pitches=_ROUGHLY,
            prior=_usual_prior(anchor.source.shape),
        )
        state = search.run()
        if state is None:
            return None
        here = state.solution.at(state.weighed.basis.lattice, grid.rows, grid.cols)
    bands = matched_bands(anchor, item, found)
    equations = gather(anchor.source, item, bands, grid, here, stable).without_noise()
    if np.count_nonzero(equations.heard) < LEAST_BLOCKS:
        return None
    _, noise = trust_of(equations, here)
    return Told(
        grid=equations.grid,
        matrix=(equations.matrix / noise).astype(np.float32),
        target=(equations.target / noise).astype(np.float32),
        own=here.astype(np.float32),
        usable=equations.usable.astype(np.float32),
    )


def _usual_prior(frame: tuple[int, int]) -> Prior:
    """How rough fields of height errors are, more or less: one that only starts the patterns needs no search for it."""
    return Prior(power=10.0, length=2 * Lattice.of(frame).step, slope=3.0)


def follow(
    anchor: PreparedAnchor,
    item: PixelSource,
    found: ShiftEstimate,
    patterns: Patterns,
    *,
    start: NDArray[np.float64] | None = None,
    told: Told | None = None,
    stable: NDArray[np.bool_] | None = None,
) -> DisplacementEstimate | None:
    """The displacement of a date by patterns that are known.

    Parameters
    ----------
    anchor, item, found, stable
        As in `tell`; the shift has to be known.
    patterns
        Patterns of the stack.
    start
        Numbers that are near to those of the date, shape (2, 3 + patterns); by default its shift.
    told
        What the date tells about a displacement that is near to that of `start`, so that it need not be asked again.

    Returns
    -------
    DisplacementEstimate or None
        On the lattice of the patterns; None where too little is seen.
    """
    source = anchor.source
    values = np.zeros((2, LINEAR + patterns.count)) if start is None else start
    if start is None and found.shift is not None:
        values[:, 0] = found.shift
    bands = matched_bands(anchor, item, found)
    for pitch in (PITCH,) if told is not None else _FAR if start is None else _NEAR:
        grid = Grid.of(source.shape, pitch)
        functions = patterns.functions(grid.rows, grid.cols, pitch)
        here = functions @ values.T
        if told is not None:
            equations = told.equations()
        else:
            equations = gather(source, item, bands, grid, here, stable).without_noise()
        if np.count_nonzero(equations.heard) < LEAST_BLOCKS:
            return None
        trust, noise = trust_of(equations, here)
        weighted = equations.weighted(trust)
        normal = normal_of(functions, weighted.matrix / noise, weighted.target / noise)
        numbers = fitted(normal, patterns.precision)
        values, now = numbers.values, functions @ numbers.values.T
        if pitch == PITCH and np.sqrt(np.square(now - here)[equations.heard].mean()) < CONVERGED:
            break
    state = State(
        model=TERRAIN,
        prior=None,
        solution=Solution(
            linear=values[:, :LINEAR] + values[:, LINEAR:] @ patterns.linear,
            nodes=np.tensordot(values[:, LINEAR:], patterns.nodes, 1),
        ),
        weighed=Weighed(equations=weighted, basis=Basis(patterns.lattice, grid.rows, grid.cols, grid.pitch)),
        plain=equations,
        now=now,
        noise=trust_of(equations, now)[1],
    )
    estimate = result_of(state, found, _uncertainty(patterns, numbers, functions, state))
    views = values[:, LINEAR:].T
    sizes = ", ".join(f"({y:+.2f}, {x:+.2f})" for y, x in views)
    some = "one pattern" if patterns.count == 1 else f"{patterns.count} patterns"
    words = f"it follows {some} that the dates have in common, by {sizes} px"
    details = "; ".join(filter(None, (words, estimate.details)))
    view = Shift(*(float(part) for part in views[0]))
    return replace(estimate, details=details, view=view, pattern_dates=patterns.dates)


def _uncertainty(
    patterns: Patterns, numbers: Numbers, functions: NDArray[np.float64], state: State
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance along an axis at each node, and the sigma of the mean (y, x)."""
    count = functions.shape[-1]
    parts = numbers.covariance[:count, :count], numbers.covariance[count:, count:]
    at = patterns.functions(*patterns.lattice.nodes)
    own = np.mean([np.einsum("ijk,kl,ijl->ij", at, part, at) for part in parts], axis=0)
    views = np.square(numbers.values[:, LINEAR:]).mean(axis=0)
    usable = state.plain.usable * state.plain.heard
    mean = np.einsum("ij,ijk->k", usable, functions) / usable.sum()
    of_mean = np.array([mean @ part @ mean for part in parts])
    variance: NDArray[np.float64] = own + np.tensordot(views, patterns.variance, 1) + METHOD**2
    return variance, np.sqrt(of_mean + METHOD**2)
