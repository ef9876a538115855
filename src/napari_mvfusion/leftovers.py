"""What runs and writes that were killed left behind: found, and removed where no living process holds its place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.finishing import partial_folder, removing_path
from napari_mvfusion.locks import holder, is_lock, lock_path, locked
from napari_mvfusion.workspace import discard, is_unfinished_run, writing

_MADE = re.compile(r"\.(?P<name>.+)\.(?:writing-\d+|replaced-\d+|mvfusion-removing|lock)")
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Leftover:
    """What lies beside one output, or in its place's stead.

    Attributes
    ----------
    output : the file or folder that was to be made
    paths : what is left of it
    size : bytes of all of them
    unfinished : whether there is a run among them that `--resume` goes on with
    holder : the living process that writes there, or None
    """

    output: Path
    paths: tuple[Path, ...]
    size: int
    unfinished: bool
    holder: str | None


def find_leftovers(folder: str | Path) -> list[Leftover]:
    """Look through a folder and those in it, but not into volumes.

    Raises
    ------
    OutputError
        If it is no folder.
    """
    folder = Path(folder)
    found: dict[Path, list[Path]] = {}
    with writing(folder):
        for output, path in _walk(folder):
            found.setdefault(output, []).append(path)
    return [
        Leftover(
            output,
            tuple(sorted(paths)),
            sum(_size(path) for path in paths),
            partial_folder(output) in paths,
            holder(output),
        )
        for output, paths in sorted(found.items())
    ]


def remove_leftover(leftover: Leftover, *, unfinished: bool = False) -> None:
    """Remove what is left of an output. What it was about to replace is put back.

    Parameters
    ----------
    leftover : as `find_leftovers` has found it
    unfinished : also discard a run that could be resumed

    Raises
    ------
    OutputError
        If a living process writes there, or something cannot be removed.
    """
    with writing(leftover.output), locked(leftover.output):
        sweep(leftover.output)
        if unfinished and is_unfinished_run(partial_folder(leftover.output)):
            discard(leftover.output)


def sweep(output: Path) -> None:
    """Remove what killed writes of one output left, but for unfinished runs. Whoever calls this holds its lock.

    An old version that was set aside, while there is neither that nor a new one in its place, is put back.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    beside = [path for path in output.parent.iterdir() if _output_of(path) == output]
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


def _walk(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Go through a folder: (output, what is left of it)."""
    for path in sorted(folder.iterdir()):
        output = _output_of(path)
        if output is not None and (path != lock_path(output) or is_lock(path)):
            yield output, path
        elif path.is_symlink() or not path.is_dir():
            continue
        elif is_unfinished_run(path):
            yield path.with_name(path.name.removesuffix(_PARTIAL)), path
        elif path.suffix.lower() != ".zarr":
            yield from _walk(path)


def _output_of(path: Path) -> Path | None:
    """The output that a file or folder was to become or to make room for, by its name."""
    match = _MADE.fullmatch(path.name)
    if match is None:
        return None
    output = path.with_name(match["name"])
    return output if path.name != removing_path(output).name or path.is_dir() else None


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.stat().st_size
