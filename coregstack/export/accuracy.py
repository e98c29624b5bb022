"""How accurately an item lies after what was done with it, on the ground, as STAC's accuracy extension tells it."""

from __future__ import annotations

import math

from odc.geo.geobox import GeoBox

from coregstack.geometry.globe import ground_size
from coregstack.model import NO_SHIFT, ItemQuality, Status


def accuracy(quality: ItemQuality, lattice: GeoBox) -> dict[str, float]:
    """Bias, standard deviation and radial rms error of an item's position, relative to the anchor or the datum.

    Parameters
    ----------
    quality : ItemQuality
        What is known and was done.
    lattice : GeoBox
        Lattice of the output, in whose pixels the shifts are told.

    Returns
    -------
    dict
        Fields of the accuracy extension, in metres on the ground, along the axes of the CRS. A bias is what is known to
        be left: 0 where the shift was applied. The standard deviation holds the sigma of the shift, what varies over
        the scene, and the sigma of a datum that is known from outside. Empty where the shift is not known, for the
        anchor that all is relative to, and where the lattice has no place on the globe.

    Examples
    --------
    >>> from affine import Affine
    >>> from coregstack.model import Shift
    >>> lattice = GeoBox((100, 100), Affine(3, 0, 500_000, 0, -3, 5_000_000), "EPSG:32633")
    >>> quality = ItemQuality(shift=Shift(1.0, -2.0), sigma=Shift(0.1, 0.1), before=None, after=None, improvement=None,
    ...                       status=Status.NO_IMPROVEMENT, details="")
    >>> {name: round(value, 1) for name, value in accuracy(quality, lattice).items()}["accuracy:geometric_x_bias"]
    6.0
    """
    pixel = ground_size(lattice)
    shift, sigma = quality.shift, quality.sigma
    if pixel is None or shift is None or sigma is None:
        return {}
    left = NO_SHIFT if quality.status is Status.COREGISTERED else shift
    known = math.hypot(*left, *sigma)
    varies = math.sqrt(max(0.0, (quality.residual or 0.0) ** 2 - known**2) / 2)
    datum = quality.datum_sigma or NO_SHIFT
    y, x = (math.hypot(*parts, varies) for parts in zip(sigma, datum, strict=True))
    # content that has to be shifted by so much lies as far to the other side
    biases = {
        "x": -left.x * math.copysign(pixel.x, lattice.affine.a),
        "y": -left.y * math.copysign(pixel.y, lattice.affine.e),
    }
    deviations = {"x": x * pixel.x, "y": y * pixel.y}
    return {
        **{f"accuracy:geometric_{axis}_bias": value + 0.0 for axis, value in biases.items()},
        **{f"accuracy:geometric_{axis}_stddev": value for axis, value in deviations.items()},
        "accuracy:geometric_rmse": math.hypot(*biases.values(), *deviations.values()),
    }
