"""Align deep temporal stacks of satellite scenes to one anchor scene."""

from coregstack import accessor as _accessor  # noqa: F401  (registers `DataArray.coreg`)
from coregstack._version import __version__
from coregstack.anchoring import rank_anchors
from coregstack.api import align, apply, estimate, open_scenes
from coregstack.appending import append
from coregstack.errors import CoregError
from coregstack.export.cube import to_zarr
from coregstack.export.tables import read_quality, write_quality
from coregstack.export.ties import write_ties
from coregstack.htmlreport import report
from coregstack.inspection import inspect_folder
from coregstack.opening.stac import open_stac
from coregstack.orders.run import open_order, run_order
from coregstack.runs import run_scenes, to_geotiffs
from coregstack.views.tiepoints import tie_points

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
