"""The version of the package, also where it must be known before the package is loaded."""

__version__ = "0.1.0"
