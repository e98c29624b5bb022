"""Align deep temporal stacks of satellite scenes to one anchor scene."""

from coregstack import accessor as _accessor  # noqa: F401  (registers `DataArray.coreg`)
from coregstack._version import __version__
from coregstack.api import align, apply, estimate, open_scenes
from coregstack.cube.write import to_zarr
from coregstack.errors import CoregError
from coregstack.export.tables import read_quality, write_quality
from coregstack.export.ties import write_ties
from coregstack.orders.run import open_order, run_order
from coregstack.run.appending import append
from coregstack.run.scenes import run_scenes, to_geotiffs
from coregstack.show.inspection import inspect_folder
from coregstack.show.report import report
from coregstack.show.tiepoints import tie_points
from coregstack.stack.anchor import rank_anchors
from coregstack.stack.stac import open_stac

__all__ = [
    "CoregError",
    "__version__",
    "align",
    "append",
    "apply",
    "estimate",
    "inspect_folder",
    "open_order",
    "open_scenes",
    "open_stac",
    "rank_anchors",
    "read_quality",
    "report",
    "run_order",
    "run_scenes",
    "tie_points",
    "to_geotiffs",
    "to_zarr",
    "write_quality",
    "write_ties",
]
