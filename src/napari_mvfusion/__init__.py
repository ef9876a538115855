"""Multi-view fusion of light-sheet microscopy volumes: open views, fuse them, measure and save the result.

The names are listed in `__init__.pyi`; each is imported when it is first used, as torch takes seconds to load.
"""

import os

import lazy_loader

from napari_mvfusion.renamed import install

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

install()

# A fresh tensor in pages of 4 KiB costs more than most work on it. torch asks for large ones if told so before the first.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
