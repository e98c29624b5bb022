"""Align deep temporal stacks of satellite scenes to one anchor scene."""

from coregstack import accessor as _accessor  # noqa: F401  (registers `DataArray.coreg`)
from coregstack._version import __version__
from coregstack.api import align, apply, estimate, open_scenes
from coregstack.errors import CoregError

__all__ = ["CoregError", "__version__", "align", "apply", "estimate", "open_scenes"]
