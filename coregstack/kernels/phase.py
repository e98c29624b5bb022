"""Phase correlation of two windows, as scikit-image does it: the estimator that is called "phase"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from coregstack.model import Window, WindowShift

_FINE = 100
"""Parts of a pixel that the peak is placed to."""
_LEAST = 0.25
"""Part of a window that has to be usable in both."""
_ALIKE = 1e-6
"""Windows that vary by less than this part of their mean are flat."""
_BAND = (1.0, 4.0)
"""Standard deviations of the two smoothings whose difference is matched, px: what is finer than that is sampled too
coarsely and pulls towards whole pixels (0.03 px unsmoothed, 0.003 so)."""
_LEAST_KEPT = 0.4
"""Part of a rest that is left of it among gaps, at least."""
_TURNS = 3
"""Times that both windows are brought onto each other by whole pixels."""


def phase(anchor: Window, item: Window) -> WindowShift:
    """The shift of an item's window by scikit-image's `phase_cross_correlation`.

    Where a mask hides something, the whole pixels come from its masked form [1]_, which does not know parts of a
    pixel. These come from the common part of both windows, moved onto each other by the whole pixels, tapered and
    filled with its mean where it is masked [2]_.

    Parameters
    ----------
    anchor, item
        Windows of one shape.

    Returns
    -------
    WindowShift
        Without sigma: the scatter of windows tells it.

    References
    ----------
    .. [1] Padfield, D. (2012). Masked object registration in the Fourier domain. IEEE Trans. Image Process. 21.
    .. [2] Guizar-Sicairos, M., et al. (2008). Efficient subpixel image registration algorithms. Opt. Lett. 33.

    Examples
    --------
    >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1).astype(np.float32)
    >>> clear = np.ones((64, 64), bool)
    >>> phase(Window(scene[8:72, 8:72], clear), Window(scene[11:75, 6:70], clear)).shift
    (3.0, -2.0)
    """
    from skimage.registration import phase_cross_correlation

    both = anchor.usable & item.usable
    if np.count_nonzero(both) < _LEAST * both.size:
        return WindowShift(None, reason=f"less than {_LEAST:.0%} of the window is usable in both")
    if _flat(anchor) or _flat(item):
        return WindowShift(None, reason="the window is flat")
    anchor, item = (Window(_passed(*window), window.usable) for window in (anchor, item))
    if both.all():
        first, second = (_tapered(window.values, both) for window in (anchor, item))
        found, *_ = phase_cross_correlation(first, second, normalization=None)
    else:
        found, *_ = phase_cross_correlation(
            anchor.values, item.values, reference_mask=anchor.usable, moving_mask=item.usable
        )
    whole = np.rint(found).astype(np.int64)
    for _ in range(_TURNS):
        rest = _rest(anchor, item, whole)
        if rest is None:
            break
        step = np.rint(rest).astype(np.int64)
        if not step.any():
            rest = rest if both.all() else _freed(anchor, item, whole, rest)
            return WindowShift((float(whole[0] + rest[0]), float(whole[1] + rest[1])))
        whole = whole + step
    return WindowShift(None, reason="no place matches best, or what is usable in one is not in the other")


def _rest(anchor: Window, item: Window, whole: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """What is left of the shift where the windows are moved by whole pixels; None if too little is left to compare."""
    from skimage.registration import phase_cross_correlation

    near = _common(anchor, item, whole)
    if near is None:
        return None
    rest, *_ = phase_cross_correlation(*near, upsample_factor=_FINE, normalization=None)
    return np.asarray(rest, np.float64)


def _freed(
    anchor: Window, item: Window, whole: NDArray[np.int64], rest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The rest without the pull of the gaps, which both windows have in one place: it grows with the rest."""
    side = np.where(rest < 0, -1, 1)
    beyond = _rest(anchor, item, whole + side)
    if beyond is None:
        return rest
    kept = np.clip((rest - beyond) * side, _LEAST_KEPT, 1.0)
    return np.clip(rest / kept, -1.0, 1.0)


def _flat(window: Window) -> bool:
    values = window.values[window.usable]
    return float(values.std()) <= _ALIKE * float(np.abs(values).max())


def _common(
    anchor: Window, item: Window, whole: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The common part of both windows, moved onto each other by whole pixels and tapered; None if it is too small."""
    spans = []
    for size, step in zip(anchor.values.shape, whole.tolist(), strict=True):
        spans.append((slice(max(0, step), size + min(0, step)), slice(max(0, -step), size - max(0, step))))
    here, there = (tuple(span[k] for span in spans) for k in (0, 1))
    both = anchor.usable[here] & item.usable[there]
    if np.count_nonzero(both) < _LEAST * anchor.values.size:
        return None
    return _tapered(anchor.values[here], both), _tapered(item.values[there], both)


def _passed(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What lies between two scales, of usable pixels alone; 0 elsewhere."""
    share = usable.astype(np.float64)
    seen = np.where(usable, values - float(values[usable].mean()), 0.0)
    fine, coarse = (
        gaussian_filter(seen, width) / np.maximum(gaussian_filter(share, width), 1e-3) for width in _BAND
    )
    return np.where(usable, fine - coarse, 0.0).astype(np.float32)


def _tapered(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Deviations from the mean that fade out towards the edge; none where nothing is usable."""
    weight = np.outer(np.hanning(values.shape[0]), np.hanning(values.shape[1])) * usable
    mean = float((values * weight).sum() / max(float(weight.sum()), 1e-12))
    faded: NDArray[np.float64] = (values - mean) * weight
    return faded
