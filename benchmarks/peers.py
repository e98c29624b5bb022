"""Other packages' estimators behind one signature: the shift of an item against an anchor, or None.

Each takes what it can of the masks. A peer that is not installed is left out. AROSICS needs GDAL's own
Python bindings, which have no wheels: with Python 3.12, `gdal-wheel` stands in for them::

    pip install -e . scikit-image opencv-python-headless cartopy cmocean dill folium geojson geopandas \\
        plotly pyogrio pyshp spectral scikit-learn pykrige gdal-wheel
    pip install --no-deps arosics geoarray py-tools-ds

In a conda environment ``conda install -c conda-forge arosics scikit-image opencv`` does the same.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
from cases import Pair

Estimator = Callable[[Pair], tuple[tuple[float, float] | None, tuple[float, float] | None, str]]
"""Returns shift (y, x), sigma (y, x) and a reason where there is no shift."""


def coregstack(pair: Pair) -> tuple[tuple[float, float] | None, tuple[float, float] | None, str]:
    """This package."""
    from coregstack.kernels.shift import estimate_shift, prepare_anchor
    from coregstack.kernels.sources import ArraySource

    anchor = prepare_anchor(ArraySource(values=pair.anchor[None], usable=pair.anchor_usable))
    item = ArraySource(values=pair.item[None], usable=pair.item_usable)
    found = estimate_shift(anchor, item, max_shift=pair.max_shift)
    return found.shift, found.sigma, found.reason


def coregstack_phase(pair: Pair) -> tuple[tuple[float, float] | None, tuple[float, float] | None, str]:
    """This package with ``estimator="phase"``."""
    from coregstack.kernels.phase import phase
    from coregstack.kernels.shift import prepare_anchor
    from coregstack.kernels.sources import ArraySource
    from coregstack.kernels.windowed import estimate_by_windows

    anchor = prepare_anchor(ArraySource(values=pair.anchor[None], usable=pair.anchor_usable))
    item = ArraySource(values=pair.item[None], usable=pair.item_usable)
    found = estimate_by_windows(anchor, item, phase, name="phase", max_shift=pair.max_shift)
    return found.shift, found.sigma, found.reason


def _filled(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Both images with what is not usable set to their mean."""
    first, second = (
        np.where(mask, image, image[mask].mean() if mask.any() else 0).astype(np.float32)
        for image, mask in ((pair.anchor, pair.anchor_usable), (pair.item, pair.item_usable))
    )
    return first, second


def _hann(image: np.ndarray) -> np.ndarray:
    taper = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    return ((image - image.mean()) * taper).astype(np.float32)


def skimage_phase(pair: Pair):
    """`phase_cross_correlation`, phase-normalised, to a hundredth of a pixel."""
    from skimage.registration import phase_cross_correlation

    shift, *_ = phase_cross_correlation(*_filled(pair), upsample_factor=100)
    return (float(shift[0]), float(shift[1])), None, ""


def skimage_plain(pair: Pair):
    """The same without normalisation, tapered."""
    from skimage.registration import phase_cross_correlation

    images = [_hann(image) for image in _filled(pair)]
    shift, *_ = phase_cross_correlation(*images, upsample_factor=100, normalization=None)
    return (float(shift[0]), float(shift[1])), None, ""


def opencv_phase(pair: Pair):
    """`cv2.phaseCorrelate` with a Hann window."""
    import cv2

    first, second = _filled(pair)
    taper = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(second, first, taper)
    return (y, x), None, ""


def opencv_ecc(pair: Pair):
    """`cv2.findTransformECC`, translation, with the mask."""
    import cv2

    first, second = _filled(pair)
    warp = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-5)
    mask = (pair.item_usable * 255).astype(np.uint8)
    try:
        _, warp = cv2.findTransformECC(first, second, warp, cv2.MOTION_TRANSLATION, criteria, mask, 5)
    except cv2.error as error:
        return None, None, str(error).strip().splitlines()[-1][:60]
    return (-float(warp[1, 2]), -float(warp[0, 2])), None, ""


def _arosics(pair: Pair, local: bool):
    from arosics import COREG, COREG_LOCAL
    from geoarray import GeoArray
    from pyproj import CRS

    frame = ((600000.0, 1.0, 0.0, 5000000.0, 0.0, -1.0), CRS.from_epsg(32633).to_wkt("WKT1_GDAL"))
    first, second = (GeoArray(image, *frame) for image in (pair.anchor, pair.item))
    masks = {
        "mask_baddata_ref": GeoArray(~pair.anchor_usable, *frame),
        "mask_baddata_tgt": GeoArray(~pair.item_usable, *frame),
    }
    quiet = {"q": True, "max_shift": 100, "CPUs": 1, "fmt_out": "GTIFF"}
    side = max(64, min(256, min(pair.anchor.shape) * 2 // 3))
    try:
        # without this check of its default output format, which is never written, local matching needs ENVI
        with warnings.catch_warnings(), patch("arosics.CoReg.gdal.GetDriverByName", return_value=True):
            warnings.simplefilter("ignore")
            if local:
                work = COREG_LOCAL(
                    first,
                    second,
                    grid_res=max(8, side // 4),
                    window_size=(max(64, side // 2),) * 2,
                    progress=False,
                    **quiet,
                    **masks,
                )
                ties = work.CoRegPoints_table.query("OUTLIER == False and ABS_SHIFT >= 0")
                if ties.empty:
                    return None, None, "no tie points"
                return (float(ties.Y_SHIFT_PX.median()), float(ties.X_SHIFT_PX.median())), None, ""
            work = COREG(first, second, ws=(side, side), **quiet, **masks)
            work.calculate_spatial_shifts()
            return (float(work.y_shift_px), float(work.x_shift_px)), None, ""
    except Exception as error:
        return None, None, str(error)[:60]


ESTIMATORS: dict[str, tuple[str, Estimator]] = {
    "coregstack": ("coregstack", coregstack),
    "coregstack, phase": ("coregstack", coregstack_phase),
    "skimage phase": ("skimage", skimage_phase),
    "skimage plain, Hann": ("skimage", skimage_plain),
    "OpenCV phase, Hann": ("cv2", opencv_phase),
    "OpenCV ECC": ("cv2", opencv_ecc),
    "AROSICS global": ("arosics", lambda pair: _arosics(pair, local=False)),
    "AROSICS local": ("arosics", lambda pair: _arosics(pair, local=True)),
}
"""Name in the table: (module it needs, function)."""


def available(names: list[str] | None = None) -> dict[str, Estimator]:
    """The estimators asked for, of those that can be imported here."""
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
    return {
        name: call
        for name, (module, call) in ESTIMATORS.items()
        if (names is None or name in names) and importlib.util.find_spec(module)
    }
