"""Throw damaged and made-up inputs at everything that reads what comes from outside.

    python benchmarks/fuzz.py --inputs 5000                            so many of each kind
    python benchmarks/fuzz.py --minutes 30                             so long in all
    python benchmarks/fuzz.py --kind geotiff --seed 0 --only 1234      one input again

Every input is made from the kind, the seed and its number, so that each can be made again. A worker process
takes one kind; an input that ends in anything but a result or an error of the package counts as a failure, and
so does one that kills the worker, takes longer than the time limit, or leaves a file outside the output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import dask
import numpy as np
import rasterio
import recipes
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack import report, run_scenes
from coregstack.errors import CoregError, UnreadableFile
from coregstack.export.files import STATE
from coregstack.export.geotiff import write_moved
from coregstack.export.movement import Movement
from coregstack.export.notes import read_note
from coregstack.export.plan import Content
from coregstack.export.sidecar import read_sidecar
from coregstack.geometry import lattice as grid
from coregstack.matching.bands import image_bands
from coregstack.model import Shift
from coregstack.orders.archives import unpack
from coregstack.orders.manifest import read_manifest
from coregstack.orders.payload import read_payload
from coregstack.orders.scan import scan_delivery
from coregstack.pixels import raster
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.masks import Mask
from coregstack.pixels.scene import PlacedScene, Scene, load_match, read_clear
from coregstack.products.masks import MASKS
from coregstack.products.planet.item_metadata import read_item_metadata
from coregstack.products.planet.names import output_name, parse_name
from coregstack.stack.placing import check_anchor, unplaceable
from coregstack.untrusted import names
from coregstack.untrusted.times import time_from_name, time_from_text

LIMIT_S = 30
"""An input that takes more of a processor's time hangs."""
WAIT_S = 300
"""And one that takes longer by the clock, on a machine that may have other work."""
MEMORY = 8 * 2**30
"""Address space of a worker; an input that claims more has to be refused, not to be allocated."""

OWN = {"in", "out", "sound", "sound.tif", "number", "ends", "told"}
"""What lies in a worker's folder."""

Rng = np.random.Generator
ANCHOR = GeoBox((recipes.SIZE, recipes.SIZE), recipes.TRANSFORM, recipes.CRS)
IDS = ["20240101_100000_0e3a", "20240102_100000_0e3a"]


def mutated(rng: Rng, data: bytes) -> bytes:
    """Bytes changed, cut, repeated, moved or replaced by telling numbers, more often near the beginning."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        reach = min(len(out), 600) if rng.random() < 0.6 else len(out)
        at = int(rng.integers(0, max(reach, 1)))
        match int(rng.integers(0, 7)):
            case 0 | 1:
                out[at : at + 1] = rng.bytes(1)
            case 2:
                size = int(rng.choice([2, 4, 8]))
                out[at : at + size] = int(rng.choice([0, 1, 255, 65535, 2**31 - 1, 2**32 - 1])).to_bytes(
                    8, "little"
                )[:size]
            case 3:
                del out[at : at + int(rng.integers(1, 64))]
            case 4:
                out[at:at] = out[at : at + int(rng.integers(1, 64))]
            case 5:
                out[at:at] = rng.bytes(int(rng.integers(1, 16)))
            case _:
                if rng.random() < 0.3:
                    del out[int(rng.integers(0, len(out) + 1)) :]
    return bytes(out)


def text(rng: Rng, longest: int = 40) -> str:
    """A name as nobody should give one."""
    alphabet = (
        "ab01_-.~ /\\:%$'\"\n\0\x7f\u202e\u00fc\u65e5\U0001f6f0\ud800"
        + "20240101_100000_0e3a_3B_AnalyticMS_udm2.tif"
    )
    parts = [
        "..",
        "/",
        "_coreg",
        "_anchor",
        ".tif",
        "_udm2",
        IDS[0],
        "_3B_AnalyticMS",
        "CON",
        "",
        "_metadata.json",
    ]
    pick = [str(rng.choice(list(alphabet))) for _ in range(int(rng.integers(0, longest)))]
    pick += [str(rng.choice(parts)) for _ in range(int(rng.integers(0, 4)))]
    rng.shuffle(pick)
    return "".join(pick) * int(rng.choice([1, 1, 1, 1, 20]))


def value(rng: Rng, depth: int = 0) -> Any:
    """Any JSON value."""
    kinds: list[Callable[[], Any]] = [
        lambda: None, lambda: bool(rng.integers(0, 2)), lambda: int(rng.integers(-5, 5)), lambda: 10**400,
        lambda: float(rng.normal()), lambda: 1e308, lambda: text(rng), lambda: "x" * 5000,
    ]  # fmt: skip
    if depth < 4:
        kinds += [
            lambda: [value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))],
            lambda: {text(rng, 8): value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))},
        ]
    return kinds[int(rng.integers(0, len(kinds)))]()


def changed(rng: Rng, document: Any) -> Any:
    """A JSON document with some of its values replaced by others, and keys added or taken away."""
    if rng.random() < 0.08:
        return value(rng)
    if isinstance(document, dict):
        items = {key: changed(rng, item) for key, item in document.items() if rng.random() > 0.04}
        return items | ({text(rng, 10): value(rng)} if rng.random() < 0.05 else {})
    if isinstance(document, list):
        return [
            changed(rng, item) for item in document for _ in range(int(rng.choice([0, 1, 1, 1, 1, 1, 2])))
        ]
    return document


def struck(rng: Rng, document: Any) -> Any:
    """A JSON document in which one value is replaced, by an odd number more often than not."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.03:
        odd = [0, -1, 0.5, 2**31, 2**63, 1e18, 1e308, float("inf"), -float("inf")]
        return odd[int(rng.integers(0, len(odd)))] if rng.random() < 0.6 else value(rng)
    keys: Any = list(document) if isinstance(document, dict) else range(len(document))
    key = keys[int(rng.integers(0, len(keys)))]
    out = document.copy()
    out[key] = struck(rng, document[key])
    return out


def geotiffs(rng: Rng, folder: Path) -> None:
    """A damaged GeoTIFF of any of four codecs as an item."""
    data = recipes.tiff_bytes(str(rng.choice(["deflate", "none", "lzw", "packbits"])))
    _used_as_item(rng, mutated(rng, data), folder / "in" / "a.tif", folder / "out" / "a.tif")


@cache
def _small_jp2() -> bytes:
    # its decoder takes most of the time that an input takes
    with rasterio.MemoryFile(ext=".jp2") as memory:
        recipes.write_jp2(Path(memory.name), recipes.pixels()[:, :96, :96])
        return bytes(memory.getbuffer())


def jpeg2000s(rng: Rng, folder: Path) -> None:
    """A damaged JPEG 2000 file as an item."""
    data = mutated(rng, _small_jp2())
    _used_as_item(rng, data, folder / "in" / "a.jp2", folder / "out" / "a.tif")


def _used_as_item(rng: Rng, data: bytes, path: Path, moved: Path) -> None:
    """Read a raster's header and pixels, and move it onto the anchor's lattice."""
    path.write_bytes(data)
    header = raster.read_header(path)
    scene = Scene(id="a", time=np.datetime64("NaT", "ns"), image=header, bands=image_bands(header))
    unplaceable(scene, scene)
    if rng.random() < 0.1:
        check_anchor(scene)
    if unplaceable(Scene(id="b", time=scene.time, image=header, bands=scene.bands), _anchor()) is None:
        load_match(_placed(scene), (0,), mean=False, reach=8.0)
    movement = Movement(anchor=ANCHOR, move=Shift(0.3, -1.2), resampling=str(rng.choice(["cubic", "none"])))
    write_moved(str(path), moved, Content.IMAGE, movement)


def masks(rng: Rng, folder: Path) -> None:
    """A damaged mask beside a sound image."""
    image = folder / "sound.tif"
    if not image.exists():
        image.write_bytes(recipes.tiff_bytes())
    path = folder / "in" / "udm2.tif"
    path.write_bytes(mutated(rng, recipes.mask_bytes()))
    header, kind = raster.read_header(image), str(rng.choice(["udm", "udm2"]))
    mask = Mask(header=raster.read_header(path), rule=MASKS[kind])
    scene = Scene(
        id="a", time=np.datetime64("NaT", "ns"), image=header, bands=image_bands(header), masks=(mask,)
    )
    read_clear(_placed(scene), (0, 0, recipes.SIZE, recipes.SIZE))
    movement = Movement(anchor=ANCHOR, move=Shift(0.3, -1.2), resampling="cubic")
    write_moved(str(path), folder / "out" / "udm2.tif", Content(kind), movement)


def _anchor() -> Scene:
    header = RasterHeader(
        path="anchor.tif", driver="GTiff", box=ANCHOR, count=4, dtype="uint16", nodata=0.0, names=(None,) * 4,
        scaling=((1.0, 0.0),) * 4, alpha=None, internal_mask=False, tags=(), size=0, modified=0,
        coloured=(), flagged=(),
    )  # fmt: skip
    return Scene(id="anchor", time=np.datetime64("NaT", "ns"), image=header, bands=("1", "2", "3", "4"))


def _placed(scene: Scene) -> PlacedScene:
    return PlacedScene(
        scene=scene,
        lattice=ANCHOR,
        bands=("1",),
        indexes=(0,),
        dtype=scene.image.dtype,
        fill=scene.nodata or 0,
    )


def payloads(rng: Rng, folder: Path) -> None:
    """A payload with parts of it changed, as a mapping and as text."""
    document = changed(
        rng, recipes.payload(IDS, IDS[0], tools=[{"coregister": {"anchor_item": IDS[0]}}, {"clip": {}}])
    )
    order = read_payload(document) if rng.random() < 0.5 else read_payload(json.dumps(document))
    assert order.anchor_item in order.item_ids
    assert all(names.check_item_id(item) for item in order.item_ids)


def jsons(rng: Rng, folder: Path) -> None:
    """Damaged bytes of every JSON file that is read."""
    documents = [
        {"properties": {"acquired": "2024-01-01T10:00:00Z", "cloud_cover": 0.5, "item_type": "PSScene"}},
        {"target_item": "a", "anchor_item": "b", "pixel_shift": [0.5, 1.5], "output_item": ["a.tif"]},
        {"fingerprint": "a", "files": [{"path": "a.tif", "size": 1}], "quality": {}, "check": "0"},
        {"files": [{"path": "a.tif", "digests": {"md5": "0" * 32}, "annotations": {}}]},
    ]
    readers = (read_item_metadata, read_sidecar, read_note, read_manifest)
    path = folder / "in" / "a.json"
    which = int(rng.integers(0, len(readers)))
    path.write_bytes(mutated(rng, json.dumps(documents[which]).encode()))
    # any may be given any; how it ends is told by the reader whose document it was
    for read in (*readers, read_payload):
        with suppress(CoregError):
            read(path)
    readers[which](path)


def manifests(rng: Rng, folder: Path) -> None:
    """An order whose manifest is changed, and whose files are named oddly."""
    files = [{"path": f"{i}_3B_AnalyticMS.tif", "size": 3, "media_type": "image/tiff", "digests": {"md5": "0" * 32},
              "annotations": {"planet/item_id": i, "planet/asset_type": "ortho_udm2"}} for i in IDS]  # fmt: skip
    where = folder / "in" / "order"
    where.mkdir()
    for name in [f"{i}_3B_AnalyticMS.tif" for i in IDS] + [text(rng) for _ in range(3)]:
        try:
            (where / name.replace("/", "")[:80]).write_bytes(b"abc")
        except (OSError, ValueError):
            continue
    document = changed(rng, {"name": "", "files": files})
    (where / "manifest.json").write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
    for item in scan_delivery(where, item_ids=IDS).items:
        names.check_item_id(item.item_id)


def any_names(rng: Rng, folder: Path) -> None:
    """Names and ids: what is taken stays one name, and what is written of it too."""
    name = text(rng)
    time_from_name(name)
    time_from_text(name)
    asset = parse_name(name)
    for suffix in ("_coreg", "_anchor", ""):
        out = output_name(name, suffix)
        assert out.count("/") == name.count("/")
    assert asset.name == name
    try:
        kept = names.safe_relative(name)
        assert not kept.is_absolute()
        assert ".." not in kept.parts
        assert (folder / kept).resolve().is_relative_to(folder.resolve())
    except CoregError:
        pass
    assert PurePosixPath(names.check_item_id(name)).name == name


def geometry(rng: Rng, folder: Path) -> None:
    """Boxes anywhere, of any size, orientation and CRS, against each other."""
    codes = [
        "EPSG:32633",
        "EPSG:32733",
        "EPSG:4326",
        "EPSG:3857",
        "EPSG:3031",
        "EPSG:32601",
        "EPSG:5041",
        "EPSG:27700",
    ]

    def box() -> GeoBox:
        size = 10.0 ** rng.uniform(-9, 7, 4) * rng.choice([-1, 1], 4)
        skew = rng.choice([0, 0, 0, 1], 2)
        origin = rng.choice([0.0, 6e5, 5e6, 180.0, -90.0, 1e12], 2) * rng.uniform(-1, 1, 2)
        affine = Affine(size[0], size[1] * skew[0], origin[0], size[2] * skew[1], size[3], origin[1])
        shape = tuple(int(n) for n in 10.0 ** rng.uniform(0, 6, 2))
        return GeoBox(shape, affine, str(rng.choice(codes)))

    a, b = box(), box()
    if rng.random() < 0.3:
        b = GeoBox(b.shape, b.affine, a.crs)
    if a.affine.is_degenerate or b.affine.is_degenerate:
        return
    grid.same_pixels(a, b)
    grid.overlaps(a, b)
    top, bottom, left, right = grid.frame_bounds(a, b)
    assert top <= bottom
    assert left <= right
    held = grid.footprint(a, b, Shift(*rng.normal(0, 5, 2)))
    assert min(held.shape) >= 1
    grid.union([a, b], b)
    grid.lattice_like(a, b)
    grid.moved(a, b, Shift(0.5, 1.5))


def zips(rng: Rng, folder: Path) -> None:
    """Damaged and made-up archives."""
    members = {"a.tif": b"pixels" * 50, "PSScene/b.xml": b"<a/>", "manifest.json": b"{}"}
    members |= {text(rng) or "c": rng.bytes(20) for _ in range(int(rng.integers(0, 3)))}
    try:
        data = recipes.zip_bytes(members)
    except ValueError:
        data = recipes.zip_bytes({"a.tif": b"pixels" * 50})
    path = folder / "in" / "order.zip"
    path.write_bytes(data if rng.random() < 0.3 else mutated(rng, data))
    for where in unpack(path, folder / "out" / "unpacked"):
        scan_delivery(where)


def sound_run(folder: Path) -> tuple[list[Path], Path]:
    """Two scenes, and the output of a run over them; made once."""
    scenes = [folder / "anchor.tif", folder / "good.tif"]
    if not folder.exists():
        folder.mkdir()
        for path, shift in zip(scenes, ((0.0, 0.0), recipes.TRUTH), strict=True):
            # small ones, since matching takes most of the time that an input takes
            recipes.write_tiff(path, recipes.pixels(shift)[:, :112, :112])
        run_scenes(scenes, anchor="anchor", output=folder / "out")
    return scenes, folder / "out"


def notes(rng: Rng, folder: Path) -> None:
    """Notes and evidence of an earlier run changed by somebody who signs them, and found by the next run."""
    scenes, done = sound_run(folder / "sound")
    out = folder / "out" / "run"
    shutil.copytree(done, out)
    for item in ("anchor", "good"):
        for path in (out / STATE / f"{item}.json", out / STATE / f"{item}.evidence"):
            document = json.loads(path.read_bytes())
            if rng.random() < 0.3:
                continue
            if rng.random() < 0.2:
                path.write_bytes(mutated(rng, path.read_bytes()))
            elif isinstance(state := struck(rng, document), dict):
                state.pop("check", None)
                signature = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
                path.write_text(
                    json.dumps(state | {"check": signature}).replace("Infinity", "1e999"), "utf-8"
                )
    with dask.config.set(scheduler="synchronous"):
        result = run_scenes(scenes, anchor="anchor", output=out)
    result.to_quality()
    report(out)
    assert not result.problems, result.problems
    if not any(item.resumed for item in result.reports):
        raise UnreadableFile("No note was believed.")


def claims(rng: Rng, folder: Path) -> None:
    """A raster that claims sizes, tags, depth of metadata, or a CRS that is defined by a file."""
    path, which = folder / "in" / "a.tif", int(rng.integers(0, 4))
    trap = folder / "in" / "trap"
    os.mkfifo(trap)
    if which == 0:
        size = (10 ** rng.uniform(0, [9, 9, 4.8])).astype(int)
        data = recipes.claiming(*map(int, size), tile=int(rng.choice([0, 16, 512, 4096])))
    elif which == 1:
        data = bytearray(recipes.tiff_bytes())
        start = int.from_bytes(data[4:8], "little")
        entry = start + 2 + 12 * int(rng.integers(0, 12))
        data[entry : entry + 2] = int(rng.choice([270, 33550, 34735, 34737, 34665, 42112, 65000])).to_bytes(
            2, "little"
        )
        data[entry + 4 : entry + 8] = int(2 ** rng.uniform(0, 32) - 1).to_bytes(4, "little")
    else:
        key = str(rng.choice(["nadgrids", "geoidgrids", "grids", "model", "file"]))
        text = f"+proj=qsc +lat_0=48 +lon_0=15 +ellps=intl +nadgrids=/{'x' * (len(str(trap)) - 1)} +no_defs"
        recipes.write_tiff(path, crs=text)
        data = path.read_bytes().replace(
            b"nadgrids", key.rjust(8, "x").encode() if which == 3 else b"nadgrids"
        )
        data = data.replace(b"/" + b"x" * (len(str(trap)) - 1), str(trap).encode())
    _used_as_item(rng, bytes(data), path, folder / "out" / "a.tif")


KINDS: dict[str, Callable[[Rng, Path], None]] = {
    "geotiff": geotiffs, "jpeg2000": jpeg2000s, "masks": masks, "payloads": payloads, "json": jsons,
    "manifests": manifests, "names": any_names, "geometry": geometry, "zips": zips, "notes": notes, "claims": claims,
}  # fmt: skip


def one(kind: str, seed: int, number: int, folder: Path) -> str:
    """Try one input; the failure in words, or "taken", or "refused"."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    for part in ("in", "out"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    try:
        KINDS[kind](rng, folder)
        end = "taken"
    except CoregError as error:
        end = "refused" if str(error).strip() else "an error without a word"
    except Exception:
        end = traceback.format_exc()
    outside = {path.name for path in folder.iterdir()} - OWN
    left = [path.name for path in (folder / "out").rglob("*.part")]
    return f"files outside the output: {outside}; half-written: {left}" if outside or left else end


Work = Callable[[str, int, Iterable[int], Path, float], None]
"""What a worker does: a kind, a seed, the numbers of inputs, a folder, and until when."""


def work(kind: str, seed: int, numbers: Iterable[int], folder: Path, deadline: float = np.inf) -> None:
    """Try inputs one after another; the number of the one at hand and the end of each are kept in files."""
    warnings.simplefilter("ignore")
    if kind == "notes":
        # what is compiled meanwhile takes longer than an input may
        sound_run(folder / "sound")
    with open(folder / "ends", "a", encoding="utf-8") as ends:
        for number in numbers:
            if time.time() > deadline:
                return
            (folder / "number").write_text(str(number))
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            signal.alarm(WAIT_S)
            end = one(kind, seed, number, folder)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            ends.write(json.dumps([number, end]) + "\n")
            ends.flush()


def _work_apart(work: Work, kind: str, seed: int, numbers: range, folder: Path, deadline: float) -> None:
    """Work in a process of its own, which may take only so much memory; what it tells is kept in a file."""
    told = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    work(kind, seed, numbers, folder, deadline)


def supervise(
    kind: str, seed: int, count: int, deadline: float, folder: Path, work: Work = work
) -> list[tuple[int, str]]:
    """Run workers until all inputs are tried; one that dies is named by the input that it died of.

    They are forked from this process, which has imported everything and starts no thread.
    """
    context = get_context("fork")
    start, dead = 0, []
    while start < count and time.time() < deadline:
        numbers = range(start, count)
        worker = context.Process(target=_work_apart, args=(work, kind, seed, numbers, folder, deadline))
        worker.start()
        worker.join()
        if worker.exitcode == 0:
            break
        # a worker that dies before its first input has left the number of the worker before it
        number = max(start, int((folder / "number").read_text())) if (folder / "number").exists() else start
        why = (
            "took too long"
            if worker.exitcode in (-signal.SIGPROF, -signal.SIGALRM)
            else f"died ({worker.exitcode})"
        )
        dead.append((number, f"{why}: {(folder / 'told').read_text('utf-8', 'replace')[-300:]}"))
        start = number + 1
    lines = (folder / "ends").read_text("utf-8").splitlines() if (folder / "ends").exists() else []
    return [*((number, end) for number, end in map(json.loads, lines)), *dead]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz and print a table; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, help="so many of each kind")
    parser.add_argument(
        "--minutes", type=float, help="at most so long for all kinds together (without --inputs: 1)"
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="try this one input here and print its end")
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = 1.0 if options.inputs is None else np.inf
    if options.inputs is None:
        options.inputs = 10**9
    kinds = options.kind or list(KINDS)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        if options.only is not None:
            print(one(kinds[0], options.seed, options.only, Path(scratch)))
            return 0
        return _report(kinds, options, Path(scratch))


def _report(kinds: Sequence[str], options: argparse.Namespace, scratch: Path) -> int:
    tried = failed = 0
    print(
        f"seed {options.seed}\n\n| kind | inputs | taken | refused | failed | inputs/s |\n|---|---|---|---|---|---|"
    )
    left = options.minutes * 60
    for place, kind in enumerate(kinds):
        began = time.time()
        folder = scratch / kind
        folder.mkdir()
        ends = supervise(kind, options.seed, options.inputs, began + left / (len(kinds) - place), folder)
        took = time.time() - began
        left -= took
        counts = {end: sum(found == end for _, found in ends) for end in ("taken", "refused")}
        bad = [(number, end) for number, end in ends if end not in counts]
        tried, failed = tried + len(ends), failed + len(bad)
        rate = len(ends) / max(took, 1e-9)
        print(
            f"| {kind} | {len(ends)} | {counts['taken']} | {counts['refused']} | {len(bad)} | {rate:.0f} |",
            flush=True,
        )
        for number, end in bad[:20]:
            print(
                f"--kind {kind} --seed {options.seed} --only {number}: {end.strip().splitlines()[-1]}",
                file=sys.stderr,
            )
    print(f"\n{tried} inputs, {failed} failures")
    return int(failed > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
