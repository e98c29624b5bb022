"""Align deep temporal stacks of satellite scenes to one anchor scene.

What the names below stand for is loaded when one of them is first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from coregstack._version import __version__
from coregstack.accessor import register as _register_accessors
from coregstack.errors import CoregError

if TYPE_CHECKING:
    from coregstack.api import align, apply, estimate, open_scenes
    from coregstack.cube.opened import open_zarr
    from coregstack.cube.write import to_zarr
    from coregstack.export.tables import read_quality, write_quality
    from coregstack.export.ties import write_ties
    from coregstack.orders.run import open_order, run_order
    from coregstack.run.new_dates import append
    from coregstack.run.scenes import run_scenes, to_geotiffs, to_vrt
    from coregstack.show.inspection import inspect_folder
    from coregstack.show.report import report
    from coregstack.show.tiepoints import tie_points
    from coregstack.stack.anchor import rank_anchors
    from coregstack.stack.changing import change_sigma
    from coregstack.stack.heights import height_error
    from coregstack.stack.stac import open_stac

__all__ = [
    "CoregError",
    "__version__",
    "align",
    "append",
    "apply",
    "change_sigma",
    "estimate",
    "height_error",
    "inspect_folder",
    "open_order",
    "open_scenes",
    "open_stac",
    "open_zarr",
    "rank_anchors",
    "read_quality",
    "report",
    "run_order",
    "run_scenes",
    "tie_points",
    "to_geotiffs",
    "to_vrt",
    "to_zarr",
    "write_quality",
    "write_ties",
]

_HOMES = {
    "coregstack.api": ("align", "apply", "estimate", "open_scenes"),
    "coregstack.cube.opened": ("open_zarr",),
    "coregstack.cube.write": ("to_zarr",),
    "coregstack.export.tables": ("read_quality", "write_quality"),
    "coregstack.export.ties": ("write_ties",),
    "coregstack.orders.run": ("open_order", "run_order"),
    "coregstack.run.new_dates": ("append",),
    "coregstack.run.scenes": ("run_scenes", "to_geotiffs", "to_vrt"),
    "coregstack.show.inspection": ("inspect_folder",),
    "coregstack.show.report": ("report",),
    "coregstack.show.tiepoints": ("tie_points",),
    "coregstack.stack.anchor": ("rank_anchors",),
    "coregstack.stack.changing": ("change_sigma",),
    "coregstack.stack.heights": ("height_error",),
    "coregstack.stack.stac": ("open_stac",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_ROOMS = frozenset({"api", "model", "result", "testing"})
"""Modules that `coregstack.NAME` gives, whether or not they were imported."""

_register_accessors()


def __getattr__(name: str) -> _Any:
    if name in _HOME:
        value = getattr(_import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
