"""What comes from outside: names, times and JSON, checked before anything else sees them."""
