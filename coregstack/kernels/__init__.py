"""Numbers in, numbers out: numpy and numba, no dask, no files."""
