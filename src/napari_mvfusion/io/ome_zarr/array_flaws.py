"""What metadata of arrays have wrong once somebody edited them, where zarr only says that it cannot open them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_MOST_ARRAYS = 64
_MOST_BYTES = 2**20
_LONGEST_VALUE = 40


def flaw_in(path: Path) -> str:
    """What is wrong with the metadata of a local array, or of those in a group, with the fix; "" where nothing is found.

    Parameters
    ----------
    path : of the array or group
    """
    for file in _files(path):
        stated = _read(file)
        found = "" if stated is None else _fill_flaw(stated) or _shard_flaw(stated)
        if found:
            return f"{file} {found}"
    return ""


def _files(path: Path) -> list[Path]:
    """Files that describe arrays, of the place itself and those in it."""
    try:
        folders = [path, *sorted(path.iterdir())[:_MOST_ARRAYS]] if path.is_dir() else []
        files = [folder / name for folder in folders for name in ("zarr.json", ".zarray")]
        return [file for file in files if file.is_file() and file.stat().st_size <= _MOST_BYTES]
    except OSError:
        return []


def _read(file: Path) -> Mapping[str, Any] | None:
    """What a file says of an array, None where it is of none, or cannot be read."""
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return stated if isinstance(stated, Mapping) and ("data_type" in stated or "dtype" in stated) else None


def _fill_flaw(stated: Mapping[str, Any]) -> str:
    """A fill value that the type of the pixels cannot hold."""
    try:
        dtype = np.dtype(stated.get("data_type", stated.get("dtype")))
    except TypeError:
        return ""
    value = stated.get("fill_value")
    if value is None and "dtype" in stated:  # of zarr 2, where there may be none
        return ""
    if _fits(value, dtype):
        return ""
    return (
        f"gives pixels that were never written the value {json.dumps(value)[:_LONGEST_VALUE]} (fill_value), which "
        f"{dtype.name} cannot hold: correct it, 0 is usual"
    )


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return isinstance(value, bool) or value in (0, 1)
    if dtype.kind == "f":
        # Hexadecimal and base64 stand for bits.
        return isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool))
    if dtype.kind not in "iu":
        return True
    info = np.iinfo(dtype)
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
    return whole and info.min <= value <= info.max


def _shard_flaw(stated: Mapping[str, Any]) -> str:
    """Chunks inside of shards that are none, or do not fill these."""
    codecs = stated.get("codecs")
    for codec in codecs if isinstance(codecs, Sequence) else ():
        if not isinstance(codec, Mapping) or codec.get("name") != "sharding_indexed":
            continue
        inner, shard = _sizes(codec.get("configuration")), _sizes(_below(stated.get("chunk_grid"), "configuration"))
        if inner is None or shard is None:
            return "names no sizes of the chunks in its shards (chunk_shape): copy it again"
        shown = " x ".join(map(str, inner))
        if min(inner, default=0) < 1:
            return (
                f"says that the chunks in its shards have {shown} pixels, and none can have less than 1: copy it again"
            )
        if len(inner) != len(shard) or any(n % k for n, k in zip(shard, inner, strict=True)):
            return (
                f"says that shards of {' x '.join(map(str, shard))} pixels hold chunks of {shown}, which do not fill them: "
                "copy it again"
            )
    return ""


def _sizes(configuration: Any) -> list[int] | None:
    sizes = _below(configuration, "chunk_shape")
    right = isinstance(sizes, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
    return sizes if right else None


def _below(stated: Any, name: str) -> Any:
    return stated.get(name) if isinstance(stated, Mapping) else None
