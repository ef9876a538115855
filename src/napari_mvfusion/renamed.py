"""Modules that were documented under another name: scripts that import them go on, and are told the new name.

What is no module is renamed where it stands: a parameter in its function, a key in what reads it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Old module: the module that it is now, and those of its names that have changed too.
_MODULES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "napari_mvfusion.absorption": ("napari_mvfusion.measures.attenuation", {}),
    "napari_mvfusion.training.estimate": (
        "napari_mvfusion.training.resources",
        {"estimate": "estimate_resources", "Estimate": "ResourceEstimate"},
    ),
    "napari_mvfusion.training.events": ("napari_mvfusion.training.training_events", {"Lowered": "MemoryFallback"}),
}


class _OldModules(MetaPathFinder, Loader):
    """Finds modules by their old names, after everything else has been tried."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        now, names = _MODULES[module.__name__]
        warnings.warn(f"{module.__name__} is called {now} now", DeprecationWarning, stacklevel=2)
        current = importlib.import_module(now)
        module.__dict__["__getattr__"] = lambda name: getattr(current, names.get(name, name))


def install() -> None:
    """Let old names be imported; once is enough."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())
