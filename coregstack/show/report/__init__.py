"""One HTML file that shows what was done with every item, and lets a person judge it."""

from coregstack.show.report.page import report

__all__ = ["report"]
