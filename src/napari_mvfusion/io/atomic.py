"""Files and folders that are written aside and renamed when they are complete, and what killed writes left of such."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_mvfusion.addresses import address_of, flaw_of
from napari_mvfusion.errors import DiskFullError, OutputError
from napari_mvfusion.system.locks import lock_path, locked

_TRIES = 4
_PAUSE_SECONDS = 0.05
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MADE = re.compile(r"\.(?P<name>.+)\.(?:writing-\d+|replaced-\d+|mvfusion-removing|lock)")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write into words.

    Raises
    ------
    OutputError
        When the disk is full or the place cannot be written; the message names the path and the fix.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        # numpy, which tifffile writes with, gives no number but these words.
        if error.errno in DISK_FULL or "requested and" in str(error):
            raise DiskFullError(path, too_long=error.errno == errno.EFBIG) from error
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def check_on_disk(out: Path) -> None:
    """Look at the name of an output.

    Raises
    ------
    OutputError
        If it is an address.
    """
    if address_of(out) is not None or flaw_of(out):
        raise OutputError(f"{out} is an address, and results are written to disks only: choose a path of this computer")


def check_place(out: Path) -> None:
    """Look at the folder of an output before any work.

    Raises
    ------
    OutputError
        If it is missing or cannot be written.
    """
    check_on_disk(out)
    _check_folder(out.parent, "output")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {out.parent} cannot be written: choose another one, or change its permissions")


def _check_folder(folder: Path, what: str) -> None:
    """Raise unless something can lie in a folder."""
    if folder.is_dir():
        return
    file = next((place for place in (folder, *folder.parents) if place.is_file()), None)
    if file is not None:
        raise OutputError(f"{file} is a file, in which no other file can lie: choose another {what}")
    raise OutputError(f"the folder {folder} does not exist: make it, or choose another {what}")


def check_new(path: Path, *, overwrite: bool) -> None:
    """Look at the place of a file before any work.

    Raises
    ------
    OutputError
        If it exists and may not be overwritten, or its folder is missing or cannot be written.
    """
    check_place(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already: choose another name, or allow it to be overwritten")


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
    check_on_disk(path)
    _check_folder(path.parent, "place")
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


def moved_in(new: Path, path: Path, *, below: Path) -> None:
    """Put a finished file into its place, and make the folders in which it lies, but none above `below`.

    Raises
    ------
    FileNotFoundError
        If `new`, or the folder `below`, is there no more.
    """
    for folder in reversed(path.relative_to(below).parents[:-1]):
        (below / folder).mkdir(exist_ok=True)
    os.replace(new, path)


def sweep(output: Path) -> None:
    """Remove what killed writes of one output left, but for unfinished runs. Whoever calls this holds its lock.

    An old version that was set aside, while there is neither that nor a new one in its place, is put back.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    beside = [path for path in output.parent.iterdir() if output_of(path) == output]
    old = [path for path in beside if path.name.startswith(f".{output.name}.replaced-")]
    if old and not os.path.lexists(output):
        old[-1].rename(output)
    for path in beside:
        if path != lock_path(output):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, whether it is there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def recipe_path(out: str | Path) -> Path:
    """Where the recipe of an output lies: beside it, `fused.zarr.recipe.json`."""
    path = Path(out)
    return path.with_name(path.name + ".recipe.json")


def removing_path(out: Path) -> Path:
    """What the folder is called while it is removed."""
    return out.with_name(f".{out.name}.mvfusion-removing")


def output_of(path: Path) -> Path | None:
    """The output that a file or folder was to become or to make room for, by its name."""
    match = _MADE.fullmatch(path.name)
    if match is None:
        return None
    output = path.with_name(match["name"])
    return output if path.name != removing_path(output).name or path.is_dir() else None
