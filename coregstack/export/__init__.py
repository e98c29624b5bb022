"""The files of one item: rasters, sidecar, notes, tables."""
