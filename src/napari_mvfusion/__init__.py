"""Multi-view fusion of light-sheet microscopy volumes: open views, fuse them, measure and save the result.

The names are listed in `__init__.pyi`; each is imported when it is first used, as torch takes seconds to load.
"""

import importlib
import warnings

import lazy_loader

__version__ = "0.1.0"

# What was called otherwise in earlier versions: old name, and the module that it is now.
_RENAMED = {"absorption": "napari_mvfusion.measures.attenuation"}

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """A name of the package, imported when it is first used; old ones still work, with a warning."""
    if name in _RENAMED:
        now = _RENAMED[name]
        warnings.warn(f"{__name__}.{name} is called {now} now", DeprecationWarning, stacklevel=2)
        return importlib.import_module(now)
    found: object = _attached(name)
    return found
