"""Acquisition times that names and metadata tell, under the name that they are documented by."""

from coregstack.untrusted.times import time_from_name, time_from_text

__all__ = ["time_from_name", "time_from_text"]
