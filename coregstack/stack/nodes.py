"""The nodes on which an aligned stack, and the cube that is written of it, tell a displacement."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISPLACEMENT = {
    "displacement_y": "shift to apply at each place, down the rows",
    "displacement_x": "shift to apply at each place, along the columns",
    "displacement_sigma": "1 sigma of the displacement along either axis",
}
"""Variables of a displacement on its control lattice, and what they are."""
NODES = "coregstack_nodes"
"""Attribute of an aligned stack: on which nodes its displacement is told, as `stack.measured.nodes_on` gives them."""
_MOST = 1 << 22


def nodes_of(attrs: Mapping[Hashable, Any]) -> dict[str, NDArray[np.float64]] | None:
    """Map coordinates of the nodes of an aligned stack by dim, as its attributes tell them; None if they do not.

    Examples
    --------
    >>> nodes_of({NODES: "2 3 90.0 0.0 -10.0 10.0"})
    {'lattice_y': array([90., 80.]), 'lattice_x': array([ 0., 10., 20.])}
    """
    try:
        rows, cols, y, x, down, along = str(attrs.get(NODES, "")).split()
        if not 0 < int(rows) * int(cols) <= _MOST:
            return None
        return {
            "lattice_y": float(y) + float(down) * np.arange(int(rows), dtype=np.float64),
            "lattice_x": float(x) + float(along) * np.arange(int(cols), dtype=np.float64),
        }
    except ValueError:
        return None
