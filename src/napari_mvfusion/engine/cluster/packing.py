"""Views and bound methods as bytes for another process, which opens the pixels for itself."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Sequence
from typing import Any

import torch

from napari_mvfusion.data.views import View

# What of a view is read from files, lazily.
_READ = ("data", "mask", "trust", "transmission")
_LOCK = type(threading.Lock())

Place = tuple[str, str]


def packed(values: Any, opened: Sequence[View]) -> bytes:
    """Values in which the volumes of some views may lie anywhere.

    Parameters
    ----------
    values : what is sent
    opened : the views as they were opened; of their pixels, masks and weights only their names are sent
    """
    buffer = io.BytesIO()
    _Packing(buffer, opened).dump(values)
    return buffer.getvalue()


def unpacked(content: bytes, opened: Sequence[View]) -> Any:
    """What was packed; `opened` are the same views, opened here."""
    return _Unpacking(io.BytesIO(content), opened).load()


class _Packing(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, opened: Sequence[View]) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._places: dict[int, Place] = {
            id(volume): (view.name, field)
            for view in opened
            for field in _READ
            if (volume := getattr(view, field)) is not None
        }

    def persistent_id(self, value: Any) -> Place | None:
        return self._places.get(id(value))

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _LOCK):
            return threading.Lock, ()  # nobody holds it there
        if isinstance(value, torch.device) and value.type != "cpu":
            return torch.device, (value.type,)  # which of several each process chooses for itself
        return NotImplemented


class _Unpacking(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, opened: Sequence[View]) -> None:
        super().__init__(buffer)
        self._views = {view.name: view for view in opened}

    def persistent_load(self, place: Place) -> Any:
        name, field = place
        return getattr(self._views[name], field)
