"""Align deep temporal stacks of satellite scenes to one anchor scene."""

__version__ = "0.1.0"
