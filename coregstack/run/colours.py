"""Colours of the states in notebooks, plots and reports: those of Okabe and Ito, which colour-blind readers tell apart.

The anchor has a grey that is seen on light and on dark.
"""

from __future__ import annotations

from coregstack.model import Status

COLOURS = {
    Status.COREGISTERED: "#009e73",
    Status.ALREADY_ALIGNED: "#56b4e9",
    Status.NO_IMPROVEMENT: "#e69f00",
    Status.FAILED: "#d55e00",
    Status.ANCHOR: "#777777",
}
"""Colour of each state."""

ON_DARK = COLOURS | {Status.COREGISTERED: "#1fbf92", Status.FAILED: "#f0803c"}
"""The same for pages in dark mode."""
