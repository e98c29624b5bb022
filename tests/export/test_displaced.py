"""Files moved by a displacement: every asset by the same field on the ground, in one interpolation, nothing cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy import ndimage

from coregstack.errors import InvalidRequest
from coregstack.export.geotiff import write_moved
from coregstack.export.movement import Movement
from coregstack.export.plan import Content
from coregstack.kernels.displacement import Spline, constant
from coregstack.model import Displacement, Move, Shift
from coregstack.pixels import raster
from coregstack.pixels.warp import placed

WEST, NORTH = 500_000.0, 5_200_000.0
ANCHOR = GeoBox((300, 320), Affine(3, 0, WEST, 0, -3, NORTH), "EPSG:32633")
NODES = 12


def field(size: float = 1.0) -> Displacement:
    """A smooth field, in pixels of the anchor."""
    y, x = np.mgrid[:NODES, :NODES] / NODES
    dy, dx = size * np.sin(3 * x + 2 * y) + 0.4, size * np.cos(4 * y - x) - 0.3
    nodes = [values.astype(np.float32) for values in (dy, dx, 0 * dy)]
    return Displacement(origin=Shift(-20.0, -20.0), step=32.0, y=nodes[0], x=nodes[1], sigma=nodes[2])


def ground(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What lies at map coordinates of the anchor's CRS."""
    return 2000 + 600 * np.sin((x - WEST) / 25) * np.cos((y - NORTH) / 31) + 0.3 * (x - WEST)


def write(path: Path, box: GeoBox, values: np.ndarray | None = None, **options: object) -> Path:
    cols, rows = np.meshgrid(np.arange(box.shape[1]) + 0.5, np.arange(box.shape[0]) + 0.5)
    x, y = box.affine.a * cols + box.affine.c, box.affine.e * rows + box.affine.f
    if box.crs != ANCHOR.crs:
        x, y = Transformer.from_crs(str(box.crs), str(ANCHOR.crs), always_xy=True).transform(x, y)
    if values is None:
        values = np.rint(ground(x, y)).astype(np.uint16)
    profile = {
        "driver": "GTiff", "count": 1, "height": box.shape[0], "width": box.shape[1], "dtype": values.dtype,
        "crs": str(box.crs), "transform": box.affine, "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values, 1)
    return path


def written(path: Path, move: Move, content: Content = Content.IMAGE, resampling: str = "cubic") -> tuple:
    """Values of the moved file, map coordinates of its pixels, and what its content was displaced by there."""
    target = path.with_name(f"{path.stem}_coreg.tif")
    write_moved(str(path), target, content, Movement(anchor=ANCHOR, move=move, resampling=resampling))
    with rasterio.open(target) as file:
        values, affine = file.read(1), file.transform
    cols, rows = np.arange(values.shape[1]) + 0.5, np.arange(values.shape[0]) + 0.5
    x, y = affine.a * cols + affine.c, affine.e * rows + affine.f
    if isinstance(move, Shift):
        return values, x, y, move
    dy, dx = Spline.of(move).at((NORTH - y) / 3 - 0.5, (x - WEST) / 3 - 0.5)
    return values, x, y, (dy, dx)


BOXES = {
    "same pixels": GeoBox((240, 250), Affine(3, 0, WEST + 31, 0, -3, NORTH - 59), "EPSG:32633"),
    "larger pixels": GeoBox((120, 125), Affine(6, 0, WEST + 31, 0, -6, NORTH - 59), "EPSG:32633"),
    "other zone": GeoBox((250, 250), Affine(3, 0, 956_480, 0, -3, 5_214_200), "EPSG:32632"),
}


@pytest.mark.parametrize("kind", BOXES)
def test_every_raster_moves_by_the_same_field_on_the_ground(kind: str, tmp_path: Path) -> None:
    box = BOXES[kind]
    values, x, y, (dy, dx) = written(write(tmp_path / "a.tif", box), field())
    expected = ground(x[None, :] - 3 * dx, y[:, None] + 3 * dy)
    seen = values > 0
    assert seen.sum() > 0.97 * box.shape[0] * box.shape[1]
    inner = ndimage.binary_erosion(seen, iterations=6)
    limit = 12.0 if kind == "larger pixels" else 3.0
    assert np.abs(values.astype(float) - expected)[inner].max() < limit
    # a move by the mean alone leaves far more
    still = ground(x[None, :] - 3 * dx.mean(), y[:, None] + 3 * dy.mean())
    assert np.abs(values.astype(float) - still)[inner].max() > 30


@pytest.mark.parametrize("kind", ["same pixels", "larger pixels"])
def test_no_pixel_of_the_footprint_is_cropped(kind: str, tmp_path: Path) -> None:
    box = BOXES[kind]
    values = np.full(box.shape, 1, np.uint16)
    values[2:-2, 2:-2] = 2
    moved, *_ = written(write(tmp_path / "a.tif", box, values), field(), resampling="nearest")
    rim = np.concatenate([moved[0], moved[-1], moved[:, 0], moved[:, -1]])
    # the whole rim of the source is still there: nowhere does its inside touch the edge of the file
    assert not (rim == 2).any()
    assert (moved == 1).sum() > 0.8 * (values == 1).sum()


def test_a_constant_field_writes_the_pixels_of_the_shift(tmp_path: Path) -> None:
    shift = Shift(0.375, -1.25)
    source = write(tmp_path / "a.tif", BOXES["same pixels"])
    by_shift, *_ = written(source, shift)
    by_field, *_ = written(source, constant(shift))
    np.testing.assert_array_equal(by_field, by_shift)


def test_a_constant_field_agrees_with_gdal_across_zones(tmp_path: Path) -> None:
    shift = Shift(0.375, -1.25)
    source = write(tmp_path / "a.tif", BOXES["other zone"])
    by_gdal, *_ = written(source, shift)
    by_field, *_ = written(source, constant(shift))
    assert by_gdal.shape == by_field.shape
    both = (by_gdal > 0) & (by_field > 0)
    assert both.sum() > 0.99 * (by_gdal > 0).sum()
    both[:4], both[-4:], both[:, :4], both[:, -4:] = False, False, False, False
    assert np.quantile(np.abs(by_gdal.astype(float) - by_field)[both], 0.99) <= 2


@pytest.mark.parametrize("kind", BOXES)
def test_windows_are_bit_for_bit_parts_of_the_whole(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BOXES[kind])
    header = raster.read_header(str(path))
    options = {"bands": [0], "move": field(), "nodata": 0, "fill": [0]}
    with raster.opened(str(path)) as dataset:
        whole = placed(dataset, header, ANCHOR, (-10, -20, 330, 300), **options)
        for row, col, height, width in ((0, 0, 100, 100), (57, 31, 129, 90), (200, 150, 33, 7)):
            part = placed(dataset, header, ANCHOR, (row, col, height, width), **options)
            expected = whole[:, row + 10 : row + 10 + height, col + 20 : col + 20 + width]
            np.testing.assert_array_equal(part, expected)


def test_only_the_geotransform_cannot_hold_a_field() -> None:
    with pytest.raises(InvalidRequest, match=r"resampling='none'.*one shift"):
        Movement(anchor=ANCHOR, move=field(), resampling="none")
    Movement(anchor=ANCHOR, move=Shift(0.5, 0.5), resampling="none")
