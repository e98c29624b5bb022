"""Layouts of products: which files are one acquisition, what they hold, and what they are called."""
