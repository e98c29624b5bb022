"""What an installation weighs: each package that coregstack needs, and for the sake of which of its own dependencies.

``python benchmarks/size.py`` looks at the environment that it runs in. Extras are left out.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "coregstack"


def needs(package: Distribution, extras: frozenset[str]) -> list[Requirement]:
    """What a package requires in this environment."""
    found = [Requirement(text) for text in package.requires or ()]
    return [
        r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras or {""})
    ]


def reached(requirement: Requirement, seen: set[str]) -> set[str]:
    """The packages that one requirement brings, without those in `seen`."""
    name = canonicalize_name(requirement.name)
    if name in seen:
        return set()
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return set()
    found = {name}
    for further in needs(package, frozenset({"", *requirement.extras})):
        found |= reached(further, seen | found)
    return found


def megabytes(name: str) -> float:
    """Size of a package's files on disk, with bytecode where it was written."""
    files = distribution(name).files or ()
    paths = {Path(str(file.locate())) for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


def main() -> None:
    """Print a line for each dependency: its own size, and what would go if it alone went."""
    direct = needs(distribution(NAME), frozenset())
    brought = {canonicalize_name(r.name): reached(r, set()) for r in direct}
    everything = set().union(*brought.values())
    size = {name: megabytes(name) for name in everything}
    print(
        f"{'dependency':16} {'itself':>8} {'only for it':>12}   MB; the last with all that nothing else needs"
    )
    rows = []
    for name, packages in brought.items():
        others = set().union(*(found for other, found in brought.items() if other != name))
        rows.append((sum(size[p] for p in packages - others), size.get(name, 0.0), name))
    for alone, own, name in sorted(rows, key=lambda row: -row[1]):
        print(f"{name:16} {own:8.1f} {alone:12.1f}")
    print(f"{len(everything)} packages, {sum(size.values()):.0f} MB; largest: ", end="")
    print(", ".join(f"{n} {size[n]:.0f}" for n in sorted(size, key=size.__getitem__, reverse=True)[:6]))


if __name__ == "__main__":
    main()
