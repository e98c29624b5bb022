"""Orthophotos of real aerial frames whose relief displacement is known by computation.

A frame put onto the map by a wrong height model shows every feature displaced by the error of the height times the
tangent of the view angle. The camera is known, so for each map pixel it says which image point belongs there, and where
the wrong map shows that point: nothing is measured. The anchor is another frame with the right heights.

Ground that lies behind other ground, seen from one of the cameras, is not in its image: a map shows there what hides
it, and no displacement brings it where it belongs. Such places have no truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import rasterio
from cases import DATA
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

FOLDER = DATA / "ngi_frames"
NAMES = ("3324c_2015_1004_05_0182_RGB", "3324c_2015_1004_05_0184_RGB")
GSD = 6.0
"""Pixel size of the orthophotos, m."""
_FOCAL, _SENSOR = 120.0, (92.160, 165.888)
"""mm; width then height."""
_SIZE = (640, 1152)
_ALONG = 12.0
"""Steps along the way from the ground to a camera, m: half a pixel of the height model."""
_FOUND = 0.01
"""What the search of a place in an image may leave, px."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A pinhole image, where it was taken from (m) and how the camera was turned."""

    image: NDArray[np.float32]
    place: Floats
    turn: Floats

    @classmethod
    def read(cls, name: str) -> Frame:
        """A frame of the data."""
        lines = (FOLDER / "camera_pos_ori.txt").read_text().splitlines()
        numbers = next(np.array(line.split()[1:], float) for line in lines if line.startswith(name))
        omega, phi, kappa = np.radians(numbers[3:])
        (so, sp, sk), (co, cp, ck) = np.sin([omega, phi, kappa]), np.cos([omega, phi, kappa])
        x = np.array([[1, 0, 0], [0, co, -so], [0, so, co]])
        y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        z = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
        with rasterio.open(FOLDER / f"{name}.tif") as source:
            return cls(source.read().astype(np.float32), numbers[:3], x @ y @ z)

    def pixel(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Row and column at which a point of the world is seen."""
        away = np.stack([x - self.place[0], y - self.place[1], z - self.place[2]])
        u, v, depth = np.einsum("ji,j...->i...", self.turn, away)
        row = (_SIZE[1] - 1) / 2 + _FOCAL * v / depth / _SENSOR[1] * _SIZE[1]
        return row, (_SIZE[0] - 1) / 2 - _FOCAL * u / depth / _SENSOR[0] * _SIZE[0]

    def inside(self, x: Floats, y: Floats, ground: Ground) -> NDArray[np.bool_]:
        """Whether points of the ground are seen."""
        row, col = self.pixel(x, y, ground.at(x, y))
        return (row > 2) & (row < _SIZE[1] - 3) & (col > 2) & (col < _SIZE[0] - 3)

    def sees(self, x: Floats, y: Floats, ground: Ground) -> NDArray[np.bool_]:
        """Whether no other ground lies before points of the ground."""
        z = ground.at(x, y)
        away = [place - at for place, at in zip(self.place, (x, y, z), strict=True)]
        along = np.hypot(away[0], away[1])
        # from there on the way is above all ground
        end = float(((ground.height.max() - z) * along / away[2]).max())
        free = np.ones(z.shape, bool)
        for metres in np.arange(_ALONG, end + _ALONG, _ALONG):
            part = metres / np.maximum(along, metres)
            free &= z + part * away[2] >= ground.at(x + part * away[0], y + part * away[1])
        return free


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Heights on a grid, m."""

    height: Floats
    transform: rasterio.Affine

    @classmethod
    def read(cls) -> Ground:
        """The height model of the data."""
        with rasterio.open(FOLDER / "dem.tif") as source:
            height = source.read(1).astype(float)
            return cls(np.where(np.isfinite(height), height, np.nanmean(height)), source.transform)

    def at(self, x: Floats, y: Floats) -> Floats:
        """Heights of places."""
        t = self.transform
        return map_coordinates(
            self.height, [(y - t.f) / t.e - 0.5, (x - t.c) / t.a - 0.5], order=3, mode="nearest"
        )

    def off_by(self, rms: float, rng: np.random.Generator) -> Ground:
        """With a smooth error of some metres."""
        error = gaussian_filter(rng.normal(size=self.height.shape), 8)
        return replace(self, height=self.height + error * rms / error.std())

    def without(self, part: float) -> Ground:
        """With a part of its relief missing."""
        mean = self.height.mean()
        return replace(self, height=mean + (1 - part) * (self.height - mean))


def pairs(
    kind: str,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], Floats, NDArray[np.bool_]]]:
    """Pairs of both orders.

    Anchor and item (band, y, x; NaN where nothing is), displacement of the item (2, y, x), and where there is one.
    """
    ground = Ground.read()
    frames = [Frame.read(name) for name in NAMES]
    x, y = overlap(frames, ground)
    seen = np.all([frame.sees(x, y, ground) for frame in frames], axis=0)
    for k, frame in enumerate(frames):
        rng = np.random.default_rng(k)
        wrong = {"right heights": ground, "8 m": ground.off_by(8, rng), "10 %": ground.without(0.1)}[kind]
        truth, known = displacement(frame, wrong, ground, x, y)
        yield ortho(frames[1 - k], ground, x, y), ortho(frame, wrong, x, y), truth, seen & known


def overlap(frames: list[Frame], ground: Ground) -> tuple[Floats, Floats]:
    """Map coordinates of the pixels of the box that both frames see."""
    t, (rows, cols) = ground.transform, ground.height.shape
    x, y = np.meshgrid(np.arange(t.c, t.c + cols * t.a, 60.0), np.arange(t.f, t.f + rows * t.e, -60.0))
    boxes = []
    for frame in frames:
        seen = frame.inside(x, y, ground)
        boxes.append((x[seen].min(), x[seen].max(), y[seen].min(), y[seen].max()))
    left, right, bottom, top = (
        f(edge) for f, edge in zip((max, min, max, min), zip(*boxes, strict=True), strict=True)
    )
    return np.meshgrid(np.arange(left + 60, right - 60, GSD), np.arange(top - 60, bottom + 60, -GSD))


def ortho(frame: Frame, ground: Ground, x: Floats, y: Floats) -> NDArray[np.float32]:
    places = frame.pixel(x, y, ground.at(x, y))
    bands = [map_coordinates(band, places, order=3, mode="nearest") for band in frame.image]
    return np.where(frame.inside(x, y, ground), np.stack(bands), np.nan).astype(np.float32)


def displacement(
    frame: Frame, wrong: Ground, ground: Ground, x: Floats, y: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """``item(p - d(p)) = anchor(p)``, px: where the wrong map shows the image point that belongs at p, if it does."""
    row, col = frame.pixel(x, y, ground.at(x, y))
    u, v = x.copy(), y.copy()
    for _ in range(30):
        here, down, along = (
            np.stack(frame.pixel(u + a, v + b, wrong.at(u + a, v + b))) for a, b in ((0, 0), (0, 1), (1, 0))
        )
        slope = np.stack([along - here, down - here], axis=-1)
        rest = np.stack([row, col]) - here
        det = slope[0, ..., 0] * slope[1, ..., 1] - slope[0, ..., 1] * slope[1, ..., 0]
        u += np.clip((slope[1, ..., 1] * rest[0] - slope[0, ..., 1] * rest[1]) / det, -30, 30)
        v += np.clip((slope[0, ..., 0] * rest[1] - slope[1, ..., 0] * rest[0]) / det, -30, 30)
    shown = frame.pixel(u, v, wrong.at(u, v))
    found = np.hypot(row - shown[0], col - shown[1]) < _FOUND
    return np.stack([(y - v) / -GSD, (x - u) / GSD]), found & frame.sees(u, v, wrong)
