"""What may be asked for, and what is taken where nothing is said: names and numbers that need nothing loaded."""

from __future__ import annotations

METHODS = ("direct", "network")
"""Ways to estimate: each item with the anchor only, or with some others as well, and all pairs adjusted."""

RESAMPLING = ("cubic", "bilinear", "lanczos", "nearest")
"""Interpolations that pixels can be moved with."""

SCORE_THRESHOLD = 0.8
"""An item whose score before is at or above this is already aligned."""

MIN_IMPROVEMENT = 0.001
"""A shift is applied only if it improves the score by at least this much."""
