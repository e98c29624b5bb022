"""Values that are made once and asked for again, within a budget of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Protocol, TypeVar


class Sized(Protocol):
    """What takes memory."""

    @property
    def nbytes(self) -> int:
        """How much, bytes."""


T = TypeVar("T", bound=Sized)
V = TypeVar("V")


def once(made: dict[Hashable, Any], key: Hashable, make: Callable[[], V]) -> V:
    """What is made when it is first asked for, and known from then on among what was `made`.

    Examples
    --------
    >>> made = {}
    >>> once(made, "five", lambda: 2 + 3), once(made, "five", lambda: 0)
    (5, 5)
    """
    if key not in made:
        made[key] = make()
    found: V = made[key]
    return found


class Kept:
    """Values by key; where the budget is exceeded, those that were not asked for longest are let go.

    Threads may share it: two that ask for the same at once may both make it, and get the same. It is pickled and
    copied empty, so that every process makes its own.

    Parameters
    ----------
    budget : int
        Bytes that are kept at most.

    Examples
    --------
    >>> import numpy as np
    >>> kept = Kept(1000)
    >>> for name in ("zeros", "zeros"):
    ...     values = kept.of(name, lambda: print("made") or np.zeros(3))
    made
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._size = budget, 0
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Kept], tuple[int]]:
        return Kept, (self._budget,)

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made now if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                found: T = self._values[key]
                return found
        made = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = made
                self._size += made.nbytes
            while self._size > self._budget and self._values:
                self._size -= self._values.popitem(last=False)[1].nbytes
        return made
