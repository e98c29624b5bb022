"""What each date of a lazy stack is made from, as one short text: equal again in another process.

What a task does is read from dask's classes for tasks, which have no public names: `dask._task_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, GraphNode, Task, convert_legacy_graph
from dask.core import toposort
from dask.highlevelgraph import HighLevelGraph
from dask.tokenize import TokenizationError, tokenize


def date_fingerprints(arrays: Sequence[da.Array], options: object, dates: Sequence[object]) -> list[str]:
    """Fingerprint every date of some lazy arrays without computing them.

    A date's fingerprint covers all tasks that its blocks are made from. The names of arrays are
    left out wherever a task says by itself what it does: a name covers the whole stack, so it
    would change for every date whenever one date does.

    Parameters
    ----------
    arrays : sequence of dask.array.Array
        Arrays whose first axis is time, of equal length.
    options : object
        What else all dates depend on.
    dates : sequence of object
        What else each date depends on, one for each time.

    Returns
    -------
    list of str
        One fingerprint for each date.

    Examples
    --------
    >>> x = da.from_array(np.arange(6).reshape(3, 2), chunks=(1, 2))
    >>> y = da.from_array(np.array([[0, 1], [9, 9], [4, 5]]), chunks=(1, 2))
    >>> before, after = (date_fingerprints([a + 1], "v1", ["a", "b", "c"]) for a in (x, y))
    >>> [old == new for old, new in zip(before, after)]
    [True, False, True]
    """
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    hashes = _hashes(convert_legacy_graph(graph.to_dict()))
    parts: list[list[object]] = [[options, date] for date in dates]
    for array in arrays:
        start = 0
        for block, size in enumerate(array.chunks[0]):
            rest = product(*(range(count) for count in array.numblocks[1:]))
            token = tokenize(*(hashes[(array.name, block, *position)] for position in rest), size)
            for offset in range(size):
                parts[start + offset].append((token, offset))
            start += size
    return [tokenize(*part) for part in parts]


def _hashes(graph: Mapping[Any, GraphNode]) -> dict[Any, str]:
    dependencies = {key: set(node.dependencies) for key, node in graph.items()}
    hashes: dict[Any, str] = {}
    for key in toposort(graph, dependencies=dependencies):
        hashes[key] = _hash(key, graph[key], {d: hashes[d] for d in dependencies[key]})
    return hashes


def _hash(key: Any, node: GraphNode, inputs: dict[Any, Any]) -> str:
    # A task without inputs reads something outside the graph, such as a file, whose state only
    # its name knows; the same holds for objects that stand for a file.
    if isinstance(node, Task) and not inputs:
        return str(key)
    if isinstance(node, DataNode) and not isinstance(node.value, np.ndarray | np.generic):
        return str(key)
    content: Any = node.substitute(inputs, key="-")
    if isinstance(node, DataNode) and node.value.dtype.hasobject:
        # objects know best what they are; in an array they would only be pickled
        content = [node.value.shape, *node.value.flat]
    try:
        return tokenize(content, ensure_deterministic=True)
    except TokenizationError:
        return tokenize(str(key), sorted(inputs.values()))
