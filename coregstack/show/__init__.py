"""What people look at: plots, tie points, the contents of a folder, the report."""
