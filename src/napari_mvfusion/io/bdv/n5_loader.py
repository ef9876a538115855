"""Pixels in an N5 container of BigDataViewer."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.n5 import N5Volume, attributes_of, open_n5
from napari_mvfusion.io.bdv.pixels import NotRecordedError, PixelLoader, ViewLevel, called
from napari_mvfusion.io.bdv.project import ViewId, stored_path
from napari_mvfusion.system.file_checks import check_there, is_there, parsing

_DAMAGED = "copy it again"


class N5Loader(PixelLoader):
    """`bdv.n5`."""

    kept: ClassVar[str] = "N5"

    @cached_property
    def _root(self) -> Path:
        element = self.element.find("n5")
        if element is None:
            raise InputError(f"{self.project} is damaged: it names no N5 container; save it again")
        root = self.places.find(stored_path(element))
        check_there(root, f"it holds the pixels of {self.project}; put it where the project names it")
        return root

    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view at a level; see `PixelLoader.open`."""
        timepoint, setup = view
        place = self.places.below(self._root, f"setup{setup}/timepoint{timepoint}")
        if not is_there(place):
            raise NotRecordedError(
                f"{place} does not exist: it holds the pixels of {called(view)}; {_DAMAGED}, or list it as missing in the "
                "project"
            )
        own = attributes_of(self.places.below(self._root, f"setup{setup}"))
        with parsing(f"{self._root}/setup{setup} is damaged: its levels cannot be understood", _DAMAGED):
            factors = np.atleast_2d(np.asarray(own.get("downsamplingFactors", [[1, 1, 1]]), float))[:, ::-1]
            if factors.shape[1] != 3 or not np.isfinite(factors).all() or (factors < 1).any():
                raise ValueError("they are no factors of three axes")
        self.check_level(view, level, len(factors))
        dataset = open_n5(self.places.below(self._root, f"setup{setup}/timepoint{timepoint}/s{level}"))
        return ViewLevel.averaged(N5Volume(dataset), factors, level)
