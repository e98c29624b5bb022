"""No text that defines a CRS makes PROJ open a file, wherever it comes from."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import recipes
import xarray as xr
from pyproj import CRS
from recipes import write_jp2, write_tiff

import coregstack
from coregstack import inspect_folder, run_scenes
from coregstack.errors import CoregError, InvalidStack, UnreadableFile
from coregstack.export.evidence import kept_evidence
from coregstack.model import Status
from coregstack.pixels.raster import read_header
from coregstack.untrusted.crstext import crs_fault, file_named

WKT = (
    'PROJCS["x",GEOGCS["y",DATUM["d",SPHEROID["International 1924",6378388,297]{datum}],PRIMEM["Greenwich",0],UNIT'
    '["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER'
    '["central_meridian",15],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER'
    '["false_northing",0],UNIT["metre",1]{end}]'
)
TEXTS = {
    "nadgrids": "+proj=utm +zone=33 +ellps=intl +nadgrids={path} +units=m +no_defs +type=crs",
    "nadgrids after the null grid": "+proj=utm +zone=33 +ellps=intl +nadgrids=@null,{path} +type=crs",
    "nadgrids before the null grid": "+proj=utm +zone=33 +ellps=intl +nadgrids={path},@null +type=crs",
    "nadgrids that may be missing": "+proj=utm +zone=33 +ellps=intl +nadgrids=@{path} +type=crs",
    "nadgrids in another case": "+proj=utm +zone=33 +ellps=intl +NADGRIDS={path} +type=crs",
    "nadgrids with spaces": "+proj=utm +zone=33 +ellps=intl +nadgrids = {path} +type=crs",
    "nadgrids in quotes": '+proj=utm +zone=33 +ellps=intl +nadgrids="{path}" +type=crs',
    "nadgrids without plus": "proj=utm zone=33 ellps=intl nadgrids={path} type=crs",
    "nadgrids by a bare name": "+proj=utm +zone=33 +ellps=intl +nadgrids=conus +type=crs",
    "nadgrids from the network": "+proj=utm +zone=33 +ellps=intl +nadgrids=https://127.0.0.1/a.tif +type=crs",
    "geoidgrids": "+proj=utm +zone=33 +datum=WGS84 +geoidgrids={path} +units=m +vunits=m +type=crs",
    "a file of definitions": "+init={path}:1 +type=crs",
    "a relative file of definitions": "+init=./other:1",
    "a model of deformation": "+proj=defmodel +model={path} +type=crs",
    "a triangulation": "+proj=tinshift +file={path} +type=crs",
    "a pipeline": "+proj=pipeline +step +proj=utm +zone=33 +step +proj=vgridshift +grids={path}",
    "WKT with grids": WKT.format(datum=',EXTENSION["PROJ4_GRIDS","{path}"]', end=""),
    "WKT with grids, spaced": WKT.format(datum=', extension [ "proj4_grids" , "{path}" ]', end=""),
    "WKT with a PROJ string": WKT.format(
        datum="", end=',EXTENSION["PROJ4","+proj=utm +zone=33 +ellps=intl +nadgrids={path} +no_defs"]'
    ),
    "WKT with a method of PROJ": WKT.replace("Transverse_Mercator", "PROJ defmodel model={{path}}").format(
        datum="", end=""
    ),
    "WKT with a file of a transformation": (
        'BOUNDCRS[SOURCECRS[GEOGCRS["y",DATUM["d",ELLIPSOID["e",6378388,297]],CS[ellipsoidal,2],AXIS["lat",north],AXIS'
        '["lon",east],UNIT["degree",0.0174532925199433]]],TARGETCRS[GEOGCRS["WGS 84",DATUM["World Geodetic System '
        '1984",ELLIPSOID["WGS 84",6378137,298.257223563]],CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],UNIT'
        '["degree",0.0174532925199433]]],ABRIDGEDTRANSFORMATION["t",METHOD["NTv2",ID["EPSG",9615]],PARAMETERFILE'
        '["Latitude and longitude difference file","{path}",ID["EPSG",8656]]]]'
    ),
    "a path": "{path}",
    "an address": "https://127.0.0.1/crs.wkt",
}
"""Texts by which PROJ, or GDAL, opens what `path` says."""
SOUND = [
    "EPSG:32633", "EPSG:4326+5773", "urn:ogc:def:crs:EPSG::32633", "http://www.opengis.net/def/crs/EPSG/0/32633",
    "http://www.opengis.net/gml/srs/epsg.xml#4326", "WGS 84 / UTM zone 33N", "ESRI:102003", "OGC:CRS84",
    "+init=epsg:32633", "+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs",
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +wktext +no_defs",
    "Unknown based on International 1924 ellipsoid using nadgrids=@null|Ellipsoid = International 1924|",
]  # fmt: skip
CODES = [2154, 2193, 3031, 3035, 3413, 3857, 4269, 4326, 5041, 5514, 5972, 6933, 7405, 25832, 26910, 27700, 28992,
         31287, 32633, 32733]  # fmt: skip


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe with something in it, of which nothing may be read; who opens it does not have to wait."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    size = os.write(handle, b"x" * 60_000)
    yield path
    (left,) = struct.unpack("i", fcntl.ioctl(handle, termios.FIONREAD, b"\0" * 4))
    os.close(handle)
    assert left == size, "the pipe was read"


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_name_files_are_found(name: str, pipe: Path) -> None:
    assert crs_fault(TEXTS[name].replace("{path}", str(pipe)))


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"a path", "an address"}))
def test_texts_that_name_files_are_found_within_others(name: str, pipe: Path) -> None:
    text = TEXTS[name].replace("{path}", str(pipe))
    escaped = text.replace("&", "&amp;").replace('"', "&quot;")
    for around in (f"ESRI PE String = {text}|", f"<a>{escaped}</a>", f"before\n{text}\0after"):
        assert file_named(around), around


@pytest.mark.parametrize("text", SOUND)
def test_sound_texts_are_taken(text: str) -> None:
    assert not crs_fault(text)


@pytest.mark.parametrize("code", CODES)
def test_every_form_of_a_known_crs_is_taken(code: int) -> None:
    crs = CRS.from_epsg(code)
    forms = [
        crs.to_wkt(),
        crs.to_json(),
        rasterio.CRS.from_epsg(code).to_wkt(),
        rasterio.CRS.from_epsg(code).to_string(),
    ]
    for form in forms:
        assert not crs_fault(form), form


def test_what_is_hidden_by_escapes_of_json_is_found() -> None:
    value = json.loads(CRS("+proj=utm +zone=33 +ellps=intl +nadgrids=x.gsb +type=crs").to_json())
    assert crs_fault(json.dumps(value))
    hidden = (
        json.dumps(value).replace("x.gsb", "\\u002fdev\\u002fstdin").replace("nadgrids", "\\u006eadgrids")
    )
    assert crs_fault(hidden)


def test_a_text_longer_than_the_limit_is_not_given_to_proj() -> None:
    assert "longer than" in crs_fault("+proj=utm " + "x" * 2**16)


def claims(path: Path, text: str, target: Path, **profile: object) -> Path:
    """Write a raster whose CRS is defined by a file, which the writer need not open."""
    stand_in = f"/{'x' * (len(str(target)) - 1)}"
    if path.suffix == ".jp2":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recipes, "CRS", text.replace("{path}", stand_in))
            write_jp2(path)
    else:
        write_tiff(path, crs=text.replace("{path}", stand_in), **profile)
    data = path.read_bytes()
    assert stand_in.encode() in data
    path.write_bytes(data.replace(stand_in.encode(), str(target).encode()))
    return path


QSC = "+proj=qsc +lat_0=48 +lon_0=15 +ellps=intl +nadgrids={path} +units=m +no_defs"
RASTERS = {
    "GeoTIFF with grids": ("bad.tif", TEXTS["WKT with grids"], {"GEOTIFF_KEYS_FLAVOR": "ESRI_PE"}),
    "GeoTIFF with a PROJ string": ("bad.tif", TEXTS["nadgrids"], {"GEOTIFF_KEYS_FLAVOR": "ESRI_PE"}),
    "GeoTIFF with an extension": ("bad.tif", QSC, {}),
    "BigTIFF with an extension": ("bad.tif", QSC, {"BIGTIFF": "YES"}),
    "big-endian GeoTIFF": ("bad.tif", QSC, {"ENDIANNESS": "BIG"}),
    "JPEG 2000 with grids": ("bad.jp2", TEXTS["WKT with grids"], {}),
    "JPEG 2000 with an extension": ("bad.jp2", QSC, {}),
    "JPEG 2000 with a geoid": ("bad.jp2", TEXTS["geoidgrids"], {}),
}


@pytest.mark.parametrize("name", RASTERS)
def test_rasters_whose_crs_names_a_file_are_named(
    name: str, pipe: Path, sound: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    file, text, profile = RASTERS[name]
    bad = claims(folder / file, text, pipe, **profile)
    with pytest.raises(UnreadableFile, match="defines its CRS by a file"):
        read_header(bad)
    (folder / "good.tif").write_bytes(sound.good.read_bytes())
    table = inspect_folder(folder)
    assert "by a file" in table.loc["bad", "refused"]
    assert not table.loc["good", "refused"]


def test_a_run_delivers_the_others(pipe: Path, sound: SimpleNamespace, tmp_path: Path) -> None:
    bad = claims(tmp_path / "bad.tif", QSC, pipe)
    result = run_scenes([sound.anchor, bad, sound.good], anchor="anchor", output=tmp_path / "out")
    assert [report.quality.status for report in result.reports] == [
        Status.ANCHOR, Status.FAILED, Status.COREGISTERED,
    ]  # fmt: skip
    assert (tmp_path / "out" / "bad.tif").read_bytes() == bad.read_bytes()
    with pytest.raises(CoregError, match="anchor 'bad' cannot be read"):
        run_scenes([bad, sound.good], anchor="bad", output=tmp_path / "other")


@pytest.mark.parametrize("key", ["crs_wkt", "spatial_ref"])
def test_stacks_whose_crs_names_a_file_are_refused(key: str, pipe: Path, small_stack: object) -> None:
    stack = small_stack.copy()  # type: ignore[attr-defined]
    text = TEXTS["WKT with grids"].replace("{path}", str(pipe))
    stack["spatial_ref"] = stack.spatial_ref.assign_attrs(crs_wkt=text, spatial_ref=text)
    with pytest.raises(InvalidStack, match="names a file"):
        coregstack.align(stack, anchor=0)
    stack = stack.drop_vars("spatial_ref").assign_attrs(crs=TEXTS["nadgrids"].replace("{path}", str(pipe)))
    with pytest.raises(InvalidStack, match="names a file"):
        coregstack.align(stack, anchor=0)


@pytest.mark.parametrize("key", ["geographic_crs_name", "horizontal_datum_name", "projected_crs_name"])
def test_names_of_a_grid_mapping_go_to_proj_too(key: str, pipe: Path, small_stack: object) -> None:
    stack = small_stack.copy()  # type: ignore[attr-defined]
    for text in (TEXTS["nadgrids"].replace("{path}", str(pipe)), str(pipe)):
        stack["spatial_ref"] = xr.DataArray(0, attrs={"grid_mapping_name": "latitude_longitude", key: text})
        with pytest.raises(InvalidStack, match="a file"):
            coregstack.align(stack, anchor=0)


def test_evidence_whose_crs_names_a_file_is_not_believed(
    pipe: Path, sound: SimpleNamespace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_scenes([sound.anchor, sound.good], anchor="anchor", output=out)
    path = out / ".coregstack" / "good.evidence"
    for part in ("box", "area"):
        value = json.loads(path.read_text())
        value[part]["crs"] = TEXTS["nadgrids"].replace("{path}", str(pipe))
        path.write_text(json.dumps(value))
        assert kept_evidence(out, "good") is None


def test_stac_items_whose_crs_names_a_file_are_refused(pipe: Path) -> None:
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("odc.stac")
    item = pystac.Item(
        "a", None, None, np.datetime64("2024-01-01").astype("datetime64[us]").item(), {"proj:wkt2": ""}
    )
    grids = CRS("+proj=utm +zone=33 +ellps=intl +nadgrids=x.gsb +type=crs").to_json_dict()
    texts = {key: TEXTS[key].replace("{path}", str(pipe)) for key in ("WKT with grids", "nadgrids")}
    for key, value in (
        ("proj:wkt2", texts["WKT with grids"]), ("proj:code", texts["nadgrids"]), ("proj:projjson", grids),
        ("proj:epsg", texts["nadgrids"]),
    ):  # fmt: skip
        item.properties = {"proj:wkt2": None, key: value}
        with pytest.raises(CoregError, match="names a file"):
            coregstack.open_stac([item], anchor=0, bands=["red"])
