"""The only door to files, and the pixels of scenes on a lattice."""
