"""What people see in a notebook: plots, tables, tie points."""
