"""A job made ready to be sent to another process: views may be memory maps, or arrays that cannot be pickled."""

from __future__ import annotations

import copy
import mmap
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.trust import PlacedTrust
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.system.devices import free_bytes
from napari_mvfusion.training.job import TrainJob

_SHARE_OF_MEMORY = 0.25


class MappedPixels:
    """An array that lies in a file, given by where it lies; each read maps the file and closes it again.

    Parameters
    ----------
    path : the file
    dtype, shape, strides : as those of an array; strides in bytes
    offset : byte of the first element
    """

    def __init__(
        self, path: str, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self._path, self._strides, self._offset = path, strides, offset

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box."""
        content = np.memmap(self._path, np.uint8, mode="r")
        pixels = np.ndarray(self.shape, self.dtype, content, self._offset, self._strides)
        return np.array(pixels[index])


def picklable(job: TrainJob) -> TrainJob:
    """The same job, with views that can be pickled; pixels in files stay there.

    Raises
    ------
    InputError
        If a view can neither be pickled nor held in memory.
    """
    data = tuple(each if isinstance(each, Inputs) else _picklable_views(each) for each in job.data)
    sharp = tuple(np.ascontiguousarray(each) if isinstance(each, np.ndarray) else each for each in job.sharp)
    return replace(job, data=data, sharp=sharp)


def _picklable_views(views: RegisteredViews) -> RegisteredViews:
    sent = copy.copy(views)
    # What was found of them since they were given goes along, so nobody has to find it again.
    sent.views = sent.given = tuple(_picklable_view(view) for view in views.views)
    return sent


def _picklable_view(view: View) -> View:
    mask = None if view.mask is None else _picklable_volume(view.mask, view.label)
    psf = None if view.psf is None else np.ascontiguousarray(view.psf)
    trust = None if view.trust is None else _picklable_trust(view.trust, view.label)
    return replace(view, data=_picklable_volume(view.data, view.label), mask=mask, psf=psf, trust=trust)


def _picklable_trust(trust: VolumeLike, label: str) -> VolumeLike:
    """A rule stays a rule, which is small; the weights that it may hold are pixels."""
    if not isinstance(trust, PlacedTrust):
        return _picklable_volume(trust, label)
    if trust.weights is None:
        return trust
    return replace(trust, weights=_picklable_trust(trust.weights, label))


def _picklable_volume(volume: VolumeLike, label: str) -> VolumeLike:
    if isinstance(volume, np.ndarray):
        mapped = _in_its_file(volume)
        return np.ascontiguousarray(volume) if mapped is None else mapped
    try:
        pickle.dumps(volume, protocol=5, buffer_callback=lambda buffer: None)
    except Exception as error:  # pickling runs code of the array's library, which may fail in any way
        bytes_ = int(np.prod(volume.shape, dtype=np.int64)) * np.dtype(volume.dtype).itemsize
        if bytes_ > _SHARE_OF_MEMORY * free_bytes(torch.device("cpu")):
            raise InputError(
                f"{label} cannot be sent to the process that trains ({error}), and is too large to be copied: save it as "
                "OME-Zarr and open that"
            ) from error
        return np.ascontiguousarray(volume[(slice(None),) * 3])
    return volume


def _in_its_file(pixels: np.ndarray) -> MappedPixels | None:
    """Where an array lies in a file, or None where it does not."""
    root: Any = pixels
    while isinstance(root, np.ndarray) and not (isinstance(root, np.memmap) and isinstance(root.base, mmap.mmap)):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    offset = int(root.offset) + pixels.ctypes.data - root.ctypes.data
    return MappedPixels(str(root.filename), pixels.dtype, pixels.shape, pixels.strides, offset)
