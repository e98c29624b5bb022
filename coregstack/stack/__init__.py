"""What counts as a stack: arrays brought into one form, or opened from files."""
