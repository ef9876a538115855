"""Libraries that read files of microscopes: no part of a plain installation, and loaded when such a file is opened."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import cause_of


class LibraryMissingError(InputError):
    """What reads a file is not installed."""


def library(name: str, file: Path, kind: str) -> Any:
    """A library, loaded.

    Parameters
    ----------
    name : of its module
    file : that is opened
    kind : of the file, which is the name of the extra too, for example "LIF"

    Raises
    ------
    LibraryMissingError
        If it is not installed, or cannot be loaded; says how to install it.
    """
    extra = f'pip install "napari-mvfusion[{kind.lower()}]", and begin anew'
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise LibraryMissingError(
            f"what reads {kind} files is not installed, so {file} cannot be opened: {extra}"
        ) from error
    except ImportError as error:
        raise LibraryMissingError(
            f"what reads {kind} files cannot be loaded ({cause_of(error)}), so {file} cannot be opened: {extra}"
        ) from error
