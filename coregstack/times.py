"""Acquisition times from names and metadata, under their documented name."""

from coregstack.untrusted.times import time_from_name, time_from_text

__all__ = ["time_from_name", "time_from_text"]
