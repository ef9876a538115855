"""Inert stand-ins for what the pickles of checkpoints hold, each checked when it is made.

They are made from arguments that nobody has looked at, so every function here takes anything and raises `ValueError`
for what is damaged and `Refused` for what weights never need.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

_KINDS = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
STORAGES = {f"{place}.{kind}Storage": dtype for place in ("torch", "torch.cuda") for kind, dtype in _KINDS.items()}
_SCALAR = re.compile(r"[fiub][1248]")
_LONGEST_SCALAR = 8
_LONGEST_TEXT = 1000
_LARGEST = 2**48
_MOST_VALUES = 10_000
_MOST_AXES = 8
_DEEPEST = 20


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A pickle asks for something that weights never need."""


@dataclass(frozen=True)
class Storage:
    """Numbers that stand elsewhere in the file.

    Attributes
    ----------
    key : finds them
    dtype : of each
    count : how many
    start : how many numbers of those under the key come before
    total : how many stand under the key
    """

    key: str
    dtype: torch.dtype
    count: int
    start: int
    total: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor whose numbers have not been read; it lies within its storage.

    Attributes
    ----------
    storage : holds its numbers
    offset : of its first number in the storage
    size, stride : as in torch
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Namespace:
    """Stands for an `argparse.Namespace`."""

    values: dict[Any, Any] = field(default_factory=dict)


@dataclass
class NumpyType:
    """Stands for a `numpy.dtype` of a scalar."""

    code: str
    order: str = "="


def ordered_dict() -> OrderedDict[Any, Any]:
    """An empty dictionary; what an own one takes at its start would not be checked."""
    return OrderedDict()


def storage(kind: Any, key: Any, total: Any) -> Storage:
    """All numbers under a key; `kind` is the full name of its class in torch."""
    if kind not in STORAGES or not isinstance(key, str):
        raise ValueError("a storage is not described as one")
    _check_counts(total)
    return Storage(key, STORAGES[kind], total, 0, total)


def part(whole: Storage, view: Any = None) -> Storage:
    """A part of a storage, where `view` is the key of the part, its start and its count; the whole for None."""
    if view is None:
        return whole
    if not isinstance(view, tuple) or len(view) != 3:
        raise ValueError("a part of a storage is not described as one")
    _, start, count = view
    _check_counts(start, count)
    if start + count > whole.total:
        raise ValueError("a part of a storage reaches beyond its end")
    return Storage(whole.key, whole.dtype, count, start, whole.total)


def tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
    """A tensor that lies within its storage."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise ValueError("a tensor is not described as one")
    if len(size) != len(stride) or len(size) > _MOST_AXES:
        raise ValueError("the strides of a tensor do not fit its size")
    _check_counts(offset, *size, *stride)
    if math.prod(max(n, 1) for n in size) > _LARGEST:
        raise ValueError("a tensor is too large")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= storage.count or count > storage.count):
        raise ValueError("a tensor reaches beyond the end of its storage")
    return TensorRef(storage, offset, size, stride)


def parameter(data: Any, *_: Any) -> TensorRef:
    """The tensor of a parameter."""
    if not isinstance(data, TensorRef):
        raise ValueError("a parameter is not a tensor")
    return data


def size(values: Any) -> tuple[int, ...]:
    """A `torch.Size`."""
    if not isinstance(values, tuple | list) or len(values) > _MOST_AXES:
        raise ValueError("a size is not described as one")
    _check_counts(*values)
    return tuple(values)


def numpy_type(code: Any, *_: Any) -> NumpyType:
    """A `numpy.dtype` of numbers."""
    if not isinstance(code, str) or not _SCALAR.fullmatch(code):
        raise Refused("it holds a type of numpy that is no number")
    return NumpyType(code)


def encoded(text: Any, encoding: Any) -> bytes:
    """The bytes of a scalar, which old pickles hold as text."""
    if encoding != "latin1" or not isinstance(text, str) or len(text) > _LONGEST_SCALAR:
        raise Refused("it encodes more than a number")
    return text.encode("latin1")


def scalar(kind: Any, data: Any) -> bool | int | float:
    """A number of numpy as one of Python."""
    if not isinstance(kind, NumpyType) or not isinstance(data, bytes):
        raise ValueError("a number is not described as one")
    dtype = np.dtype(f"{kind.order}{kind.code}")
    if len(data) != dtype.itemsize:
        raise ValueError("a number has too few or too many bytes")
    number: bool | int | float = np.frombuffer(data, dtype)[0].item()
    return number


def plain(value: Any) -> Any:
    """Bring hyperparameters to JSON types; what is none, such as a tensor, becomes the name of its type.

    Long texts are cut.

    Raises
    ------
    ValueError
        If they are nested too deeply, or so that writing them out would never end.
    """
    left = [_MOST_VALUES]

    def walk(item: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > _DEEPEST:
            raise ValueError("the hyperparameters are nested without end")
        if isinstance(item, Namespace):
            item = item.values
        if isinstance(item, Mapping):
            return {str(key)[:_LONGEST_TEXT]: walk(each, depth + 1) for key, each in item.items()}
        if isinstance(item, list | tuple):
            return [walk(each, depth + 1) for each in item]
        if isinstance(item, str):
            return item[:_LONGEST_TEXT]
        if isinstance(item, float) and not np.isfinite(item):
            return str(item)
        return item if item is None or isinstance(item, bool | int | float) else type(item).__name__

    return walk(value, 0)


def _check_counts(*values: Any) -> None:
    if not all(type(value) is int and 0 <= value < _LARGEST for value in values):
        raise ValueError("a size is no count")
