"""One item against another: its shift, its scores, and what is decided from them."""
