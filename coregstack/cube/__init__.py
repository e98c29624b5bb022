"""The Zarr cube of an aligned stack: its template, its dates, what it remembers of how it was made."""
