"""The Zarr cube of an aligned stack: its template, its dates, its journal."""
