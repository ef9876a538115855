"""A journal of what is safe on the disk: lines of JSON, each with its checksum, and the digest of voxels."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def digest(values: np.ndarray) -> str:
    """A SHA-256 that tells whether voxels are those that were written; the shape counts too."""
    found = hashlib.sha256(str(values.shape).encode())
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add a line and make sure that it is on the disk.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = json.dumps(entry)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{_checksum(text)} {text}\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that are as they were written, and how many are not.

    A last line that was cut off by a kill counts for nothing; it is taken from the file, so that the next begins anew.
    Whoever calls this holds the lock of the output; others look.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    complete = content[: content.rfind(b"\n") + 1]
    if complete != content:
        path.write_bytes(complete)
    return _entries(complete)


def look(path: Path) -> list[dict[str, Any]]:
    """The lines that are as they were written, of a journal that somebody else may be writing: the file stays as it is."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return _entries(content[: content.rfind(b"\n") + 1])[0]


def _entries(complete: bytes) -> tuple[list[dict[str, Any]], int]:
    """What complete lines hold, and how many of them are damaged."""
    entries = []
    damaged = 0
    for line in complete.split(b"\n")[:-1]:
        entry = _entry(line)
        if entry is None:
            damaged += 1
        else:
            entries.append(entry)
    return entries, damaged


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line as it was written, or None."""
    checksum, _, text = line.decode("utf-8", "replace").partition(" ")
    if _checksum(text) != checksum:
        return None
    entry: dict[str, Any] = json.loads(text)
    return entry


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
