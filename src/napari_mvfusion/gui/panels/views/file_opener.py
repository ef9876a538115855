"""Ask for files, open views, and give PSF files to views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.layers.layer_data import LayerData
from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.gui.panels.views.adding import (
    guess_all,
    open_files,
    open_others,
    read_psfs,
    sort_paths,
    volumes_in,
)
from napari_mvfusion.gui.panels.views.grids import fused_grid
from napari_mvfusion.gui.panels.views.roles_dialog import Given, RolesDialog
from napari_mvfusion.gui.reader import files_without_scheme, get_reader
from napari_mvfusion.io.formats import dialog_filter
from napari_mvfusion.io.matching import Wanted, match_files
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.io.roles import Guess

_PLUGIN = "napari-mvfusion"


class FileOpener(QObject):
    """Brings files into the viewer; asks over its parent.

    Attributes
    ----------
    wanted : the views that PSFs are matched to, and what their files may be called
    grid_size_um : voxel size (z, y, x) of the fused volume, to which PSFs of other voxels are brought

    Parameters
    ----------
    viewer : gets the layers
    tasks : read the files
    """

    said = Signal(str, str)

    def __init__(self, viewer: ViewerModel, tasks: Tasks, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._tasks = tasks
        self._parent = parent
        self.wanted: dict[Image, Wanted] = {}
        self.grid_size_um: FloatTriple | None = None

    def ask_files(self) -> None:
        """Let the user choose view files."""
        names, _ = QFileDialog.getOpenFileNames(self._parent, "Views, one a file", "", dialog_filter())
        self._by_guess([Path(name) for name in names])

    def ask_roles(self, files: Sequence[Path]) -> None:
        """Let the user say what files are that no name tells."""
        self._tasks.start(f"roles {files[0]}", guess_all, list(files), done=self._ask_roles)

    def ask_folder(self) -> None:
        """Let the user choose a folder of views, or an OME-Zarr."""
        if name := QFileDialog.getExistingDirectory(self._parent, "Folder of views, or OME-Zarr"):
            self._open_folder(Path(name))

    def ask_psf_folder(self) -> None:
        """Let the user choose a folder of PSFs."""
        if name := QFileDialog.getExistingDirectory(self._parent, "Folder of PSFs"):
            self.match(volumes_in(Path(name), "psf"), Path(name).name)

    def ask_psf_files(self) -> None:
        """Let the user choose PSF files."""
        names, _ = QFileDialog.getOpenFileNames(self._parent, "PSFs, one a file", "", dialog_filter("PSFs"))
        if names:
            self.match([Path(name) for name in names], "these files")

    def open(self, paths: Sequence[Path]) -> None:
        """Open what was dropped: folders and view files as layers; PSF files go to the views that are there."""
        found = sort_paths(paths)
        for folder in found.folders:
            psfs = volumes_in(folder, "psf")
            if self.wanted and get_reader(str(folder)) is None and any("psf" in path.name.lower() for path in psfs):
                self.match(psfs, folder.name)
            else:
                self._open_folder(folder)
        if found.views:
            self._by_guess([*found.views, *found.psfs])
        elif found.psfs and self.wanted:
            self.match(found.psfs, "these files")
        elif found.psfs:
            self.said.emit("error", "There are no views yet that these PSFs could belong to: add the views first.")
        for path in found.others:
            self.said.emit("error", f"{path.name} is neither a folder nor a TIFF file.")

    def _by_guess(self, files: Sequence[Path]) -> None:
        """Open views; where some files seem to be something else, the user is asked first."""
        if files:
            self._tasks.start(f"roles {files[0]}", guess_all, list(files), done=self._take_guesses)

    def _take_guesses(self, guesses: list[Guess]) -> None:
        # What cannot be opened is said so by opening it.
        if all(guess.role == "view" or guess.shape is None for guess in guesses):
            self._open_views([guess.path for guess in guesses])
        else:
            self._ask_roles(guesses)

    def _ask_roles(self, guesses: list[Guess]) -> None:
        dialog = RolesDialog(guesses, self._parent)
        dialog.accepted.connect(lambda: self.open_given(dialog.given()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def open_given(self, given: Sequence[Given]) -> None:
        """Open files as what they are: views, ground truths and beads as layers; PSFs go to the views."""
        views = {one.path: one.angle for one in given if one.role == "view"}
        psfs = [one for one in given if one.role == "psf"]
        others = [(one.path, one.role) for one in given if one.role in ("truth", "beads")]
        if others:
            self._tasks.start(f"others {others[0][0]}", open_others, others, done=self._show)
        if views:
            done = partial(self._add_with_psfs, psfs)
            self._tasks.start(f"files {next(iter(views))}", open_files, list(views), views, done=done)
        elif psfs:
            self._give(psfs)

    def _add_with_psfs(self, psfs: Sequence[Given], layers: list[LayerData]) -> None:
        new = self._add(layers)
        self.wanted |= {layer: wanted_of(layer) for layer in new}
        if self.grid_size_um is None and (grid := fused_grid(new)) is not None:
            # The panel looks at the new layers a moment later.
            self.grid_size_um = grid.voxel_size_um
        if psfs:
            self._give(psfs)

    def _give(self, psfs: Sequence[Given]) -> None:
        """PSFs to the views of the angles that the user has said, the others by their names."""
        angles = {one.angle: one.path for one in psfs if one.angle is not None}
        found = {layer: angles[view.angle] for layer, view in self.wanted.items() if view.angle in angles}
        rest = [one.path for one in psfs if one.path not in found.values()]
        if found:
            files = sorted(set(found.values()))
            self._tasks.start(
                f"psfs {files[0]}", read_psfs, files, self.grid_size_um, done=partial(self._take_psfs, found)
            )
        if rest:
            self.match(rest, "these files")

    def match(self, files: Sequence[Path], where: str) -> None:
        """Give each view the PSF whose file name has its name or angle."""
        layers = list(self.wanted)
        matches = match_files([self.wanted[layer] for layer in layers], files)
        for problem in matches.problems:
            self.said.emit("warning", f"{problem}.")
        found = {layers[number]: file for number, file in matches.found.items()}
        if not found:
            self.said.emit("error", f"No TIFF file of {where} has the name or angle of a view in its name.")
            return
        self._tasks.start(
            f"match {where}",
            read_psfs,
            sorted(set(found.values())),
            self.grid_size_um,
            done=partial(self._take_psfs, found),
        )

    def _take_psfs(self, found: dict[Image, Path], read: tuple[dict[Path, ViewPSF], list[str]]) -> None:
        psfs, problems = read
        given = []
        for layer, file in found.items():
            if file in psfs and layer in self._viewer.layers:
                said = psfs[file]
                annotate(layer, psf=said.psf, psf_said=said, psf_own=None, psf_source=file.name, inputs=None)
                given.append(f"{layer.name}: {file.name}")
        for problem in problems:
            self.said.emit("error", problem)
        if given:
            self.said.emit("done", "PSFs were matched. " + "; ".join(given) + ".")

    def _open_folder(self, folder: Path) -> None:
        if files := files_without_scheme(folder):
            self.ask_roles(files)
            return
        try:
            self._viewer.open(str(folder), plugin=_PLUGIN)
        except MVFusionError as error:
            self.said.emit("error", str(error))
        except ValueError:
            # napari's words for a folder that our reader does not know.
            scheme = "embryo_view_0.tif, embryo_view_90.tif, psf_0.tif, psf_90.tif"
            self.said.emit(
                "error", f"{folder} holds no views: names such as {scheme} are expected. Use Add files… instead."
            )

    def _open_views(self, files: Sequence[Path]) -> None:
        if files:
            self._tasks.start(f"files {files[0]}", open_files, list(files), done=self._show)

    def _show(self, layers: list[LayerData]) -> None:
        self._add(layers)

    def _add(self, layers: list[LayerData]) -> list[Image]:
        return [self._viewer.add_layer(Layer.create(data, look, kind)) for data, look, kind in layers]


def wanted_of(layer: Image) -> Wanted:
    """By what the files of a view are known."""
    known = notes(layer)
    name = str(known.get("name") or layer.name)
    return Wanted(name, layer.name, known.get("angle"), str(known.get("sample") or ""))
