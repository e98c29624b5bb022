"""Scenes of the procedural landscape as a satellite would deliver them, with their true shifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.kernels.compiling import compiled
from coregstack.model import Shift
from coregstack.testing.landscape import fractal, reflectance

NODATA = 0
"""Value of pixels outside the footprint."""

NO_SHIFT = Shift(0.0, 0.0)
"""Shift of a scene that lies where it says."""

_SCALE = 10_000
# How far down and left of its cloud a shadow falls, px.
_SHADOW_OFFSET = 26, 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How one scene was taken.

    Raises
    ------
    InvalidRequest
        If a share lies outside 0 to 1, or the footprint is turned by more than 30 degrees.
    """

    seed: int = 0
    """Which clouds, noise, gains and offsets; noise, gains and offsets differ with the shift too."""
    season: float = 0.4
    """Part of the year, 0 to 1."""
    cloud_cover: float = 0.0
    """Share of the pixels under cloud, 0 to 1."""
    gain_spread: float = 0.04
    """1 sigma of the bands' gains around 1."""
    offset_spread: float = 40.0
    """1 sigma of the bands' offsets around 0, digital numbers."""
    noise: float = 10.0
    """1 sigma of the sensor's noise, digital numbers, to which 0.5 % of the signal is added."""
    footprint: float | None = None
    """Turn of the footprint, -30 to 30 degrees, that leaves triangles of nodata; None fills the raster."""

    def __post_init__(self) -> None:
        for name in ("season", "cloud_cover"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InvalidRequest(f"{name} has to lie between 0 and 1, but {value!r} was given.")
        if self.footprint is not None and not abs(self.footprint) <= 30:
            raise InvalidRequest(
                f"footprint has to lie between -30 and 30 degrees, but {self.footprint!r} was given."
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleScene:
    """One scene and all that is true of it; masks have the shape (y, x)."""

    values: NDArray[np.uint16]
    """Reflectance times 10,000, shape (band, y, x); 0 is nodata."""
    valid: NDArray[np.bool_]
    """Inside the footprint."""
    cloud: NDArray[np.bool_]
    """Under cloud."""
    haze: NDArray[np.bool_]
    """Under the thin rim of a cloud."""
    shadow: NDArray[np.bool_]
    """In the shadow of a cloud."""
    true_shift: Shift
    """What must be applied to this scene to match one whose pixels lie at whole positions, px."""

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Valid and neither cloud, haze nor shadow, shape (y, x)."""
        return self.valid & ~(self.cloud | self.haze | self.shadow)


@compiled
def _fractal_map(height: int, width: int, period: float, octaves: int, salt: int) -> NDArray[np.float32]:
    out = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            out[y, x] = fractal(y / period, x / period, octaves, salt)
    return out


def _clouds(
    shape: tuple[int, int], cover: float, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Opacity and reflectance of the clouds of a scene, and the light they take from its ground."""
    if cover == 0:
        none = np.zeros(shape, np.float32)
        return none, none, none
    down, left = _SHADOW_OFFSET
    depth = _fractal_map(shape[0] + down, shape[1] + left, 170.0, 7, 500_000 + 1000 * seed)
    depth -= np.quantile(depth, 1 - cover) if cover < 1 else depth.min() - np.float32(0.05)
    opacity = np.clip(depth / 0.1 + 0.5, 0, 1)
    tops = np.clip(0.42 + 0.9 * depth, 0, 0.9)
    over = slice(down, None), slice(0, shape[1])
    return opacity[over], tops[over], 0.6 * opacity[:-down, left:]


def _footprint(shape: tuple[int, int], degrees: float | None) -> NDArray[np.bool_]:
    """True inside a rectangle that is turned about the raster's centre and touches its sides."""
    if degrees is None:
        return np.ones(shape, bool)
    height, width = shape
    y, x = np.ogrid[0:height, 0:width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = np.abs(y * cos - x * sin), np.abs(y * sin + x * cos)
    # Half sides of the rectangle of which this raster is the bounding box.
    bent = cos * cos - sin * sin
    half_y = (height * cos - width * abs(sin)) / bent / 2
    half_x = (width * cos - height * abs(sin)) / bent / 2
    return (along < half_y) & (across < half_x)


def scene_at(
    rows: NDArray[np.floating],
    cols: NDArray[np.floating],
    *,
    shift: Shift = NO_SHIFT,
    conditions: Conditions | None = None,
    seed: int = 0,
    bands: int = 4,
) -> SampleScene:
    """Take a scene whose pixels are placed at given positions of the landscape, off by a shift.

    Parameters
    ----------
    rows, cols : array of float, shapes that broadcast to (y, x)
        Where the scene's geotransform says that its pixels' centres are, in landscape pixels.
    shift : Shift
        Error of that geotransform: each pixel shows what lies at ``(row + shift.y, col + shift.x)``,
        so that `shift` is what must be applied to match a scene without error.
    conditions : Conditions, optional
        How the scene was taken; by default clear, in spring, over the whole raster.
    seed : int
        Which landscape.
    bands : {4, 8}
        How many bands.

    Returns
    -------
    SampleScene
        Values and masks on the raster of `rows` and `cols`.

    Examples
    --------
    >>> scene = scene_at(*np.ogrid[100:160, 200:280], shift=Shift(0.25, -1.5))
    >>> scene.values.shape, scene.true_shift.x
    ((4, 60, 80), -1.5)
    """
    how = conditions or Conditions()
    shape = np.broadcast_shapes(np.shape(rows), np.shape(cols))
    valid = _footprint(shape, how.footprint)
    opacity, tops, shade = _clouds(shape, how.cloud_cover, how.seed)
    ground = reflectance(
        rows + shift.y,
        cols + shift.x,
        seed=seed,
        season=how.season,
        bands=bands,
        where=valid & (opacity < 1),
    )
    # Two scenes under the same conditions must not share their noise, which would match at shift 0.
    place = (np.array(shift, np.float64) + 0.0).view(np.uint64).tolist()
    rng = np.random.default_rng([seed, how.seed, *place])
    gain = rng.normal(1, how.gain_spread, (bands, 1, 1)).astype(np.float32)
    offset = rng.normal(0, how.offset_spread, (bands, 1, 1)).astype(np.float32)
    white = np.linspace(1.05, 0.95, bands, dtype=np.float32)[:, None, None]
    signal = ground * (1 - shade) * (1 - opacity) + white * tops * opacity
    signal = _SCALE * signal * gain + offset
    noise = rng.standard_normal(signal.shape, np.float32)
    signal += noise * (how.noise + 0.005 * signal)
    values = np.clip(np.rint(signal), 1, 65535).astype(np.uint16)
    values[:, ~valid] = NODATA
    cloud, haze = opacity >= 0.5, (opacity >= 0.05) & (opacity < 0.5)
    shadow = (shade >= 0.06) & ~cloud & ~haze
    return SampleScene(
        values=values,
        valid=valid,
        cloud=cloud & valid,
        haze=haze & valid,
        shadow=shadow & valid,
        true_shift=shift,
    )


def shifted_scene(
    shape: tuple[int, int],
    shift: Shift | tuple[float, float],
    *,
    conditions: Conditions | None = None,
    seed: int = 0,
    bands: int = 4,
) -> SampleScene:
    """Take a scene of the landscape's corner that is off by a known shift.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    shift : Shift or (float, float)
        Rows and columns; ``item(y - shift_y, x - shift_x) = anchor(y, x)``, the anchor being the
        scene of shift (0, 0).
    conditions, seed, bands
        See `scene_at`.

    Returns
    -------
    SampleScene
        Values and masks of that shape.

    Examples
    --------
    >>> quiet = Conditions(noise=0, gain_spread=0, offset_spread=0)
    >>> anchor = shifted_scene((40, 40), (0, 0), conditions=quiet).values
    >>> item = shifted_scene((40, 40), (2, 3), conditions=quiet).values
    >>> int(np.abs(item[:, :-2, :-3].astype(int) - anchor[:, 2:, 3:]).max()) < 80
    True
    """
    rows, cols = np.ogrid[0 : shape[0], 0 : shape[1]]
    return scene_at(rows, cols, shift=Shift(*shift), conditions=conditions, seed=seed, bands=bands)
