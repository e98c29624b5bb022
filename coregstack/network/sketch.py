"""Description of an item by its reduced image: what it looks like, and how much of the stack's area it
covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from coregstack.kernels.descriptor import Descriptor, describe

SKETCH_SIDE = 384
"""Longest side of the reduced images by which items are compared, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """Description of an item by its reduced image, over the area of the whole stack."""

    descriptor: Descriptor
    """Its `clear` is the usable share of the stack's area."""
    covered: float
    """Share of the stack's area that the item covers with valid pixels."""

    @property
    def clear(self) -> float:
        """Usable share of what the item covers."""
        return self.descriptor.clear / self.covered if self.covered > 0 else 0.0


def sketch(values: NDArray[Any], usable: NDArray[Any], valid: NDArray[Any]) -> Sketch:
    """Describe an item by its reduced image.

    Parameters
    ----------
    values : NDArray
        Shape (y, x): block means over the area of the stack.
    usable, valid : NDArray
        Shape (y, x): which part of each block is valid and clear, and which is valid, 0 to 1.
    """
    return Sketch(descriptor=describe(values, usable), covered=float(valid.mean()) if valid.size else 0.0)
