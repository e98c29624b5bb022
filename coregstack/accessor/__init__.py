"""Puts `da.coreg` and `quality.coreg` on xarray's objects, without loading xarray for those who do not use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from coregstack.accessor.methods import CoregAccessor, QualityAccessor


def register() -> None:
    """Register the accessors: now, or as soon as xarray has been imported."""
    if "xarray" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Watch())


def _register() -> None:
    import xarray as xr

    xr.register_dataarray_accessor("coreg")(_of_stack)
    xr.register_dataset_accessor("coreg")(_of_quality)


def _of_stack(array: xr.DataArray) -> CoregAccessor:
    """The functions of coregstack as methods of a stack; see `coregstack.accessor.methods.CoregAccessor`."""
    from coregstack.accessor.methods import CoregAccessor

    return CoregAccessor(array)


def _of_quality(quality: xr.Dataset) -> QualityAccessor:
    """A quality as a table, as plots and as a report; see `coregstack.accessor.methods.QualityAccessor`."""
    from coregstack.accessor.methods import QualityAccessor

    return QualityAccessor(quality)


class _Watch(MetaPathFinder):
    """Finds xarray as others do, and hands it on with a loader that registers at its end."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "xarray":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(spec.loader, self)
        return spec


class _Registering(Loader):
    """Another loader, after which the accessors are registered."""

    def __init__(self, loader: Loader, watch: _Watch) -> None:
        self._loader = loader
        self._watch = watch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        with suppress(ValueError):
            sys.meta_path.remove(self._watch)
        _register()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def __getattr__(name: str) -> Any:
    if name in ("CoregAccessor", "QualityAccessor"):
        from coregstack.accessor import methods

        return getattr(methods, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
