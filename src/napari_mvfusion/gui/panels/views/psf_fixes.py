"""Carry out what the user presses: fixes, entries of the PSF menu, the check of orientation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mvfusion.data.geometry import NOT_KNOWN, Grid, StatedSize, float_triple, triple
from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.jobs.status import Say
from napari_mvfusion.gui.jobs.tasks import Tasks, once
from napari_mvfusion.gui.layers.conversion import is_sized, sized, stated_size
from napari_mvfusion.gui.layers.layer_data import set_pixels
from napari_mvfusion.gui.layers.notes import Notes, annotate, notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.dialogs import SizeDialog
from napari_mvfusion.gui.panels.views.grids import fused_grid, known_size_um, resampled, stretched
from napari_mvfusion.io.bead_files import MeasuredPSF
from napari_mvfusion.io.formats import dialog_filter, is_written, write_volume, writers, writing_filter
from napari_mvfusion.io.psf_files import prepare_file
from napari_mvfusion.measures.psf_problems import sum_up_orientation
from napari_mvfusion.measures.view_problems import Fix, Mended
from napari_mvfusion.psf import MirrorVerdict
from napari_mvfusion.psf.orientation import check_orientations
from napari_mvfusion.system.words import times

# What a recipe could not say about files that were opened: such a change makes it forget them.
_BEYOND_FILES = {"psf", "psf_own", "mask"}
_MOST_NAMED = 3
_PSF_ENTRIES = {"psf", "psf_own", "psf_matrix", "psf_placed", "psf_source", "psf_said"}


class PSFFixes(QObject):
    """Changes layers and their notes, and remembers how to undo the last change of each.

    Parameters
    ----------
    viewer : of the layers
    tasks : compute the changes
    say : is told what was done, or why not, as `Status.say`
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, tasks: Tasks, say: Say, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._tasks = tasks
        self._say = say
        self._parent = parent
        self._before: dict[Image, tuple[str, dict[str, Any]]] = {}
        self._verdicts: dict[Image, tuple[np.ndarray, MirrorVerdict]] = {}

    def undoable(self, layer: Image) -> str:
        """What was done to a layer last, in words, or ""."""
        return self._before.get(layer, ("", {}))[0]

    def verdict(self, layer: Image) -> tuple[np.ndarray, MirrorVerdict] | None:
        """A PSF that a layer had, and what the views said about its orientation."""
        return self._verdicts.get(layer)

    def forget_others(self, layers: list[Image]) -> None:
        """Let go of layers that are there no more."""
        self._before = {layer: before for layer, before in self._before.items() if layer in layers}
        self._verdicts = {layer: verdict for layer, verdict in self._verdicts.items() if layer in layers}

    def do(self, layer: Image, fix: Fix, included: list[Image]) -> None:
        """Mend something.

        Parameters
        ----------
        layer : of the row
        fix : what was pressed
        included : the layers that are fused
        """
        if fix.mend is not None:
            self._compute(layer, fix.mend)
            return
        match fix.request:
            case "choose":
                self._choose(layer, fused_grid(included))
            case "save":
                self._save(layer, fused_grid(included))
            case "undo":
                self._undo(layer)
            case "stretch":
                self._stretch(layer, included[0])
            case "same":
                bare, other = (included[0], layer) if is_sized(layer) else (layer, included[0])
                self._stretch(bare, other)
            case "size":
                self._ask_size(layer, included)
            case "copy":
                self._copy(layer, included)

    def check_orientation(self, included: list[Image]) -> None:
        """Ask the views whether their PSFs are mirrored."""
        try:
            views = open_layers(included).views
        except MVFusionError as error:
            self._say("error", str(error))
            return
        psfs = [(layer, psf) for layer in included if (psf := notes(layer).get("psf")) is not None]
        self._tasks.start("orientation", check_orientations, views, done=partial(self._keep_verdicts, psfs))

    def use_measured(self, found: list[MeasuredPSF], *, own_frame: bool) -> None:
        """Give views the PSFs that were measured for them."""
        given = []
        for measured in found:
            layer = measured.job.view
            if layer in self._viewer.layers:
                source = f"measured from {measured.beads} beads of {measured.job.name}"
                own, other = {"psf_own": measured.psf, "psf_matrix": None}, {"psf": measured.psf, "psf_own": None}
                self._change(layer, (own if own_frame else other) | {"psf_source": source}, "measured from beads")
                given.append(layer)
        have = "1 view has" if len(given) == 1 else f"{len(given)} views have"
        self._say("done", f"{have} the measured PSF now.", given)

    def _compute(self, layer: Image, mend: Callable[[], Mended]) -> None:
        self._tasks.start(f"mend {id(layer)}", once, mend, done=partial(self._take, layer, notes(layer)))

    def _take(self, layer: Image, before: Notes, mended: Mended) -> None:
        same = all(notes(layer).get(key) is before.get(key) for key in ("psf", "psf_own"))
        if layer not in self._viewer.layers or not same:
            return
        # A PSF in the frame of its view is brought to the fused one anew.
        anew = {"psf_matrix": None} if "psf_own" in mended.entries else {}
        self._change(layer, anew | mended.entries, mended.said)
        if mended.data is not None:
            # The old pixels are not kept, so there is no way back.
            del self._before[layer]
            set_pixels(layer, mended.data)
        self._say("done", f"'{layer.name}': {mended.said}.", [layer])

    def _change(self, layer: Image, entries: dict[str, Any], what: str) -> None:
        # A mask that was chosen among the layers may come from a file.
        known = notes(layer)
        if {"psf", "psf_own"} & entries.keys() and (known.get("inputs") is not None or known.get("psf_by_hand")):
            entries = {**entries, "psf_by_hand": what}
        if _BEYOND_FILES & entries.keys() and "mask_file" not in entries:
            entries = {**entries, "inputs": None}
        keys = entries.keys() | _PSF_ENTRIES if _PSF_ENTRIES & entries.keys() else entries.keys()
        self._before[layer] = (what, {key: known.get(key) for key in keys})
        annotate(layer, **entries)

    def _undo(self, layer: Image) -> None:
        what, entries = self._before.pop(layer)
        annotate(layer, **entries)
        self._say("done", f"'{layer.name}': undone ({what}).", [layer])

    def _choose(self, layer: Image, grid: Grid | None) -> None:
        folder = str(Path(str(notes(layer).get("source", ""))).parent)
        name, _ = QFileDialog.getOpenFileName(self._parent, f"PSF of {layer.name}", folder, dialog_filter("PSFs"))
        if name:
            self._compute(layer, partial(_load, Path(name), known_size_um(grid)))

    def _save(self, layer: Image, grid: Grid | None) -> None:
        psf = notes(layer).get("psf")
        angle = notes(layer).get("angle")
        suggested = f"psf_{angle:g}.tif" if angle is not None else "psf.tif"
        folder = Path(str(notes(layer).get("source", ""))).parent
        kinds = ";;".join(writing_filter(known) for known in writers() if not known.is_folder)
        name, _ = QFileDialog.getSaveFileName(
            self._parent, f"Save the PSF of {layer.name}", str(folder / suggested), kinds
        )
        if not name or psf is None:
            return
        path = Path(name if is_written(name) else f"{name}.tif")
        size, known = ((1.0, 1.0, 1.0), NOT_KNOWN) if grid is None else (grid.voxel_size_um, grid.known)
        try:
            # The dialog has asked whether a file may be replaced.
            write_volume(path, np.asarray(psf, np.float32), Grid(triple(psf.shape), size, known=known), overwrite=True)
        except MVFusionError as error:
            self._say("error", str(error))
            return
        self._say("done", f"The PSF of {layer.name} was saved as {path}.")

    def _stretch(self, layer: Image, first: Image) -> None:
        grid = fused_grid([first])
        if grid is None:
            return
        for name, value in stretched(layer, grid).items():
            setattr(layer, name, value)
        now = f"'{layer.name}' has voxels of {times(layer.scale[-3:], '.4g')} µm now and covers what '{first.name}' covers"
        self._say("done", f"{now}. Its pixels are unchanged.", [layer])

    def _ask_size(self, layer: Image, included: list[Image]) -> None:
        """Ask for the voxel size of a view, which others that lack theirs may get too, along the axes where they lack it."""
        lacking = [other for other in included if other is not layer and _lacks_size(other)]
        dialog = SizeDialog(layer.name, stated_size(layer), len(lacking), self._parent)
        if dialog.exec() != SizeDialog.DialogCode.Accepted or (size := dialog.given()) is None:
            return
        alike = [layer, *(lacking if dialog.for_others else [])]
        for other in alike:
            known = [None] * len(size) if other is layer else stated_size(other)
            own = float_triple(new if old is None else old for new, old in zip(size, known, strict=True))
            for name, value in sized(other, own).items():
                setattr(other, name, value)
        named = " and ".join(f"'{other.name}'" for other in alike[:_MOST_NAMED])
        more = len(alike) - _MOST_NAMED
        named += f" and {more} more" if more > 0 else ""
        have = "has" if len(alike) == 1 else "have"
        self._say("done", f"{named} {have} voxels of {times(size, '.4g')} µm now. Pixels are unchanged.", alike)

    def _copy(self, layer: Image, included: list[Image]) -> None:
        try:
            data, look, kind = resampled(layer, included)
        except MVFusionError as error:
            self._say("error", str(error))
            return
        copy = Layer.create(data, look, kind)
        self._viewer.layers.insert(self._viewer.layers.index(layer) + 1, copy)
        annotate(layer, included=False)
        layer.visible = False
        on_grid = f"'{copy.name}' lies on the grid of the fused volume"
        self._say("done", f"{on_grid}, and is fused instead of '{layer.name}'.", [copy])

    def _keep_verdicts(self, psfs: list[tuple[Image, np.ndarray]], verdicts: tuple[MirrorVerdict, ...]) -> None:
        self._verdicts = {layer: (psf, verdict) for (layer, psf), verdict in zip(psfs, verdicts, strict=True)}
        self._say(*sum_up_orientation(verdicts), [layer for layer, _ in psfs])
        self.changed.emit()


def _lacks_size(layer: Image) -> bool:
    """Whether the voxel size of a layer is not known along every axis; one whose units are no lengths is another matter."""
    try:
        return None in stated_size(layer)
    except InputError:
        return False


def _load(path: Path, grid_size_um: StatedSize | None) -> Mended:
    said = prepare_file(path, grid_size_um)
    entries = {"psf": said.psf, "psf_said": said, "psf_own": None, "psf_source": path.name}
    done = f" ({'; '.join(said.notes)})" if said.notes else ""
    return Mended(entries, f"{path.name} is the PSF now{', but cannot be used' if said.flaw else ''}{done}")
