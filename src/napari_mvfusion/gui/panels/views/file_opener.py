"""Files become layers, and PSFs of layers: what the user names or drops, asked about where names do not tell."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.geometry import StatedSize
from napari_mvfusion.engine.project_plan import ProjectPlanner
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Tasks, once
from napari_mvfusion.gui.layers.layer_data import (
    LayerData,
    all_volumes,
    first_volume,
    truth_layer,
    view_series,
    views_as_layers,
)
from napari_mvfusion.gui.layers.notes import KEY, Notes, annotate, notes
from napari_mvfusion.gui.layers.opened import open_layers, psfs_of_files
from napari_mvfusion.gui.layers.project_layers import OpenedProject, goes_round, project_layers, shows
from napari_mvfusion.gui.panels.views.project_dialog import ProjectDialog
from napari_mvfusion.gui.panels.views.roles_dialog import Given, RolesDialog
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.formats import (
    dialog_filter,
    is_project,
    is_volume,
    open_stored,
    place_of,
    views_in,
    volumes_called,
)
from napari_mvfusion.io.guessing import files_without_scheme
from napari_mvfusion.io.matching import Wanted, match_files
from napari_mvfusion.io.name_table import NameTable, called_by
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.proposals import pattern_for, propose
from napari_mvfusion.io.psf_files import ViewPSF, prepare_files
from napari_mvfusion.io.roles import Guess, Role, guess_roles, have_stages
from napari_mvfusion.io.view_files import ViewFile, called
from napari_mvfusion.io.volume_choice import SeveralImagesError, VolumeChoice
from napari_mvfusion.system.words import sentence

_PLUGIN = "napari-mvfusion"
_MOST_IMAGES, _MOST_SAID = 8, 3
_SCHEME = "embryo_view_0.tif, embryo_view_90.tif, psf_0.tif, psf_90.tif"


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
    status : says what became of them
    """

    def __init__(self, viewer: ViewerModel, tasks: Tasks, status: Status, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._tasks = tasks
        self._status = status
        self._parent = parent
        self.wanted: dict[Image, Wanted] = {}
        self.grid_size_um: StatedSize | None = None

    def ask_files(self) -> None:
        """Let the user choose view files."""
        title = "Views, one a file, or a project"
        names, _ = QFileDialog.getOpenFileNames(self._parent, title, "", dialog_filter("Views", projects=True))
        paths = [Path(name) for name in names]
        for path in filter(is_project, paths):
            self.ask_project(path)
        self._by_guess([path for path in paths if not is_project(path)])

    def ask_roles(self, files: Sequence[Path]) -> None:
        """Let the user say what files are that no name tells."""
        self._tasks.start(f"roles {files[0]}", once, guess_roles, list(files), done=self._ask_roles)

    def ask_project(self, path: Path) -> None:
        """Let the user choose what of a project is opened."""
        self._tasks.start(f"project {path}", once, ProjectPlanner, path, done=self._ask_project)

    def _ask_project(self, planner: ProjectPlanner) -> None:
        dialog = ProjectDialog(planner, self._parent)
        dialog.accepted.connect(lambda: self._open_project(dialog.given()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _open_project(self, inputs: Inputs) -> None:
        self._status.say("working", f"Opening {Path(str(inputs.source)).name}…")
        self._tasks.start(f"project {inputs.source}", open_project, inputs, done=self._show_project)

    def _show_project(self, opened: OpenedProject) -> None:
        new = [view for view in opened.views if not any(shows(layer, view) for layer in self._viewer.layers)]
        if not new:
            self._status.say("done", f"{opened.sample} is open already, with these views.")
            return
        views = self._show(new)
        if len(new) == len(opened.views) or not any(goes_round(layer, opened) for layer in self._viewer.layers):
            selected = self._viewer.layers.selection.active
            # Above the views, as napari shows the lowest layer alone on a light ground, and not to be drawn on.
            data, look, kind = opened.outlines
            outlines = self._viewer.add_layer(Layer.create(data, look, kind))
            outlines.editable = False
            self._viewer.layers.selection.active = selected
        remarks = list(opened.remarks)
        if there := len(opened.views) - len(new):
            remarks.append(f"{there} of {len(opened.views)} views {'was' if there == 1 else 'were'} open already")
        self._status.say(
            "done", " ".join(f"{sentence(remark)}." for remark in remarks) or "The project is open.", views
        )

    def ask_folder(self) -> None:
        """Let the user choose a folder of views, or an OME-Zarr."""
        if name := QFileDialog.getExistingDirectory(self._parent, "Folder of views, or OME-Zarr"):
            self._open_folder(Path(name))

    def ask_psf_folder(self) -> None:
        """Let the user choose a folder of PSFs."""
        if name := QFileDialog.getExistingDirectory(self._parent, "Folder of PSFs"):
            self.match(volumes_called(Path(name), "psf"), Path(name).name)

    def ask_psf_files(self) -> None:
        """Let the user choose PSF files."""
        names, _ = QFileDialog.getOpenFileNames(self._parent, "PSFs, one a file", "", dialog_filter("PSFs"))
        if names:
            self.match([Path(name) for name in names], "these files")

    def open(self, paths: Sequence[Path]) -> None:
        """Open what was dropped: folders and view files as layers; PSF files go to the views that are there."""
        for project in filter(is_project, paths):
            self.ask_project(project)
        others = sorted(path for path in paths if not is_project(path))
        folders = [path for path in others if path.is_dir()]
        files = [path for path in others if path not in folders]
        volumes = [path for path in files if is_volume(path)]
        for folder in folders:
            psfs = volumes_called(folder, "psf")
            if self.wanted and get_reader(str(folder)) is None and any(map(_is_called_psf, psfs)):
                self.match(psfs, folder.name)
            else:
                self._open_folder(folder)
        if not all(map(_is_called_psf, volumes)):
            self._by_guess(sorted(volumes, key=_is_called_psf))
        elif volumes and self.wanted:
            self.match(volumes, "these files")
        elif volumes:
            self._status.say("error", "There are no views yet that these PSFs could belong to: add the views first.")
        for path in files:
            if path not in volumes:
                self._status.say("error", f"{path.name} is neither a folder, a project nor a file with a volume.")

    def _by_guess(self, files: Sequence[Path]) -> None:
        """Open views; where some files seem to be something else, the user is asked first."""
        if files:
            self._tasks.start(f"roles {files[0]}", once, guess_roles, list(files), done=self._take_guesses)

    def _take_guesses(self, guesses: list[Guess]) -> None:
        # What cannot be opened is said so by opening it.
        if not propose(guesses, pattern_for(guesses)).ask and not have_stages(guesses):
            files = [guess.path for guess in guesses]
            self._tasks.start(f"files {files[0]}", open_files, files, done=self._show_with_psfs)
        else:
            self._ask_roles(guesses)

    def _ask_roles(self, guesses: list[Guess]) -> None:
        dialog = RolesDialog(guesses, self._parent)
        dialog.accepted.connect(lambda: self.open_given(dialog.given(), dialog.names, stage=dialog.stage))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def open_given(self, given: Sequence[Given], names: NameTable | None = None, *, stage: bool = False) -> None:
        """Open files as what they are: views, ground truths and beads as layers; PSFs go to the views.

        Parameters
        ----------
        given : the files
        names : what their names say, and those of others among which they were chosen
        stage : as for `open_views`
        """
        views = {one.path: one.angle for one in given if one.role == "view"}
        psfs = [one for one in given if one.role == "psf"]
        others = [(one.path, one.role) for one in given if one.role in ("truth", "beads")]
        if others:
            self._tasks.start(f"others {others[0][0]}", open_others, others, done=self._show)
        if views:
            task = f"files {next(iter(views))}"
            self._tasks.start(task, open_with_psfs, views, psfs, names, stage, done=self._show_with_psfs)
        elif psfs:
            self._give(psfs)

    def _show(self, layers: list[LayerData]) -> list[Layer]:
        """Add layers."""
        return [self._viewer.add_layer(Layer.create(data, look, kind)) for data, look, kind in layers]

    def _show_with_psfs(self, opened: OpenedFiles) -> None:
        views = self._show(opened.layers)
        for failure in opened.failures:
            self._status.say("error", failure)
        self._warn(opened.problems, views)
        if opened.given:
            self._tell_given(opened.given, views)

    def _warn(self, problems: Sequence[str], views: Sequence[Layer]) -> None:
        """Say what is odd about files for these views."""
        for problem in problems:
            self._status.say("warning", f"{problem}.", views)

    def _tell_given(self, given: Sequence[str], views: Sequence[Layer]) -> None:
        self._status.say("done", "PSFs were matched. " + "; ".join(given) + ".", views)

    def _give(self, psfs: Sequence[Given]) -> None:
        """PSFs to the views of the angles that the user has said, the others by their names."""
        layers = list(self.wanted)
        found, problems = _psfs_of([self.wanted[layer] for layer in layers], psfs)
        self._warn(problems, layers)
        if found:
            self._read_psfs(f"psfs {min(found.values())}", {layers[number]: file for number, file in found.items()})

    def match(self, files: Sequence[Path], where: str) -> None:
        """Give each view the PSF whose file name has its name or angle."""
        layers = list(self.wanted)
        matches = match_files([self.wanted[layer] for layer in layers], files)
        if matches.found:
            self._warn(matches.problems, layers)
            self._read_psfs(f"match {where}", {layers[number]: file for number, file in matches.found.items()})
        else:
            why = f": {'; '.join(matches.problems[:_MOST_SAID])}" if matches.problems else ""
            self._status.say("error", f"No name in {where} has the name or angle of a view{why}.", layers)

    def _read_psfs(self, task: str, found: Mapping[Image, Path]) -> None:
        openings, done = self._openings(found), partial(self._take_psfs, found)
        self._tasks.start(task, _read_given, dict(found), openings, self.grid_size_um, done=done)

    def _openings(self, found: Mapping[Image, Path]) -> list[_Opening]:
        """How the files of views are opened with other PSFs, for those whose files can say how they are set."""
        openings = []
        left = list(found)
        while left:
            inputs = notes(left[0]).get("inputs")
            together = [layer for layer in self._viewer.layers if notes(layer).get("inputs") == inputs]
            psfs = {str(notes(layer).get("name")): absolute(found[layer]) for layer in left if layer in together}
            left = [layer for layer in left if layer not in together]
            if inputs is None:
                continue
            try:
                as_set = open_layers(together).inputs
            except MVFusionError:
                # Its row says why.
                continue
            before = inputs.get("psfs") or {}
            if as_set is not None and isinstance(before, dict):
                on_shown = any("kept" in notes(layer) for layer in together)
                changed = {"psfs": before | psfs}
                openings.append(_Opening(together, inputs | changed, Inputs(**as_set | changed), on_shown))
        return openings

    def _take_psfs(self, found: Mapping[Image, Path], read: _ReadPSFs) -> None:
        given = {}
        for layer, file in found.items():
            if layer not in self._viewer.layers:
                continue
            if (as_in_run := read.of_layers.get(layer)) is not None:
                as_in_run |= Notes(psf_source=file.name, psf_by_hand="")
                annotate(layer, **as_in_run)
            elif (said := read.of_files.get(file)) is not None:
                opened = notes(layer).get("inputs") is not None or notes(layer).get("psf_by_hand")
                by_hand = f"{file.name} is the PSF now" if opened else ""
                annotate(layer, psf=said.psf, psf_said=said, psf_own=None, psf_source=file.name, inputs=None)
                annotate(layer, psf_by_hand=by_hand)
            else:
                continue
            given[layer] = f"{layer.name}: {file.name}"
        for opening in read.openings:
            for layer in opening.together:
                # Layers that others are opened with say the same.
                if layer in self._viewer.layers and notes(layer).get("inputs") is not None:
                    annotate(layer, inputs=opening.inputs)
        for problem in read.problems:
            self._status.say("error", problem, found)
        if given:
            self._tell_given(list(given.values()), list(given))

    def _open_folder(self, folder: Path) -> None:
        if is_project(folder):
            self.ask_project(folder)
            return
        if files := files_without_scheme(folder, planes=True):
            self.ask_roles(files)
            return
        try:
            self._viewer.open(str(folder), plugin=_PLUGIN)
        except MVFusionError as error:
            self._status.say("error", str(error))
        except ValueError:
            # napari's words for a folder that our reader does not know.
            holds = f"{folder} holds no views: names such as {_SCHEME} are expected"
            self._status.say("error", f"{holds}. Use Add files… instead.")


def open_project(check: Checkpoint, inputs: Inputs) -> Generator[None, None, OpenedProject]:
    """The views of a project as layers, with outlines; see `project_layers`."""
    yield
    return project_layers(inputs, check)


@dataclass(frozen=True, eq=False)
class _Opening:
    """Layers that were opened together, and how they are opened with other PSFs: as they were, and as they are set now."""

    together: list[Image]
    inputs: dict[str, Any]
    as_set: Inputs
    on_shown: bool


@dataclass(frozen=True, eq=False)
class _ReadPSFs:
    """PSFs as a run on the files of layers has them, and those of files beyond these; with what could not be read."""

    of_layers: Mapping[Image, Notes]
    of_files: Mapping[Path, ViewPSF]
    openings: list[_Opening]
    problems: list[str]


def _read_given(
    check: Checkpoint, found: Mapping[Image, Path], openings: Sequence[_Opening], size_um: StatedSize | None
) -> Generator[float, None, _ReadPSFs]:
    """Read PSFs for layers, which only go through."""
    of_layers: dict[Image, Notes] = {}
    used = []
    for opening in openings:
        check()
        try:
            by_name = psfs_of_files(opening.as_set, on_shown=opening.on_shown)
        except (MVFusionError, OSError):
            # The files of the views have changed since; their PSFs are read by themselves.
            continue
        named = {layer: by_name.get(str(notes(layer).get("name"))) for layer in opening.together if layer in found}
        if all(one is not None and one.get("psf") is not None for one in named.values()):
            of_layers |= {layer: one for layer, one in named.items() if one is not None}
            used.append(opening)
    files = sorted({file for layer, file in found.items() if layer not in of_layers})
    of_files, problems = yield from prepare_files(files, size_um)
    return _ReadPSFs(of_layers, of_files, used, problems)


def wanted_of(layer: Image) -> Wanted:
    """By what the files of a view are known."""
    known = notes(layer)
    name = str(known.get("name") or layer.name)
    return Wanted(name, layer.name, known.get("angle"), str(known.get("sample") or ""))


def _is_called_psf(path: Path) -> bool:
    return "psf" in path.name.lower()


@dataclass(frozen=True, eq=False)
class OpenedFiles:
    """Views of files as layers, with the PSFs that were given to them.

    Attributes
    ----------
    given, problems : PSFs by their views, and what fits none, in words
    failures : why some files could not be opened, a sentence each
    """

    layers: list[LayerData]
    given: list[str]
    problems: list[str]
    failures: list[str]


def open_files(check: Checkpoint, files: Sequence[Path]) -> Generator[None, None, OpenedFiles]:
    """View files as layers; those that do not fit together are opened each on its own grid.

    One that cannot be used does not keep the others from being opened.

    Parameters
    ----------
    files : one a view, or with several views or images inside, which all are opened; their names say angles

    Raises
    ------
    InputError
        If no file can be used.
    """
    given = dict(zip(files, angles_in([called_by(path) for path in files]), strict=True))
    return (yield from open_with_psfs(check, given, ()))


def open_with_psfs(
    check: Checkpoint,
    files: Mapping[Path, float | None],
    psfs: Sequence[Given],
    names: NameTable | None = None,
    stage: bool = False,
) -> Generator[None, None, OpenedFiles]:
    """View files as layers, as `open_files`, with PSFs, which are opened as those of a run.

    Parameters
    ----------
    files : with the angle of each, None where it is not known
    psfs : of these views
    names : see `FileOpener.open_given`
    stage : as for `open_views`

    Raises
    ------
    InputError
        If no file of a view can be used.
    """
    yield
    inside, failures = _inside(files)
    found, problems = _psfs_of([Wanted(each.name, each.name, each.angle) for each in inside], psfs)
    own = {inside[number].file: psf for number, psf in found.items()}
    try:
        layers = _together([each.file for each in inside], own, stage=stage) if inside else []
    except InputError:
        layers, usable = [], []
        for each in inside:
            check()
            try:
                layers += _together([each.file], own, stage=stage)
                usable.append(each)
            except InputError as error:
                failures.append(error)
            yield
        inside = usable
    if failures and not layers:
        raise failures[0] if len(failures) == 1 else InputError("; ".join(map(str, failures)))
    given = []
    for (_, look, _), each in zip(layers, inside, strict=True):
        look["name"] = each.name
        known = look["metadata"][KEY]
        known["angle"] = each.angle
        if names is not None:
            known["named_files"] = names
        if (psf := own.get(each.file)) is not None:
            known["psf_source"] = psf.name
            given.append(f"{each.name}: {psf.name}")
    return OpenedFiles(layers, given, problems, [str(error) for error in failures])


def _psfs_of(views: Sequence[Wanted], psfs: Sequence[Given]) -> tuple[dict[int, Path], list[str]]:
    """PSFs for views by the angles that the user has said, and by their names; index of a view to its file, and problems."""
    angles = {one.angle: one.path for one in psfs if one.angle is not None}
    found = {number: angles[view.angle] for number, view in enumerate(views) if view.angle in angles}
    rest = [one.path for one in psfs if one.path not in found.values()]
    if not rest:
        return found, []
    left = [number for number in range(len(views)) if number not in found]
    matches = match_files([views[number] for number in left], rest)
    return found | {left[number]: file for number, file in matches.found.items()}, list(matches.problems)


def _inside(files: Mapping[Path, float | None]) -> tuple[list[ViewFile], list[InputError]]:
    """The views that lie in files, with the angles of these, and what is wrong with files that cannot be opened.

    Files of a set that another one stands for are left out.
    """
    found: list[ViewFile] = []
    failures: list[InputError] = []
    sets: dict[Path, Mapping[str, Path]] = {}
    for file in files:
        try:
            sets[file] = views_in(file)
        except InputError as error:
            failures.append(error)
    covered = {place_of(path) for views in sets.values() for path in views.values()}
    stems = [called_by(file) for file in files]
    for (file, angle), stem in zip(files.items(), stems, strict=True):
        if (views := sets.get(file)) is None:
            continue
        if stems.count(stem) > 1:
            # Of files that are called the same, the folder tells.
            stem = f"{file.parent.name} {stem}"
        if views:
            angles = [said if (said := called(name)[1]) is not None else angles_in([name])[0] for name in views]
            found += [
                ViewFile(path, f"{stem} view {name}", own)
                for (name, path), own in zip(views.items(), angles, strict=True)
            ]
            continue
        if file in covered:
            continue
        try:
            open_stored(file)
        except SeveralImagesError as several:
            if len(several.names) > _MOST_IMAGES:
                failures.append(several)
                continue
            found += [
                ViewFile(path, f"{stem} {str(path).removeprefix(str(file)).strip(':/')}", angle)
                for path in several.names
            ]
        except InputError as error:
            failures.append(error)
        else:
            found.append(ViewFile(file, stem, angle))
    return found, failures


def _together(files: Sequence[Path], psfs: Mapping[Path, Path], *, stage: bool) -> list[LayerData]:
    """View files of one grid as layers, with all their time points and channels, and with their PSFs, by these files."""
    first = first_volume(files)
    opened = partial(open_views, files, timepoint=first.timepoint, channel=first.channel, stage=stage)
    own = [psfs.get(file) for file in files]
    named = {}
    if any(own):
        named = {name: absolute(psf) for name, psf in zip(opened().names, own, strict=True) if psf is not None}
    source = [str(path.resolve()) for path in files]
    inputs = Inputs(source=source, psfs=named or None, grid="isotropic", stage=stage).model_dump(mode="json")
    views, layers = views_as_layers(partial(opened, psfs=named or None), sample="", inputs=inputs)
    return view_series(views, layers)


def open_others(check: Checkpoint, given: Sequence[tuple[Path, Role]]) -> Generator[None, None, list[LayerData]]:
    """Ground truths and beads as layers, unseen at first.

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    layers = []
    for path, role in given:
        check()
        # Beads are measured in one volume.
        first = first_volume([path]) if role == "truth" else VolumeChoice()
        volume, grid = open_volume(path, timepoint=first.timepoint, channel=first.channel)
        data, look, kind = all_volumes(truth_layer(volume, grid, sample=""), path)
        look["name"] = called_by(path)
        if role == "beads":
            look["metadata"] = {KEY: {"included": False, "source": str(path)}}
        layers.append((data, look, kind))
        yield
    return layers
