"""A list of limited length, for the problems of a file or folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from coregstack.untrusted.limits import PROBLEMS

T = TypeVar("T")


class LimitedList(Generic[T]):
    """A list that keeps the first entries and counts the rest, so that no file fills memory with its problems.

    Parameters
    ----------
    most : int, optional
        How many are kept; by default `coregstack.untrusted.limits.PROBLEMS`.

    Examples
    --------
    >>> problems = LimitedList(2)
    >>> problems.extend(["a", "b", "c", "d"])
    >>> problems.closed(lambda more: f"and {more} more")
    ('a', 'b', 'and 2 more')
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = PROBLEMS() if most is None else most
        self._kept: list[T] = []
        self._more = 0

    def append(self, entry: T) -> None:
        """Keep an entry, or count it."""
        if len(self._kept) < self._most:
            self._kept.append(entry)
        else:
            self._more += 1

    def extend(self, entries: Iterable[T]) -> None:
        """Keep or count each of some entries."""
        for entry in entries:
            self.append(entry)

    def __iadd__(self, entries: Iterable[T]) -> LimitedList[T]:
        self.extend(entries)
        return self

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def closed(self, rest: Callable[[int], T]) -> tuple[T, ...]:
        """What was kept, and at the end, if there were more, what `rest` makes of their number."""
        return (*self._kept, *([rest(self._more)] if self._more else ()))
