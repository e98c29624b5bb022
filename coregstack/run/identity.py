"""What the results of a run depend on, so that the next one knows what is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from dask.base import tokenize
from odc.geo.geobox import GeoBox

from coregstack.export.contents import file_digest, sample_digest
from coregstack.matching.estimators import OWN, estimator_identity
from coregstack.matching.options import MatchSettings
from coregstack.pixels.scene import Scene

_THREADS = 8


def run_fingerprint(
    anchor: Scene,
    scenes: Sequence[Scene],
    match: MatchSettings,
    lattice: GeoBox | None = None,
    references: Mapping[str, Scene] | None = None,
) -> tuple[tuple[str, str], ...]:
    """What all items of a run depend on, by name; where they are adjusted together each depends on all others.

    `lattice` is that of the output, where it does not follow from the anchor alone; `references` are the images that
    the datum names.
    """
    options = {one.name: getattr(match, one.name) for one in fields(match) if one.name != "estimator"}
    found = [
        ("anchor", str(tokenize(anchor, _samples([anchor])))),
        ("options", str(tokenize(sorted(options.items())))),
    ]
    if lattice is not None:
        found.append(("lattice", str(tokenize(lattice))))
    if references:
        images = list(references.values())
        found.append(("datum", str(tokenize(images, _samples(images)))))
    if match.estimator != OWN:
        found.append(("estimator", str(tokenize(estimator_identity(match.estimator)))))
    if match.together:
        found.append(("scenes", str(tokenize(list(scenes), _samples(scenes)))))
    return tuple(found)


def reference_digests(
    outside: Sequence[Scene], scenes: Sequence[Scene], match: MatchSettings
) -> tuple[tuple[str, str], ...]:
    """Path and SHA-256 of the files that every item of a run depends on: anchor, images of the datum, all scenes."""
    all_of = {scene.id: scene for scene in (*outside, *(scenes if match.together else ()))}.values()
    return tuple((path, file_digest(path, "sha256")) for path in _files_of(list(all_of)))


def _samples(scenes: Sequence[Scene]) -> list[str]:
    """Digests that distinguish files of the same size and time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(sample_digest, _files_of(scenes)))


def _files_of(scenes: Sequence[Scene]) -> list[str]:
    """Paths of the images and masks of scenes."""
    return [path for scene in scenes for path in scene.paths]
