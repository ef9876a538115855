"""The folder of an unfinished run: which tiles are safe, and the journal that a rerun goes on from.

Beside the output `fused.zarr` stands `fused.zarr.partial/` while the run lasts. A line is added to its journal only
after the tile it names has been written, so a run that is killed at any moment loses at most the tile it was on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_mvfusion.errors import OutputError

_JOURNAL = "journal.jsonl"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def partial_folder(out: Path) -> Path:
    """The folder that holds the unfinished run of an output."""
    return out.with_name(out.name + ".partial")


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
        if error.errno in _DISK_FULL or "requested and" in str(error):
            raise OutputError(
                f"the disk is full while writing {path}: free some space and run again with resume; "
                "the tiles that are finished are kept"
            ) from error
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def check_output(out: Path, *, overwrite: bool, resume: bool) -> None:
    """Look at the place of an output before any work.

    Raises
    ------
    OutputError
        If it exists and may not be overwritten, an unfinished run lies there that is not to be resumed, or its
        folder is missing or cannot be written.
    """
    partial = partial_folder(out)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already: choose another output, or allow it to be overwritten (--overwrite)")
    if partial.exists() and not (resume or overwrite):
        raise OutputError(
            f"{partial} holds an unfinished run of {out.name}: go on with it (--resume), or discard it (--overwrite)"
        )
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist: make it, or choose another output")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {out.parent} cannot be written: choose another one, or change its permissions")


class Workspace:
    """The folder of one unfinished run.

    Parameters
    ----------
    out : the output that the run will make
    fingerprint : identifies the recipe; a run goes on only where it is the same
    resume : go on with an unfinished run when there is one
    overwrite : discard an unfinished run when there is one and it is not to be resumed

    Raises
    ------
    OutputError
        If the folder cannot be made, or the unfinished run in it was made with another recipe.
    """

    def __init__(self, out: Path, fingerprint: str, *, resume: bool, overwrite: bool) -> None:
        self.out = out
        self.folder = partial_folder(out)
        self._journal = self.folder / _JOURNAL
        self.entries: list[dict[str, Any]] = []
        if self.folder.exists() and resume:
            self.entries = self._read()
            if self.entries and self.entries[0].get("fingerprint") != fingerprint:
                if not overwrite:
                    raise OutputError(
                        f"the unfinished run in {self.folder} used other views, parameters or software: "
                        "repeat it as it was, choose another output, or discard it (--overwrite without --resume)"
                    )
                self.entries = []
        if not self.entries:
            with writing(self.folder):
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                self.folder.mkdir()
            self.log({"fingerprint": fingerprint})

    @property
    def plan(self) -> dict[str, Any] | None:
        """The plan that the unfinished run was started with, or None in a new run."""
        return next((entry["plan"] for entry in self.entries if "plan" in entry), None)

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the journal and make sure that it is on the disk."""
        with writing(self._journal), self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)

    def discard(self) -> None:
        """Remove the folder: the run is complete, or not wanted."""
        shutil.rmtree(self.folder)

    def _read(self) -> list[dict[str, Any]]:
        """The journal's complete lines; a last line that was cut off by a kill is dropped from the file too."""
        try:
            text = self._journal.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        complete = text[: text.rfind("\n") + 1]
        entries = []
        for line in complete.splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise OutputError(
                    f"the journal {self._journal} is damaged: discard the unfinished run (--overwrite)"
                ) from error
        if complete != text:
            self._journal.write_text(complete, encoding="utf-8")
        return entries
