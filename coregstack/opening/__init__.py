"""From headers, or STAC items, to a lazy stack; and back from a stack to its files."""
