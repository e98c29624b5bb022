"""How far apart dates are within a year."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

YEAR = 365.2425
"""Days of a mean year of the Gregorian calendar."""


def season_apart(days: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Days between two dates within a year, whatever the years, for dates that are some days apart.

    Parameters
    ----------
    days : NDArray
        Of any shape, at least 0; not finite where one of the dates is not known.

    Returns
    -------
    NDArray
        Of the same shape, 0 to 183; infinite where a date is not known.

    Examples
    --------
    >>> season_apart(np.array([10, 360, 735, np.inf])).round().tolist()
    [10.0, 5.0, 5.0, inf]
    """
    known = np.isfinite(days)
    within = np.where(known, days, 0) % YEAR
    return np.where(known, np.minimum(within, YEAR - within), np.inf)
