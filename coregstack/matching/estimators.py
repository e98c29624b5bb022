"""Which estimator tells a shift: by name, or one of a user's own; checked, and told apart from others."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import cloudpickle
from dask.base import tokenize

from coregstack.errors import InvalidRequest, one_line
from coregstack.matching.choices import ESTIMATORS, Estimator
from coregstack.model import WindowEstimator

OWN: Estimator = "coregstack"
"""Name of coregstack's own estimator."""


def checked_estimator(estimator: object) -> None:
    """Refuse what is no estimator, or could not be sent to a worker.

    Raises
    ------
    InvalidRequest
        If it is neither one of the names nor a function of two windows that can be pickled.
    """
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        return
    expected = f"estimator is one of {', '.join(ESTIMATORS)}, or a function of two windows"
    if not callable(estimator):
        raise InvalidRequest(f"{expected}, not {estimator!r}.")
    if isinstance(estimator, type):
        raise InvalidRequest(f"{expected}, not a class: pass an instance, as {estimator.__name__}().")
    name = estimator_name(estimator)
    try:
        inspect.signature(estimator).bind(None, None)
    except TypeError as error:
        raise InvalidRequest(
            f"{expected}; {name} cannot be called with the anchor's window and the item's alone: {error}."
        ) from None
    except ValueError:
        pass  # some built-in functions do not tell what they take
    try:
        cloudpickle.dumps(estimator)
    except Exception as error:
        raise InvalidRequest(
            f"The estimator {name} cannot be pickled ({type(error).__name__}: {error}), so no worker could call it. "
            "Make what it holds (a session, a lock, a model on a GPU) when it is first called, not before."
        ) from error


def estimator_name(estimator: str | WindowEstimator) -> str:
    """What an estimator is called in sidecars and messages.

    Examples
    --------
    >>> estimator_name("phase"), estimator_name(functools.partial(checked_estimator))
    ('phase', 'coregstack.matching.estimators.checked_estimator')
    """
    if isinstance(estimator, str):
        return estimator
    known: Any = estimator
    while isinstance(known, functools.partial):
        known = known.func
    named = known if hasattr(known, "__qualname__") else type(known)
    return one_line(f"{named.__module__}.{named.__qualname__}")


def estimator_identity(estimator: str | WindowEstimator) -> tuple[str, ...]:
    """What tells an estimator from another one in the notes of runs: its name, and what dask takes it for."""
    name = estimator_name(estimator)
    return (name,) if isinstance(estimator, str) else (name, str(tokenize(estimator)))
