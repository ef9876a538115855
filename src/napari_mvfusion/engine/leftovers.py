"""What runs and writes that were killed left behind: found, and removed where no living process holds its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.workspace import discard, is_unfinished_run
from napari_mvfusion.io.atomic import output_of, sweep, writing
from napari_mvfusion.io.formats import is_volume_folder
from napari_mvfusion.system.locks import holder, is_lock, lock_path, locked

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


def _walk(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Go through a folder: (output, what is left of it)."""
    for path in sorted(folder.iterdir()):
        output = output_of(path)
        if output is not None and (path != lock_path(output) or is_lock(path)):
            yield output, path
        elif path.is_symlink() or not path.is_dir():
            continue
        elif is_unfinished_run(path):
            yield path.with_name(path.name.removesuffix(_PARTIAL)), path
        elif not is_volume_folder(path):
            yield from _walk(path)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.stat().st_size
