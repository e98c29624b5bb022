"""Whole runs: scenes in, files or a cube out, and what was done."""
