"""Samples whose truth is known exactly: a landscape, scenes of it, a stack, a delivered order.

They serve the demo, the tests of coregstack and the tests of those who build on it.
"""

from coregstack.testing.landscape import BAND_NAMES, landscape, reflectance
from coregstack.testing.order import SampleOrder, find_sample_order, write_sample_order
from coregstack.testing.scenes import Conditions, SampleScene, scene_at, shifted_scene
from coregstack.testing.stack import sample_stack

__all__ = [
    "BAND_NAMES",
    "Conditions",
    "SampleOrder",
    "SampleScene",
    "find_sample_order",
    "landscape",
    "reflectance",
    "sample_stack",
    "scene_at",
    "shifted_scene",
    "write_sample_order",
]
