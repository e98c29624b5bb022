"""Lattices and boxes, outlines of what is valid, and where both lie on the globe."""
