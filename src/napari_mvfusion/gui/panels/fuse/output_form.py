"""Where to compute, and where the fused volume goes: into memory, or into an OME-Zarr."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.workspace import check_output
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.gui.layers.fresh_names import fresh_name
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.form_rows import show_row
from napari_mvfusion.gui.widgets.inputs import describe
from napari_mvfusion.gui.widgets.word_list import WordList, devices
from napari_mvfusion.system.devices import free_bytes, pick_device

_KEEP, _RESUME, _REPLACE, _RESUME_REPLACE = "keep", "resume", "replace", "resume and replace"
_FLOAT_BYTES = 4
_ENDING = ".zarr"


@dataclass(frozen=True)
class Target:
    """What was chosen; `outs` is None for memory, else one file a volume."""

    device: str
    outs: tuple[Path, ...] | None
    resume: bool = False
    overwrite: bool = False


class OutputForm(QWidget):
    """The device, memory or a file, and what to do with a file that is there already.

    A file that nobody has named yet gets a proposed name that nothing has, so that the run can begin at once.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._suffixes: tuple[str, ...] = ("",)
        self._folder, self._beside, self._stem = "", "", "fused"
        self._proposed = ""
        self._device = WordList("device", devices())
        self._device.setToolTip("What computes. Automatic takes the fastest that is there")
        self._place = WordList("place", [("Memory", ""), ("OME-Zarr on disk", ".zarr")])
        self._place.setToolTip("<qt>Large volumes go to disk: then a cancelled run can go on later</qt>")
        self._path = QLineEdit()
        describe(self._path, "path", "File of the result")
        self._path.setPlaceholderText("name of a new .zarr")
        browse = QPushButton("Browse…")
        browse.setObjectName("browse")
        browse.setToolTip("Choose a folder and a name")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._path)
        row.addWidget(browse)
        self._file = QWidget()
        self._file.setLayout(row)
        self._existing = WordList("existing", [])
        self._existing.setToolTip("There is something of this name already")
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._layout.addRow("Compute on", self._device)
        self._layout.addRow("Result in", self._place)
        self._layout.addRow("File", self._file)
        self._layout.addRow("There already", self._existing)
        self._place.currentIndexChanged.connect(self._change_place)
        self._path.textChanged.connect(self.refresh)
        for words in (self._device, self._existing):
            words.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.refresh()

    @property
    def device(self) -> str:
        """The chosen device, as `pick_device` takes it."""
        return str(self._device.currentData())

    def expect(self, suffixes: tuple[str, ...]) -> None:
        """Say how many volumes come, by what follows the name in the file of each: ("",) for a single one."""
        if suffixes != self._suffixes:
            self._suffixes = suffixes
            self.refresh()

    def suggest(self, stem: str, beside: str) -> None:
        """Say what a proposed name begins with, and in which folder the views lie, "" where that is not known."""
        if (stem, beside) != (self._stem, self._beside):
            self._stem, self._beside = stem, beside
            if self._is_proposed:
                self._propose_anew()
            self.refresh()

    def target(self, grid: Grid) -> Target:
        """What was chosen, for fused volumes on this grid.

        Raises
        ------
        InputError, OutputError, DeviceError
            If the volumes do not fit there; says what to choose instead.
        """
        device = self.device
        pick_device(device)
        if not self._place.currentData():
            check_memory(grid, len(self._suffixes))
            return Target(device, None)
        paths = self._paths()
        if not paths:
            raise OutputError("the result has no file yet: name one that ends in .zarr")
        answer = self._existing.currentData()
        target = Target(
            device,
            paths,
            resume=answer in (_RESUME, _RESUME_REPLACE),
            overwrite=answer in (_REPLACE, _RESUME_REPLACE),
        )
        if answer == _KEEP:
            there = next(path for path in paths if path.exists())
            raise OutputError(f"{there.name} is there already: choose another name, or choose to replace it")
        for path in paths:
            # Of a series that is gone on with, finished volumes stay.
            if not (target.resume and len(paths) > 1 and path.exists()):
                check_output(path, overwrite=target.overwrite, resume=target.resume)
        return target

    def state(self) -> dict[str, str]:
        """What is chosen, as JSON types; of a file, its folder is remembered."""
        if self._place.currentData() and (paths := self._paths()):
            self._folder = str(paths[0].absolute().parent)
        return {"device": self.device, "place": str(self._place.currentData()), "folder": self._folder}

    def restore(self, state: dict[str, str]) -> None:
        """Choose what an earlier `state` holds, where it is still offered."""
        self._folder = str(state.get("folder", ""))
        for words, value in ((self._device, state.get("device")), (self._place, state.get("place"))):
            row = words.findData(value)
            if row >= 0:
                words.setCurrentIndex(row)

    def refresh(self) -> None:
        """Look again at what is there under the chosen name."""
        on_disk = bool(self._place.currentData())
        if on_disk and self._is_proposed and (not self._proposed or any(path.exists() for path in self._paths())):
            self._propose_anew()
        paths = self._paths()
        show_row(self._layout, self._file, on_disk)
        answers = _answers(paths) if on_disk and paths else []
        self._path.setToolTip("\n".join(map(str, paths[:4])) + ("\n…" if len(paths) > 4 else ""))
        self._existing.offer(answers)
        show_row(self._layout, self._existing, bool(answers))
        self.changed.emit()

    @property
    def _is_proposed(self) -> bool:
        """Whether the name was proposed and nobody has changed it; one that was cleared has been changed."""
        return self._path.text() == self._proposed

    def _change_place(self) -> None:
        if not self._path.text():
            self._proposed = ""
        self.refresh()

    def _propose_anew(self) -> None:
        """Propose a name that is free now, where results were written last, are wanted, or beside the views."""
        preferred = preferences().output_folder
        wanted = [Path(folder).expanduser() for folder in (self._folder, preferred, self._beside) if folder]
        ends = [suffix + _ENDING for suffix in self._suffixes]
        found = fresh_name([*wanted, Path.cwd(), Path.home()], self._stem, ends)
        self._proposed = "" if found is None else f"{found}{_ENDING}"
        before = self._path.blockSignals(True)
        self._path.setText(self._proposed)
        self._path.blockSignals(before)

    def _paths(self) -> tuple[Path, ...]:
        """The files of all volumes; none while no name is entered."""
        path = Path(self._path.text().strip()).expanduser()
        if not path.name:
            return ()
        folder = preferences().output_folder
        if folder:
            path = Path(folder).expanduser() / path  # an absolute path stays what it is
        stem = path.name[: -len(_ENDING)] if path.suffix.lower() == _ENDING else path.name
        return tuple(path.with_name(stem + suffix + _ENDING) for suffix in self._suffixes)

    def _browse(self) -> None:
        # An OME-Zarr is a folder: Qt would step into it rather than choose it, so a file dialog that asks nothing.
        options = QFileDialog.Option.DontConfirmOverwrite
        name, _ = QFileDialog.getSaveFileName(
            self, "Write the fused volume to", self._path.text() or "fused.zarr", "OME-Zarr (*.zarr)", options=options
        )
        if name:
            self._path.setText(name)


def _answers(paths: tuple[Path, ...]) -> list[tuple[str, str]]:
    """What can be done with what is there already; nothing is replaced unless it is chosen."""
    finished = [path for path in paths if path.exists()]
    unfinished = any(partial_folder(path).exists() for path in paths)
    if 0 < len(finished) < len(paths):
        # A series of which some volumes are finished.
        return [("Go on with the unfinished run", _RESUME), ("Keep it", _KEEP), ("Replace it", _REPLACE)]
    if finished:
        go_on = [("Go on with the unfinished run, then replace it", _RESUME_REPLACE)] if unfinished else []
        return [("Keep it", _KEEP), *go_on, ("Replace it", _REPLACE)]
    return [("Go on with the unfinished run", _RESUME), ("Discard the unfinished run", _REPLACE)] if unfinished else []


def check_memory(grid: Grid, volumes: int) -> None:
    """Refuse results that do not fit into memory.

    Raises
    ------
    InputError
        If the volumes are larger than what is free.
    """
    needed, free = volumes * grid.box.size * _FLOAT_BYTES, free_bytes(pick_device("cpu"))
    if needed > free:
        raise InputError(
            f"the fused volume takes {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free: "
            "write it to an OME-Zarr"
        )
