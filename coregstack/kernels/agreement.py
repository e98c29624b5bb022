"""What windows and bands say together: one shift, how sure it is, and who disagrees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.refine import Windows, decoys, flatness
from coregstack.kernels.settled import Settled, settled
from coregstack.kernels.spread import CHANGE, even_mean, own_steps, shared_square
from coregstack.kernels.symmetric import in_sigmas, product

_SCOUTS = 12
"""Windows that go ahead, and that are asked whether the match is better than elsewhere."""
_NEAR = 0.05
"""Once a step is shorter than this, all windows are fitted, px."""
_CONVERGED = 0.004
"""Each step leaves about a tenth of its length to do, so this stops within 0.0005 px."""
_METHOD = 0.0005
"""What the method itself gets wrong when all is well, px."""
_ALIKE = 0.2
"""Part of the variance between windows that all windows have in common: whole regions change alike."""
_BY_CHANCE = 2.0
"""A squared difference between full and half resolution is by noise alone often larger than its mean, by this."""
_SAMPLING = 0.003
"""What full and half resolution differ by because one is sampled more coarsely, px."""
_ODD = 0.3
"""Of three bands or more, one further than this from the median is left out, px."""
_TOLD = 0.1
"""A band further than this from the median is named, px."""
_HELD = 0.02
"""A pull towards what stays on the pixel grid that is larger than this is told, px."""
_MINOR = 0.1
"""Blocks of the rarer contrast that have less of the weight than this are chance."""
_OPPOSED = 3.0
"""Standard deviations by which blocks of either contrast must differ to count as different."""
_FILLED = 1.1
"""Sigma of a fit among gaps is larger by this than its windows say: what was filled in errs alike in all of them."""
_REMAINDER = 0.1
"""Part of what was taken off a fit among gaps that may be left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The shift that the windows of one band agree on; all lags beyond the whole pixels read at."""

    lag: NDArray[np.float64]
    """Rest of the lag (y, x), px."""
    covariance: NDArray[np.float64]
    """Of the lag, px^2, shape (2, 2), as far as the windows err apart from each other."""
    apart: NDArray[np.float64]
    """How far from the lag half resolution puts it (y, x), px."""
    chance: float
    """Squared length that this distance has by noise alone, px^2."""
    spread: float
    """Variance per axis between the windows' lags, beyond their own noise, px^2."""
    pull: NDArray[np.float64]
    """How far what stays on the pixel grid may pull the lag (y, x), px, not negative."""
    freed: NDArray[np.float64]
    """How far the lag was moved (y, x) because what stays on the pixel grid had pulled it, px."""
    opposed: float
    """Distance between what blocks of kept and of reversed contrast say, px; 0 where it may be chance."""
    minor: float
    """Part of the blocks' weight that those of the rarer contrast have, 0 to 0.5."""
    local: NDArray[np.float64]
    """The lag that each window would have alone, shape (n, 2)."""
    weight: NDArray[np.float64]
    """Trust in each window, 0 to 1, shape (n,)."""
    blocks: int
    """Blocks that say something, over all windows."""
    agreeing: float
    """Part of the windows' weight that supports the shift, 0 to 1."""
    lead: float
    """By how many standard deviations the match is better than a few pixels away."""
    shared: tuple[float, float]
    """Mean square of the displacement about the lag that blocks near each other share, px^2, and its standard error."""
    even: NDArray[np.float64]
    """Where blocks that count all nearly alike put the lag (y, x), from here, px; 0 where they share nothing."""
    reached: NDArray[np.float64]
    """The same by half resolution, from which steps reach further."""
    patterned: bool = False
    """Whether something was found that stays on the pixel grid."""

    @property
    def looks(self) -> float:
        """Variance per axis of what the windows err alike, px^2, as another look at the same ground reveals it.

        Where light, shadow or growth differ between the dates, all windows err alike and their
        agreement proves nothing. But what is fine and what is coarse in the scene is then seldom moved
        equally: the difference between full and half resolution, beyond what noise may well give, measures that.
        """
        return self._differing(_BY_CHANCE) + _ALIKE * self.spread

    @property
    def alike(self) -> float:
        """Variance per axis of what the windows err alike, and blocks of either contrast differently, px^2."""
        # without the blocks of the rarer contrast, the lag would move by their part of the distance
        return self.looks + (self.minor * self.opposed) ** 2 / 2

    @property
    def differing(self) -> float:
        """Variance per axis by which full and half resolution differ beyond noise and sampling, px^2."""
        return self._differing(1.0)

    def _differing(self, times: float) -> float:
        """The same beyond so many times the noise."""
        return max(0.0, (float(self.apart @ self.apart) - times * self.chance) / 2 - _SAMPLING**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What all bands say together."""

    lag: NDArray[np.float64]
    """Lag (y, x), px."""
    sigma: NDArray[np.float64]
    """1 sigma of the lag (y, x), px."""
    held: float
    """How far what stays on the pixel grid may pull the lag along an axis, px."""
    patterned: bool
    """Whether something was found that stays on the pixel grid."""
    remark: str
    """Names the bands that disagree, or is empty."""


def between(
    first: Fit, second: Fit, read_first: NDArray[np.float64], read_second: NDArray[np.float64]
) -> Fit:
    """What two fits say together that are held back towards the whole pixels that their windows were read at.

    What is filled into gaps of both images is much alike, and lies where the gaps do: it pulls each fit towards
    its own whole pixels by a part of the distance. Read at whole pixels on both sides of the lag, the two pulls
    are opposed, and weights by nearness leave none.

    Parameters
    ----------
    first, second
        The fits, their lags counted from one origin.
    read_first, read_second
        Lags (y, x) in whole pixels that the windows were read at.
    """
    span = read_second - read_first
    place = np.divide(first.lag - read_first, span, out=np.zeros(2), where=span != 0)
    # the first is pulled back by a part of `place`, the second by as much of what is left of the pixel
    pull = np.divide(second.lag - first.lag, span, out=np.zeros(2), where=span != 0)
    share = np.clip(place / (1 - np.clip(pull, 0, 0.5)), 0, 1)
    lag = first.lag + share * (second.lag - first.lag)
    moved = lag - first.lag
    scale = [np.sqrt(np.diag(one.covariance)) for one in (first, second)]
    wider = _FILLED * ((1 - share) * scale[0] + share * scale[1]) / np.maximum(scale[0], 1e-12)
    return replace(
        first,
        lag=lag,
        covariance=first.covariance * np.outer(wider, wider),
        apart=first.apart + share * (second.apart - first.apart),
        chance=max(first.chance, second.chance),
        spread=max(first.spread, second.spread) + _REMAINDER**2 / _ALIKE * float(moved @ moved) / 2,
        pull=np.maximum(first.pull, second.pull),
        local=first.local + moved,
        blocks=min(first.blocks, second.blocks),
        agreeing=min(first.agreeing, second.agreeing),
        lead=min(first.lead, second.lead),
        patterned=first.patterned or second.patterned,
    )


def join(fits: dict[int, Fit], kin: Mapping[int, int]) -> Joint:
    """One lag for all bands, nearer to those that know it better.

    Bands see the same ground, so their noise is taken as wholly dependent: a second band does not
    make the result surer, and bands that differ make it less sure.

    Parameters
    ----------
    fits
        Band to what its windows say.
    kin
        Band to the one that stands for all bands of its texture. They err alike, and so have one vote together.
    """
    if len(fits) == 1:
        (one,) = fits.values()
        sigma = np.sqrt(one.covariance.diagonal() + _METHOD**2 + one.alike + np.square(one.pull))
        return _joint(fits, one.lag, sigma, one.pull, one.freed)
    bands = list(fits)
    groups = [kin[b] for b in bands]
    lags = np.array([fits[b].lag for b in bands])
    noise = np.sqrt(np.array([fits[b].covariance.diagonal() for b in bands]) + _METHOD**2)
    looks = np.array([fits[b].alike for b in bands])
    away = np.hypot(*(lags - np.median(lags, axis=0)).T)
    odd = np.zeros(len(bands), np.bool_)
    # two bands of one texture do not outvote the only one of another
    if len(bands) > 2 and len(set(groups)) != 2:
        odd = away > np.maximum(_ODD, 3 * np.hypot(*noise.T) + 3 * np.sqrt(looks))
    common = looks[~odd].mean() + lags[~odd].var(axis=0).mean()
    voices = np.array([sum(g == own for g, o in zip(groups, odd, strict=True) if not o) for own in groups])
    weight = np.where(odd, 0.0, 1 / (np.square(noise).mean(axis=1) + common) / np.maximum(voices, 1))
    weight /= weight.sum()
    lag = weight @ lags
    # One band errs by what its looks or its distance from the other bands say, whichever is more. What
    # bands differ by averages out, what they have in common does not.
    count = np.count_nonzero(~odd)
    between = np.square(lags - lag).T @ weight * count / max(1, count - 1)
    alike = np.maximum(weight @ looks, between) - between * (count - 1) / count
    # A band left out shows that bands can be wrong by that much.
    alike += np.square(lags[odd] - lag).sum(axis=0) / len(bands) ** 2
    # All bands of a sensor may hold what stays on its pixels.
    held = weight @ np.array([fits[b].pull for b in bands])
    sigma = np.sqrt(np.square(weight @ noise) + alike + np.square(held))
    tell = away > np.maximum(_TOLD, 3 * np.hypot(*noise.T))
    remarks = [
        f"the shift of band {b + 1} differs by x {dx:+.2f}, y {dy:+.2f} px from the others"
        for b, (dy, dx), apart in zip(bands, lags - lag, tell, strict=True)
        if apart
    ]
    freed = weight @ np.array([fits[b].freed for b in bands])
    return _joint(fits, lag, sigma, held, freed, remarks)


def _joint(
    fits: Mapping[int, Fit],
    lag: NDArray[np.float64],
    sigma: NDArray[np.float64],
    held: NDArray[np.float64],
    freed: NDArray[np.float64],
    remarks: Sequence[str] = (),
) -> Joint:
    """What all bands say together, with what a pattern that stays may have done to it (y, x), px."""
    remarks = list(remarks)
    if np.abs(freed).max() > _HELD:
        remarks.append(
            f"a pattern that stays on the pixel grid was taken out, which had moved the shift by "
            f"x {-freed[1]:+.2f}, y {-freed[0]:+.2f} px"
        )
    if held.max() > _HELD:
        remarks.append(
            f"a pattern that stays on the pixel grid may pull the shift by x {held[1]:.2f}, y {held[0]:.2f} px"
        )
    return Joint(
        lag=lag,
        sigma=sigma,
        held=float(held.max()),
        patterned=any(one.patterned for one in fits.values()),
        remark="; ".join(remarks),
    )


def fit(windows: Windows, halved: Windows, start: NDArray[np.float64]) -> Fit:
    """Least squares over all windows, in which windows that disagree lose their weight.

    Windows differ by more than their own noise where relief, haze or change move parts of the
    scene. That spread is estimated (a random-effects model) and keeps a few very sharp windows from
    deciding alone.
    """
    noise = flatness(windows.anchor, windows.item)
    every = -(-len(windows.anchor) // _SCOUTS)
    scouts = windows.every(every)
    if every > 1:
        start = settled(scouts, start, noise, _NEAR).lag
    found = settled(windows, start, noise, _CONVERGED)
    lag = found.lag
    opposed, minor = _between_signs(windows, found, noise)
    lead = np.abs(found.weights[::every]) - decoys(scouts, lag, noise)
    apart, chance, coarser = _at_half(halved, lag, found.trust)
    about = own_steps(*_about(windows, found))
    shared = shared_square(*about, least=CHANGE)
    still = np.zeros(2)
    return Fit(
        lag=lag,
        covariance=found.covariance,
        apart=apart,
        chance=chance,
        spread=found.spread,
        pull=np.zeros(2),
        freed=np.zeros(2),
        opposed=opposed,
        minor=minor,
        local=found.alone,
        weight=found.trust,
        blocks=int(np.count_nonzero(found.weights)),
        agreeing=found.agreeing,
        lead=_significance(lead.ravel()),
        shared=shared,
        even=even_mean(*about) if shared[0] > 0 else still,
        reached=2 * even_mean(*own_steps(coarser[..., 1:4], coarser[..., 4:])) if shared[0] > 0 else still,
        patterned=windows.lined,
    )


def away(windows: Windows, lag: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far from a lag (y, x) some windows would go by themselves, px, and the covariance of that."""
    found = settled(windows, lag, flatness(windows.anchor, windows.item), _NEAR)
    return found.lag - lag, found.covariance


def _about(windows: Windows, found: Settled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations of all blocks about the lag, where the last step began and went."""
    shaped = found.sums.reshape(-1, *windows.grid, 6)
    matrix = shaped[..., 1:4]
    return matrix, shaped[..., 4:] - product(matrix, found.step)


def _significance(values: NDArray[np.float64]) -> float:
    """Mean of independent values over its own standard deviation."""
    values = values[values != 0]
    if len(values) < 2:
        return 0.0
    return float(values.mean() / max(float(values.std(ddof=1)) / np.sqrt(len(values)), 1e-12))


def _at_half(
    halved: Windows, lag: NDArray[np.float64], trust: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """How far from a lag half resolution puts it, px, the squared length that it has by noise alone, and the sums."""
    found = settled(halved, lag / 2, flatness(halved.anchor, halved.item))
    step, covariance = found.joined(trust * (found.share > 0))
    return 2 * step, 4 * float(covariance[0, 0] + covariance[1, 1]), found.sums


def _between_signs(windows: Windows, found: Settled, noise: NDArray[np.float64]) -> tuple[float, float]:
    """How far apart blocks of kept and of reversed contrast put the lag, px, and the rarer kind's weight.

    A texture that repeats itself roughly, as tree crowns and their shadows do, matches its own reversal half a
    period off. Where both kinds of blocks count, they have to mean one shift.
    """
    weights = found.weights * (found.trust > 0)[:, None]
    kept = weights[weights > 0].sum() / max(np.abs(weights).sum(), 1e-300)
    minor = float(min(kept, 1 - kept))
    if minor < _MINOR:
        return 0.0, minor
    same, turned = (settled(windows, found.lag, noise, _NEAR, sign) for sign in (1, -1))
    apart = same.lag - turned.lag
    chance = same.covariance + turned.covariance
    sure = in_sigmas(apart, chance) > _OPPOSED**2
    return math.hypot(*apart) if sure else 0.0, minor
