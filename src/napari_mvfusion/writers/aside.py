"""Files and folders that are written aside and renamed when they are complete."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_mvfusion.errors import OutputError
from napari_mvfusion.leftovers import remove, sweep
from napari_mvfusion.locks import locked
from napari_mvfusion.workspace import writing

_TRIES = 4
_PAUSE_SECONDS = 0.05


@contextmanager
def written_aside(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a name beside `path` to write to; on success it takes the place of `path`, on failure it is removed.

    What stood at `path` is removed only after the new one is complete.

    Raises
    ------
    OutputError
        If `path` exists and may not be overwritten, its folder is missing, or writing fails.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: make it, or choose another place")
    with writing(path), locked(path):
        sweep(path)
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already: choose another name, or allow it to be overwritten")
        aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
        try:
            yield aside
            replace(aside, path)
        except BaseException:
            # Threads of zarr may still write chunks of a write that failed.
            for _ in range(_TRIES):
                remove(aside)
                time.sleep(_PAUSE_SECONDS)
            raise


def replace(new: Path, path: Path) -> None:
    """Put a finished file or folder into its place; the old one leaves last."""
    if not path.is_dir():
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name}.replaced-{os.getpid()}")
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    remove(old)
