"""Cases with known truth for the accuracy benchmark.

Truth is never made by interpolation: both scenes of a pair are block means of one finer real
scene, cut at whole fine pixels, or windows of two real dates, cut at whole pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("COREGSTACK_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two scenes on one lattice and what is known about the shift between them."""

    family: str
    """Name of the row of the table that this pair counts in."""
    anchor: Image
    item: Image
    anchor_usable: Mask
    item_usable: Mask
    truth: tuple[float, float] | None
    """Shift (y, x) in px; None where no shift can be known and the right answer is to refuse."""
    group: str = ""
    """Pairs of one group share an unknown constant shift: only differences of errors count."""
    max_shift: float | None = None


# ------------------------------------------------------------------ real scenes


@lru_cache(maxsize=32)
def read(path: str, band: int = 1) -> Image:
    """One band of a real scene."""
    with rasterio.open(DATA / path) as dataset:
        return dataset.read(band).astype(np.float32)


NAIP = "naip_nd_5m/naip_{}.tif"
NAIP_DATES = ("20120731", "20140720", "20150926", "20160816", "20170827", "20180716", "20190904", "20200831")
S2 = "s2_l1c_33UUU_20170216_jp2/T33UUU_20170216T102101_{}.jp2"
L8 = "l8_greenland_30m/LC80030172015001LGN00_{}.tif"

FINE: tuple[tuple[str, int], ...] = (
    (NAIP.format("20160816"), 1),
    (NAIP.format("20180716"), 4),
    (S2.format("B04"), 1),
    (S2.format("B08"), 1),
    (L8.format("B4"), 1),
    ("landsat_pucallpa_geographic/landsat_2015.tif", 4),
)
"""Scenes (file, band) that serve as the finer truth."""


SMALLEST = 64
"""Rows and columns of the smallest scenes that are matched where the scenes that there are limit them, px."""


def block_mean(fine: Image, factor: int) -> Image:
    """Means over ``factor x factor`` blocks."""
    height, width = fine.shape[0] // factor, fine.shape[1] // factor
    blocks = fine[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)


def cut_pair(
    fine: Image,
    factor: int,
    offset: tuple[int, int],
    *,
    fine_item: Image | None = None,
    size: int | None = None,
    at: tuple[float, float] = (0.5, 0.5),
) -> tuple[Image, Image, tuple[float, float]]:
    """Anchor, item and shift: block means of one scene, the item cut `offset` fine pixels further.

    `fine_item` is the same ground as the item saw it, where that differs; `size` limits the rows and
    columns, and `at` says where in the scene the cut lies, 0 to 1.
    """
    fine_item = fine if fine_item is None else fine_item
    dy, dx = offset
    room = fine.shape[0] - abs(dy), fine.shape[1] - abs(dx)
    span = [min(n // factor, size or n) * factor for n in room]
    top = max(-dy, 0) + int(at[0] * (room[0] - span[0]))
    left = max(-dx, 0) + int(at[1] * (room[1] - span[1]))
    anchor = block_mean(fine[top : top + span[0], left : left + span[1]], factor)
    item = block_mean(fine_item[top + dy : top + dy + span[0], left + dx : left + dx + span[1]], factor)
    return anchor, item, (dy / factor, dx / factor)


# ------------------------------------------------------------------ what befalls an item


def fractal(shape: tuple[int, int], rng: np.random.Generator, slope: float) -> Image:
    """Random field of power spectrum ``frequency**-slope``, mean 0 and standard deviation 1."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    radius = np.maximum(np.hypot(fy, fx), 1 / max(shape))
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * radius ** (-slope / 2)
    field = np.fft.irfft2(spectrum, shape)
    return ((field - field.mean()) / field.std()).astype(np.float32)


def cloud(item: Image, share: float, rng: np.random.Generator) -> tuple[Image, Mask]:
    """The item under clouds over `share` of its pixels, soft at the edge, and the clear-mask."""
    form = fractal(item.shape, rng, 3.2)
    edge = np.quantile(form, 1 - share)
    opacity = np.clip((form - edge) / 0.25, 0, 1)
    top = np.quantile(item, 0.99) + item.std() * (1.5 + 0.6 * fractal(item.shape, rng, 2.6))
    return (item * (1 - opacity) + opacity * top).astype(np.float32), opacity <= 0


def noisy(image: Image, share: float, rng: np.random.Generator) -> Image:
    """White noise of `share` of the scene's standard deviation added."""
    return (image + rng.standard_normal(image.shape) * share * image.std()).astype(np.float32)


def wedge(shape: tuple[int, int]) -> Mask:
    """The valid area of a frame that lies askew on its lattice: two corners are nodata."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
    return (y + 0.4 * x > 0.25) & (y + 0.4 * x < y.max() + 0.4 * x.max() - 0.25)


Effect = Callable[[Pair, np.random.Generator], Pair]


def _noise(share: float) -> Effect:
    return lambda p, rng: replace(p, anchor=noisy(p.anchor, share, rng), item=noisy(p.item, share, rng))


def _cloud(share: float, *, masked: bool) -> Effect:
    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        item, clear = cloud(pair.item, share, rng)
        return replace(pair, item=item, item_usable=clear if masked else pair.item_usable)

    return effect


def _haze(pair: Pair, rng: np.random.Generator) -> Pair:
    veil = 0.55 + 0.15 * fractal(pair.item.shape, rng, 4)
    bright = np.quantile(pair.item, 0.98)
    return replace(pair, item=(pair.item * (1 - veil) + bright * veil).astype(np.float32))


def _season(pair: Pair, rng: np.random.Generator) -> Pair:
    return replace(pair, item=noisy(seasonal(pair.item, rng), 0.05, rng))


def seasonal(item: Image, rng: np.random.Generator) -> Image:
    """Each field gets a gain of its own, of either sign, by a mosaic of random cells."""
    shape = item.shape
    seeds = rng.random((60, 2)) * shape
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    cell = np.argmin([(y - sy) ** 2 + (x - sx) ** 2 for sy, sx in seeds], axis=0)
    gain = rng.uniform(-1, 1.5, len(seeds))[cell]
    level = rng.standard_normal(len(seeds))[cell] * item.std()
    mean = item.mean()
    return (gain * (item - mean) + mean + level).astype(np.float32)


def _triangles(pair: Pair, _: np.random.Generator) -> Pair:
    valid_a, valid_b = wedge(pair.anchor.shape), wedge(pair.item.shape)[:, ::-1]
    return replace(
        pair,
        anchor=np.where(valid_a, pair.anchor, 0).astype(np.float32),
        item=np.where(valid_b, pair.item, 0).astype(np.float32),
        anchor_usable=valid_a,
        item_usable=valid_b,
    )


def _stripes(pair: Pair, _: np.random.Generator) -> Pair:
    """Scan-line gaps as of Landsat 7, in the item: nodata stripes, askew, a fifth of the pixels."""
    y, x = np.mgrid[0 : pair.item.shape[0], 0 : pair.item.shape[1]]
    valid = (y + 0.14 * x) % 15 >= 3
    return replace(pair, item=np.where(valid, pair.item, 0).astype(np.float32), item_usable=valid)


EFFECTS: dict[str, Effect] = {
    "clean": lambda p, _: p,
    "gain and offset": lambda p, _: replace(p, item=(p.item * 1.7 + 300).astype(np.float32)),
    "contrast reversed": lambda p, _: replace(p, item=(4000 - 0.8 * p.item).astype(np.float32)),
    "noise 5 %": _noise(0.05),
    "noise 20 %": _noise(0.20),
    "haze": _haze,
    "season": _season,
    "cloud 20 %, mask": _cloud(0.2, masked=True),
    "cloud 40 %, mask": _cloud(0.4, masked=True),
    "cloud 60 %, mask": _cloud(0.6, masked=True),
    "cloud 20 %": _cloud(0.2, masked=False),
    "cloud 40 %": _cloud(0.4, masked=False),
    "cloud 60 %": _cloud(0.6, masked=False),
    "nodata triangles": _triangles,
    "scan-line gaps": _stripes,
}


def flooded(fine: Image, rng: np.random.Generator, share: float) -> tuple[Image, Image]:
    """Two looks at one scene of which `share` is water with waves that differ."""
    form = fractal(fine.shape, rng, 3.5)
    wet = form < np.quantile(form, share)
    level, swing = np.quantile(fine, 0.02), 0.1 * fine.std()
    first, second = (
        np.where(wet, level + swing * fractal(fine.shape, rng, 1.2), fine).astype(np.float32)
        for _ in range(2)
    )
    return first, second


# ------------------------------------------------------------------ families of pairs


def _pair(family: str, anchor: Image, item: Image, truth: tuple[float, float] | None, **more: object) -> Pair:
    usable = np.ones(anchor.shape, bool), np.ones(item.shape, bool)
    return Pair(
        family=family,
        anchor=anchor,
        item=item,
        anchor_usable=usable[0],
        item_usable=usable[1],
        truth=truth,
        **more,
    )


def _offsets(rng: np.random.Generator, count: int, reach: int) -> list[tuple[int, int]]:
    return [(int(y), int(x)) for y, x in rng.integers(-reach, reach + 1, (count, 2))]


def effects(count: int, names: tuple[str, ...] = tuple(EFFECTS)) -> Iterator[Pair]:
    """Every effect on `count` known shifts of every fine scene, within 6 px."""
    for number, (path, band) in enumerate(FINE):
        fine = read(path, band)
        factor = 3 if min(fine.shape) > 600 else 2
        for k, offset in enumerate(_offsets(np.random.default_rng(number), count, 6 * factor)):
            anchor, item, truth = cut_pair(fine, factor, offset)
            for name in names:
                rng = np.random.default_rng([number, k, len(name)])
                yield EFFECTS[name](_pair(name, anchor, item, truth), rng)


def zero(count: int) -> Iterator[Pair]:
    """True shift zero, under noise and season."""
    for number, (path, band) in enumerate(FINE):
        anchor, item, truth = cut_pair(read(path, band), 2, (0, 0))
        for k in range(count):
            for name in ("noise 5 %", "noise 20 %", "season"):
                rng = np.random.default_rng([number, k, 77])
                yield EFFECTS[name](_pair("zero shift", anchor, item, truth), rng)


def large(count: int) -> Iterator[Pair]:
    """Shifts of up to 100 px, none beyond a quarter of the scene; every other one under 30 % cloud."""
    for number, (path, band) in enumerate(FINE):
        # thirds of a pixel, as in `_on_scenes`
        fine = read(path, band)
        reach = min(300, int(min(fine.shape) / 5))
        rng = np.random.default_rng([number, 5])
        for k in range(count):
            angle = rng.uniform(0, 2 * np.pi)
            offset = (round(reach * np.sin(angle)), round(reach * np.cos(angle)))
            anchor, item, truth = cut_pair(fine, 3, offset)
            if k % 2:
                yield _cloud(0.3, masked=False)(_pair("large, cloud 30 %", anchor, item, truth), rng)
            else:
                yield _pair("large", anchor, item, truth)


def water(count: int) -> Iterator[Pair]:
    """Seven tenths of the scene are water."""
    for number, (path, band) in enumerate(FINE):
        fine = read(path, band)
        rng = np.random.default_rng([number, 6])
        for offset in _offsets(rng, count, 12):
            first, second = flooded(fine, rng, 0.7)
            yield _pair("water 70 %", *cut_pair(first, 2, offset, fine_item=second))


def tiny(count: int) -> Iterator[Pair]:
    """Scenes of 64 px, shifts within 4 px."""
    for number, (path, band) in enumerate(FINE):
        fine = read(path, band)
        rng = np.random.default_rng([number, 7])
        for offset in _offsets(rng, count, 8):
            at = (float(rng.random()), float(rng.random()))
            yield _pair("tiny, 64 px", *cut_pair(fine, 2, offset, size=64, at=at))


def lattices(count: int) -> Iterator[Pair]:
    """A 3 m item on a 3.125 m anchor: area means of one scene, the item brought to the anchor's lattice."""
    for number, (path, band) in enumerate(FINE):
        fine = read(path, band)
        rng = np.random.default_rng([number, 8])
        for dy, dx in rng.uniform(-8, 8, (count, 2)):
            height, width = (int(n / 3.125) - 12 for n in fine.shape)
            start = 6 * 3.125
            anchor = _area_mean(
                fine, start + 3.125 * np.arange(height), start + 3.125 * np.arange(width), 3.125
            )
            rows, cols = (
                np.clip(start + d + 3.0 * np.arange(int(n * 3.125 / 3)), 0, size - 3)
                for d, n, size in ((dy, height, fine.shape[0]), (dx, width, fine.shape[1]))
            )
            item = _area_mean(fine, rows, cols, 3.0)
            where = (
                (np.arange(n) * 3.125 + 3.125 / 2) / 3.0 - 0.5
                for n in (int(len(rows) / 3.125 * 3), int(len(cols) / 3.125 * 3))
            )
            item = map_coordinates(item, np.meshgrid(*where, indexing="ij"), order=5, mode="nearest")
            yield _pair("3 m on 3.125 m", anchor, item.astype(np.float32), (dy / 3.125, dx / 3.125))


RATIOS = {1.5: 2, 3.125: 2, 10 / 3: 2, 10: 1}
"""Size of the coarser scene's pixels in those of the finer one, and the latter's in those of the finer truth."""


def ratios(count: int) -> Iterator[Pair]:
    """Anchor and item of unlike pixels, 5 % noise on both: every other time the anchor's are the larger ones.

    The finer scene is brought to the coarser one's lattice as the package does it.
    """
    for ratio, own in RATIOS.items():
        large = own * ratio
        for number, (path, band) in enumerate(FINE):
            fine = read(path, band)
            shape = [int(n / large) - 3 for n in fine.shape]
            if min(shape) < SMALLEST:
                continue
            rng = np.random.default_rng([number, round(100 * ratio), 10])
            for k, (dy, dx) in enumerate(rng.uniform(-large, large, (count, 2))):
                start = 1.5 * large
                coarse = _area_mean(fine, *(start + large * np.arange(n) for n in shape), large)
                # the finer scene begins elsewhere than it says, and ends beyond the coarser one
                rows, cols = (
                    start + d + own * np.arange(int(n * ratio)) for d, n in zip((dy, dx), shape, strict=True)
                )
                small = noisy(_area_mean(fine, rows, cols, own), 0.05, rng)
                same = on_larger_pixels(small, ratio, (shape[0], shape[1]))
                coarse = noisy(coarse, 0.05, rng)
                sign = 1 if k % 2 == 0 else -1
                pair = (coarse, same) if sign > 0 else (same, coarse)
                yield _pair(f"pixels 1 to {ratio:.4g}", *pair, (sign * dy / large, sign * dx / large))


def on_larger_pixels(image: Image, ratio: float, shape: tuple[int, int]) -> Image:
    """A scene on the lattice of one of larger pixels that begins at the same corner."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from coregstack.pixels.regrid import match_planes

    crs = "EPSG:32633"
    box = GeoBox(image.shape, Affine(1, 0, 500_000, 0, -1, 5_000_000), crs)
    lattice = GeoBox(shape, Affine(ratio, 0, 500_000, 0, -ratio, 5_000_000), crs)
    return match_planes(image[None], np.ones(image.shape, bool), box, lattice)[0]


def _area_mean(fine: Image, rows: NDArray[np.float64], cols: NDArray[np.float64], size: float) -> Image:
    """Exact means of a scene of square pixels over boxes that start at `rows` and `cols`."""
    total = np.zeros((fine.shape[0] + 1, fine.shape[1] + 1))
    total[1:, 1:] = fine.astype(np.float64).cumsum(0).cumsum(1)

    def at(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return map_coordinates(total, np.meshgrid(y, x, indexing="ij"), order=1)

    box = at(rows + size, cols + size) - at(rows, cols + size) - at(rows + size, cols) + at(rows, cols)
    return (box / size**2).astype(np.float32)


def dates(count: int, names: tuple[str, ...] = NAIP_DATES, bands: tuple[int, ...] = (1,)) -> Iterator[Pair]:
    """Windows of 512 px of real dates, the item's cut at known whole pixels round the anchor's.

    The shift of a pair of dates is not known, but it is one for all cuts of one window.
    """
    shifts = [(0, 0), *_offsets(np.random.default_rng(9), count - 1, 20)]
    for a, first in enumerate(names):
        for second in names[a + 1 :]:
            for band in bands:
                one, two = read(NAIP.format(first), band), read(NAIP.format(second), band)
                for top, left in ((30, 30), (170, 380)):
                    for dy, dx in shifts:
                        pair = _pair(
                            "NAIP dates",
                            one[top : top + 512, left : left + 512],
                            two[top + dy : top + dy + 512, left + dx : left + dx + 512],
                            (dy, dx),
                            group=f"{first} {second} {band} {top}",
                        )
                        yield pair


def refusals() -> Iterator[Pair]:
    """Pairs of which no shift can be known."""
    rng = np.random.default_rng(11)
    for number, (path, band) in enumerate(FINE):
        anchor = block_mean(read(path, band), 2)[:360, :360]
        other = block_mean(read(*FINE[(number + 2) % len(FINE)]), 2)[:360, :360]
        shape = (min(anchor.shape[0], other.shape[0]), min(anchor.shape[1], other.shape[1]))
        anchor, other = anchor[: shape[0], : shape[1]], other[: shape[0], : shape[1]]
        overcast = (anchor.max() * (2 + 0.3 * fractal(shape, rng, 2.6))).astype(np.float32)
        yield _pair("refuse: full cloud", anchor, overcast, None)
        yield replace(_triangles(_pair("refuse: cloud, nodata edge", anchor, overcast, None), rng))
        edge = wedge(shape)
        fixed = np.where(edge, anchor, 0).astype(np.float32), np.where(edge, overcast, 0).astype(np.float32)
        yield replace(_pair("refuse: cloud, nodata edge", *fixed, None), anchor_usable=edge, item_usable=edge)
        yield _pair("refuse: other place", anchor, other, None)
        sea = [(200 + 8 * fractal(shape, rng, 1.5)).astype(np.float32) for _ in range(2)]
        yield _pair("refuse: water only", *sea, None)
        yield _pair(
            "refuse: noise only", *(rng.standard_normal(shape).astype(np.float32) for _ in range(2)), None
        )
    y, x = np.mgrid[0:400, 0:400]
    for period in (7.0, 12.5, 24.0):
        rows = np.sin(2 * np.pi * y / period) * np.sin(2 * np.pi * x / period)
        moved = np.sin(2 * np.pi * (y + 2) / period) * np.sin(2 * np.pi * (x - 1) / period)
        images = [(100 + 40 * s + rng.standard_normal(s.shape)).astype(np.float32) for s in (rows, moved)]
        yield _pair("refuse: periodic", *images, None)
    flat = np.full((300, 300), 50, np.float32)
    yield _pair("refuse: flat", flat, flat, None)


# ------------------------------------------------------------------ what stays on the pixel grid, and gaps

GRID_SCENES = (FINE[0], FINE[2], FINE[4])
"""Farmland, mixed ground and snow."""


def _lines(share: float, axis: int, *, fixed: bool) -> Effect:
    """Stripes of a number for each row (axis 0) or column, of `share` of the standard deviation."""

    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        form = (len(pair.anchor), 1) if axis == 0 else (1, pair.anchor.shape[1])
        first = rng.standard_normal(form)
        second = first if fixed else rng.standard_normal(form)
        size = share * pair.anchor.std()
        return replace(
            pair,
            anchor=(pair.anchor + size * first).astype(np.float32),
            item=(pair.item + size * second).astype(np.float32),
        )

    return effect


def _jpeg(quality: int) -> Effect:
    def through(image: Image) -> Image:
        low, high = np.quantile(image, (0.005, 0.995))
        grey = np.clip((image - low) / max(high - low, 1e-9) * 255, 0, 255).round().astype(np.uint8)
        settings = {
            "driver": "JPEG",
            "height": len(grey),
            "width": grey.shape[1],
            "count": 1,
            "dtype": "uint8",
        }
        with rasterio.MemoryFile() as file:
            with file.open(**settings, QUALITY=quality) as target:
                target.write(grey, 1)
            with file.open() as source:
                return source.read(1).astype(np.float32)

    return lambda pair, _: replace(pair, anchor=through(pair.anchor), item=through(pair.item))


def _dead_columns(count: int) -> Effect:
    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        columns = rng.choice(pair.anchor.shape[1], count, replace=False)
        anchor, item = pair.anchor.copy(), pair.item.copy()
        anchor[:, columns], item[:, columns] = 0, 0
        return replace(pair, anchor=anchor, item=item)

    return effect


def _slc_off(gap: int, period: int) -> Effect:
    def effect(pair: Pair, _: np.random.Generator) -> Pair:
        y, x = np.mgrid[0 : pair.anchor.shape[0], 0 : pair.anchor.shape[1]]
        place = y + 0.15 * x
        return replace(
            pair, anchor_usable=place % period >= gap, item_usable=(place + period / 2) % period >= gap
        )

    return effect


def _speckle(share: float) -> Effect:
    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        first, second = rng.random((2, *pair.anchor.shape)) > share
        return replace(pair, anchor_usable=first, item_usable=second)

    return effect


def _nearest(ratio: float) -> Effect:
    """The item sampled by nearest neighbour from pixels of another size; its truth counts the mean rounding."""

    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        rows, cols = (
            np.rint(np.arange(2, int((n - 5) / ratio)) * ratio + rng.uniform(-1, 1)).astype(int)
            for n in pair.item.shape
        )
        where = [np.arange(2, 2 + len(k)) * ratio for k in (rows, cols)]
        anchor = map_coordinates(pair.anchor, np.meshgrid(*where, indexing="ij"), order=5)
        moved = [float(np.mean(k - w)) for k, w in zip((rows, cols), where, strict=True)]
        assert pair.truth is not None
        truth = tuple((t + m) / ratio for t, m in zip(pair.truth, moved, strict=True))
        item = pair.item[np.ix_(rows, cols)]
        usable = np.ones(item.shape, bool)
        return replace(
            pair,
            anchor=anchor.astype(np.float32),
            item=item,
            anchor_usable=usable,
            item_usable=usable,
            truth=truth,
        )

    return effect


def _fixed(form: Callable[[tuple[int, int], np.random.Generator], Image], share: float) -> Effect:
    """One pattern of `share` of the standard deviation on the pixels of both."""

    def effect(pair: Pair, rng: np.random.Generator) -> Pair:
        pattern = share * pair.anchor.std() * form(pair.anchor.shape, rng)
        return replace(
            pair,
            anchor=(pair.anchor + pattern).astype(np.float32),
            item=(pair.item + pattern).astype(np.float32),
        )

    return effect


def _drift(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Gains of columns that change along them."""
    form = gaussian_filter1d(rng.standard_normal(shape), 12, axis=0)
    return (form / form.std()).astype(np.float32)


def _askew(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Stripes that run a tenth off the columns."""
    gains = rng.standard_normal(sum(shape))
    columns = np.arange(shape[1])[None] + (0.1 * np.arange(shape[0])[:, None]).astype(int)
    return gains[columns].astype(np.float32)


def _pixels(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Noise of single pixels."""
    return rng.standard_normal(shape).astype(np.float32)


GRID_EFFECTS: dict[str, Effect] = {
    **{
        f"{'rows' if axis == 0 else 'columns'} {share:g}, {'fixed' if fixed else 'own'}": _lines(
            share, axis, fixed=fixed
        )
        for share in (0.05, 0.1, 0.3)
        for axis in (0, 1)
        for fixed in (True, False)
    },
    **{
        f"{name} {share:g}, fixed": _fixed(form, share)
        for name, form in (("drift", _drift), ("askew", _askew), ("pixels", _pixels))
        for share in (0.1, 0.3)
    },
    **{f"JPEG {quality}": _jpeg(quality) for quality in (10, 20, 35, 50, 75, 90, 95)},
    **{f"{count} dead columns": _dead_columns(count) for count in (1, 4, 20)},
    **{f"nearest, {ratio:g} px": _nearest(ratio) for ratio in (0.96, 1.04)},
}
GAP_EFFECTS: dict[str, Effect] = {
    **{
        f"SLC-off {gap} of {period}": _slc_off(gap, period)
        for gap, period in ((3, 15), (6, 33), (8, 33), (10, 33))
    },
    **{f"speckle {share:.0%}": _speckle(share) for share in (0.02, 0.05, 0.12, 0.25, 0.37)},
}


def _on_scenes(named: dict[str, Effect], count: int) -> Iterator[Pair]:
    for number, (path, band) in enumerate(GRID_SCENES):
        fine = read(path, band)
        # thirds of a pixel: errors of interpolation vanish at halves, and would flatter
        for k, offset in enumerate(_offsets(np.random.default_rng([number, 12]), count, 14)):
            anchor, item, truth = cut_pair(fine, 3, offset, size=420)
            for name, effect in named.items():
                yield effect(_pair(name, anchor, item, truth), np.random.default_rng([number, k, len(name)]))


def grids(count: int) -> Iterator[Pair]:
    """What stays on the pixel grid, or is bound to it, while the scene moves."""
    return _on_scenes(GRID_EFFECTS, count)


def gaps(count: int) -> Iterator[Pair]:
    """Masks that leave 40 to 96 % of the pixels common, as lines or lone pixels."""
    return _on_scenes(GAP_EFFECTS, count)


FAMILIES: dict[str, Callable[[int], Iterator[Pair]]] = {
    "effects": effects,
    "zero": zero,
    "large": large,
    "water": water,
    "tiny": tiny,
    "lattices": lattices,
    "ratios": ratios,
    "dates": dates,
    "grids": grids,
    "gaps": gaps,
    "refusals": lambda _: refusals(),
}
