"""Reading of raster files, and the pixels of scenes on a lattice."""
