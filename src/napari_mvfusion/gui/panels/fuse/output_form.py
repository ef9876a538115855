"""Where to compute, and where the fused volume goes: into memory, or to disk in one of the formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.finishing import fresh_name, partial_folder
from napari_mvfusion.engine.workspace import check_output
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.forms import Field, Form, Words
from napari_mvfusion.gui.widgets.inputs import describe
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.formats import is_written, split_ending, writer_of, writers, writing_filter
from napari_mvfusion.system.devices import free_bytes, offered_devices, pick_device

_KEEP, _RESUME, _REPLACE, _RESUME_REPLACE = "keep", "resume", "replace", "resume and replace"
_FLOAT_BYTES = 4
_DEVICE_TIP = "What computes. Automatic takes the fastest that is there"
_PLACE_TIP = "Large volumes go to disk: then a cancelled run can go on later"


@dataclass(frozen=True)
class Target:
    """What was chosen; `outs` is None for memory, else one file a volume."""

    device: str
    outs: tuple[Path, ...] | None
    resume: bool = False
    overwrite: bool = False


class OutputForm(Form):
    """The device, memory or a file, and what to do with a file that is there already.

    A file that nobody has named yet gets a proposed name that nothing has, so that the run can begin at once.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        file = _File()
        on_disk = [(f"{known.written} on disk", known.new_suffix) for known in _offered()]
        super().__init__(
            [
                Words(offered_devices(), name="device", label="Compute on", tooltip=_DEVICE_TIP),
                Words([("Memory", ""), *on_disk], name="place", label="Result in", tooltip=_PLACE_TIP),
                Field(file, name="file", label="File"),
                Words(name="existing", label="There already", tooltip="There is something of this name already"),
            ],
            parent,
        )
        self._suffixes: tuple[str, ...] = ("",)
        self._folder, self._beside, self._stem = "", "", "fused"
        self._proposed = ""
        self._path = file.line
        self["place"].changed.connect(self._change_place)
        self["file"].changed.connect(self._follow_name)
        self.refresh()

    @property
    def device(self) -> str:
        """The chosen device, as `pick_device` takes it."""
        return str(self["device"].value)

    @property
    def _ending(self) -> str:
        """Of the chosen format; "" for memory."""
        return str(self["place"].value)

    @property
    def _on_disk(self) -> bool:
        return bool(self._ending)

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
        if not self._on_disk:
            check_memory(grid, len(self._suffixes))
            return Target(device, None)
        paths = self._paths()
        if not paths:
            raise OutputError(f"the result has no file yet: name one that ends in {self._ending}")
        answer = self["existing"].value
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
        if self._on_disk and (paths := self._paths()):
            self._folder = str(paths[0].absolute().parent)
        return {"device": self.device, "place": self._ending, "folder": self._folder}

    def restore(self, state: dict[str, str]) -> None:
        """Choose what an earlier `state` holds, where it is still offered."""
        self._folder = str(state.get("folder", ""))
        self.set_values({name: state[name] for name in ("device", "place") if name in state})

    def refresh(self, _: object = None) -> None:
        """Look again at what is there under the chosen name."""
        on_disk = self._on_disk
        if on_disk and self._is_proposed and (not self._proposed or any(path.exists() for path in self._paths())):
            self._propose_anew()
        paths = self._paths()
        self.show_field("file", on_disk)
        answers = _answers(paths) if on_disk and paths else []
        self._path.setToolTip("\n".join(map(str, paths[:4])) + ("\n…" if len(paths) > 4 else ""))
        self["existing"].native.offer(answers)
        self.show_field("existing", bool(answers))
        self.changed.emit()

    @property
    def _is_proposed(self) -> bool:
        """Whether the name was proposed and nobody has changed it; one that was cleared has been changed."""
        return self._path.text() == self._proposed

    def _change_place(self, _: object = None) -> None:
        """Let the name end as the chosen format asks for."""
        text = self._path.text()
        if self._on_disk and text and not self._is_proposed:
            self._name(split_ending(text)[0] + self._ending)
        elif self._on_disk or not text:
            self._proposed = ""
            self._name("")
        self.refresh()

    def _follow_name(self, _: object = None) -> None:
        """Let the format be the one that the name ends as."""
        if self._on_disk and is_written(self._path.text()):
            with signals_blocked(self["place"].native):
                self["place"].value = writer_of(self._path.text()).new_suffix
        self.refresh()

    def _propose_anew(self) -> None:
        """Propose a name that is free now, where results were written last, are wanted, or beside the views."""
        preferred = preferences().output_folder
        wanted = [Path(folder).expanduser() for folder in (self._folder, preferred, self._beside) if folder]
        ends = [suffix + self._ending for suffix in self._suffixes]
        found = fresh_name([*wanted, Path.cwd(), Path.home()], self._stem, ends)
        self._proposed = "" if found is None else f"{found}{self._ending}"
        self._name(self._proposed)

    def _name(self, text: str) -> None:
        """Enter a name."""
        with signals_blocked(self._path):
            self._path.setText(text)

    def _paths(self) -> tuple[Path, ...]:
        """The files of all volumes; none while no name is entered."""
        path = Path(self._path.text().strip()).expanduser()
        if not path.name:
            return ()
        folder = preferences().output_folder
        if folder:
            path = Path(folder).expanduser() / path  # an absolute path stays what it is
        stem, ending = split_ending(path.name)
        return tuple(path.with_name(stem + suffix + (ending or self._ending)) for suffix in self._suffixes)


class _File(QWidget):
    """The name of a new file or folder, and a button to look for a place."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.line = QLineEdit()
        describe(self.line, "path", "File of the result")
        self.line.setPlaceholderText("name of a new file")
        self.value, self.set_value = self.line.text, self.line.setText
        browse = QPushButton("Browse…")
        describe(browse, "browse", "Browse…", "Choose a folder and a name")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line)
        row.addWidget(browse)
        self.line.textChanged.connect(lambda _: self.changed.emit())
        browse.clicked.connect(self._browse)

    def _browse(self) -> None:
        # An OME-Zarr is a folder: Qt would step into it rather than choose it, so a file dialog that asks nothing.
        options = QFileDialog.Option.DontConfirmOverwrite
        proposed = self.line.text() or f"fused{_offered()[0].new_suffix}"
        kinds = sorted(_offered(), key=lambda known: not (is_written(proposed) and known is writer_of(proposed)))
        filters = ";;".join(map(writing_filter, kinds))
        name, _ = QFileDialog.getSaveFileName(self, "Write the fused volume to", proposed, filters, options=options)
        if name:
            self.line.setText(name)


def _offered() -> list[Format]:
    """The formats, those first whose files are written once: others are gathered elsewhere while a run lasts."""
    return sorted(writers(), key=lambda known: not known.grows)


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
            "write it to disk"
        )
