"""Where to compute, and where the fused volume goes: into memory, or to disk in one of the formats."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtWidgets import QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.cluster.named_cluster import cluster_of
from napari_mvfusion.engine.finishing import fresh_name, named_apart, partial_folder
from napari_mvfusion.engine.series import check_memory
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_output import Found, found_at
from napari_mvfusion.engine.workspace import check_output
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.gui.jobs.fusions import Target
from napari_mvfusion.gui.panels.fuse.output_fields import AddressField, FileField, offered_places
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.forms import Field, Form, Words
from napari_mvfusion.io.atomic import check_place
from napari_mvfusion.io.formats import (
    format_of,
    is_written,
    place_of,
    split_ending,
    writer_of,
)
from napari_mvfusion.system.devices import offered_devices, pick_device
from napari_mvfusion.system.locks import holder

_KEEP, _RESUME, _REPLACE, _RESUME_REPLACE, _FOLLOW = "keep", "resume", "replace", "resume and replace", "follow"
_CLUSTER = "cluster"
_DEVICE_TIP = (
    "What computes: this computer, on the fastest that it has (Automatic) or on what you choose, or the workers of a "
    "cluster of Dask, as on a computer with a GPU"
)
_CLUSTER_TIP = (
    "The address of its scheduler, which was told where that was started (dask scheduler), a file that says it, or "
    "local:4 for 4 processes on this computer. Workers have to see views and result under the same paths. The run goes on "
    "when napari is closed"
)
_APART_TIP = (
    "Another process computes, which goes on when napari is closed. Open its unfinished result, a folder NAME.partial, "
    "to see how far it is"
)
_MAPS_TIP = (
    "Two layers over the result, and files beside it where it goes to disk: light that the views speak against, and, of "
    "models that say so, how far each voxel may be off. Views need PSFs; it takes about half as long again"
)
_PLACE_TIP = "Large volumes go to disk: then a cancelled run can go on later"


class OutputForm(Form):
    """The device, memory or a file, and what to do with a file that is there already.

    A file that nobody has named yet gets a proposed name that nothing has, so that the run can begin at once. A name may go
    on inside a file, as `fused.h5:/left`.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        file = FileField()
        apart = CheckBox(name="apart", label="Goes on", tooltip=_APART_TIP)
        apart.text = "also when napari is closed"
        maps = CheckBox(name="maps", label="Maps too", tooltip=_MAPS_TIP)
        maps.text = "of how far the result can be trusted"
        super().__init__(
            [
                Words(
                    [*offered_devices(), ("Cluster…", _CLUSTER)], name="device", label="Compute on", tooltip=_DEVICE_TIP
                ),
                Field(AddressField(), name="cluster", label="Cluster", tooltip=_CLUSTER_TIP),
                Words(offered_places(series=False), name="place", label="Result in", tooltip=_PLACE_TIP),
                Field(file, name="file", label="File"),
                Words(name="existing", label="There already", tooltip="There is something of this name already"),
                apart,
                maps,
            ],
            parent,
        )
        self._suffixes: tuple[str, ...] = ("",)
        self._choice: SeriesChoice | None = None
        # Where single volumes go, while a series is chosen.
        self._alone = ""
        self._folder, self._beside, self._stem = "", "", "fused"
        self._proposed = ""
        self._used: Path | None = None
        self._path = file.line
        self["place"].changed.connect(self._change_place)
        self["file"].changed.connect(self._follow_name)
        self["device"].changed.connect(self.refresh)
        self["apart"].changed.connect(self.refresh)
        self.refresh()

    @property
    def device(self) -> str:
        """The chosen device, as `pick_device` takes it; of a cluster, what is computed here meanwhile."""
        return "auto" if self._on_cluster else str(self["device"].value)

    @property
    def followed(self) -> Path | None:
        """The output whose run is to be followed instead of starting one; None where none is."""
        held = [path for path in self._paths() if self["existing"].value == _FOLLOW and holder(place_of(path))]
        return held[0] if held else None

    @property
    def maps(self) -> bool:
        """Whether maps come with a volume that is fused here."""
        return self._may_have_maps and bool(self["maps"].value)

    @property
    def _may_have_maps(self) -> bool:
        apart = self._on_disk and bool(self["apart"].value)
        return self._choice is None and not self._on_cluster and not apart

    @property
    def _on_cluster(self) -> bool:
        return bool(self["device"].value == _CLUSTER)

    @property
    def names(self) -> str:
        """What is written, in words."""
        files = self._files(self._paths())
        return " and ".join(file.name for file in files) if len(files) < 3 else f"{files[0].name} and more like it"

    @property
    def goes_on(self) -> bool:
        """Whether a run would go on with what is there."""
        return self._on_disk and self["existing"].value in (_RESUME, _RESUME_REPLACE)

    @property
    def _ending(self) -> str:
        """Of the chosen format; "" for memory."""
        return str(self["place"].value)

    @property
    def _on_disk(self) -> bool:
        return bool(self._ending)

    def expect(self, suffixes: tuple[str, ...], choice: SeriesChoice | None = None) -> None:
        """Say what comes.

        Parameters
        ----------
        suffixes : what follows the name in the file of each volume, or of each series: ("",) for a single one
        choice : the volumes of each series, which go to disk; None for volumes
        """
        if (suffixes, choice) == (self._suffixes, self._choice):
            return
        began = (choice is None) != (self._choice is None)
        self._suffixes, self._choice = suffixes, choice
        if began:
            self._offer_places()
        self.refresh()

    def suggest(self, stem: str, beside: str) -> None:
        """Say what a proposed name begins with, and in which folder the views lie, "" where that is not known."""
        if (stem, beside) != (self._stem, self._beside):
            self._stem, self._beside = stem, beside
            if self._is_proposed:
                self._used = None
                self._propose_anew()
            self.refresh()

    def name_next(self) -> None:
        """The result is written: the next one goes beside it, under a name that nothing has."""
        if self._on_disk and not self._is_proposed:
            self._used = self._entered()
            self._propose_anew()

    def target(self, grid: Grid) -> Target:
        """What was chosen, for fused volumes on this grid.

        Raises
        ------
        InputError, OutputError, DeviceError
            If the volumes do not fit there; says what to choose instead.
        """
        prefer = preferences()
        how = (self.device, prefer.threads, prefer.memory_share)
        pick_device(self.device)
        cluster = self._cluster() if self._on_cluster else None
        if not self._on_disk and cluster is not None:
            raise OutputError(
                "what a cluster computes goes to disk: choose an OME-Zarr or another file under Result in"
            )
        if not self._on_disk:
            check_memory(grid, len(self._suffixes))
            return Target(*how, maps=self.maps)
        paths = self._paths()
        if not paths:
            raise OutputError(f"the result has no file yet: name one that ends in {self._ending}")
        answer = self["existing"].value
        resume, overwrite = answer in (_RESUME, _RESUME_REPLACE), answer in (_REPLACE, _RESUME_REPLACE)
        apart = cluster is not None or bool(self["apart"].value)
        target = Target(*how, paths, resume=resume, overwrite=overwrite, maps=self.maps, apart=apart, cluster=cluster)
        if answer == _FOLLOW:
            return target
        if answer == _KEEP:
            there = next((place for place in map(place_of, paths) if place.exists()), place_of(paths[0]))
            raise OutputError(f"{there.name} is there already: choose another name, or choose to replace it")
        for path in paths:
            if self._choice is not None and not writer_of(path).grows:
                # The run looks at the file of each volume before it begins.
                check_place(place_of(path))
                continue
            # Of a series that is gone on with, finished volumes stay.
            if not (target.resume and len(paths) > 1 and place_of(path).exists()):
                check_output(path, overwrite=target.overwrite, resume=target.resume)
        return target

    def state(self) -> dict[str, Any]:
        """What is chosen, as JSON types; of a file, its folder is remembered."""
        if self._on_disk and (paths := self._paths()):
            self._folder = str(place_of(paths[0]).absolute().parent)
        place = self._ending if self._choice is None else self._alone
        chosen = {name: self[name].value for name in ("device", "cluster", "apart", "maps")}
        return chosen | {"place": place, "folder": self._folder}

    def restore(self, state: dict[str, Any]) -> None:
        """Choose what an earlier `state` holds, where it is still offered."""
        self._folder = str(state.get("folder", ""))
        self.set_values(
            {name: state[name] for name in ("device", "cluster", "apart", "maps", "place") if name in state}
        )

    def refresh(self, _: object = None) -> None:
        """Look again at what is there under the chosen name."""
        on_disk = self._on_disk
        if on_disk and self._is_proposed and (not self._proposed or self._are_taken(self._paths())):
            self._propose_anew()
        paths = self._paths()
        self.show_field("file", on_disk)
        self.show_field("cluster", self._on_cluster)
        self.show_field("apart", on_disk and not self._on_cluster)
        self.show_field("maps", self._may_have_maps)
        answers = self._answers(paths) if on_disk and paths else []
        files = self._files(paths)
        self._path.setToolTip("\n".join(map(str, files[:4])) + ("\n…" if len(files) > 4 else ""))
        self["existing"].native.offer(answers)
        self.show_field("existing", bool(answers))
        self.changed.emit()

    def _offer_places(self) -> None:
        """Offer where results can go: those of a series do not fit into memory."""
        native, series = self["place"].native, self._choice is not None
        wanted = self._ending if series else self._alone
        if series:
            self._alone = self._ending
        with signals_blocked(self), signals_blocked(native):
            native.offer(offered_places(series=series))
            native.set_value(wanted)
        self._change_place()

    def _are_taken(self, paths: Sequence[Path]) -> bool:
        """Whether there is a result already, to which nothing is lacking."""
        if self._choice is None:
            return any(place_of(path).exists() for path in paths)
        return any(found_at(path, self._choice) == "finished" for path in paths)

    def _cluster(self) -> str:
        """The cluster that is entered, once its form is right; whether it answers is found out when the run begins."""
        text = str(self["cluster"].value).strip()
        if not text:
            raise InputError("the cluster has no address yet: enter that of its scheduler, as tcp://gpu-server:8786")
        cluster_of(text)
        return text

    def _answers(self, paths: Sequence[Path]) -> list[tuple[str, str]]:
        if any(holder(place_of(path)) for path in paths):
            return [("Being written: follow that run", _FOLLOW)]
        if self._choice is None:
            return _answers([place_of(path) for path in paths])
        return _series_answers({found_at(path, self._choice) for path in paths})

    def _files(self, paths: Sequence[Path]) -> list[Path]:
        """What is written at these places: of a series, a file for each volume, where they cannot go into one."""
        if self._choice is None:
            return list(paths)
        suffixes = [self._choice.suffix_at(index) for index in self._choice.indices]
        return [
            file
            for path in paths
            for file in ([path] if writer_of(path).grows else [named_apart(path, each) for each in suffixes])
        ]

    @property
    def _is_proposed(self) -> bool:
        """Whether the name was proposed and nobody has changed it; one that was cleared has been changed."""
        return self._path.text() == self._proposed

    def _change_place(self, _: object = None) -> None:
        """Let the name end as the chosen format asks for."""
        text = self._path.text()
        if self._on_disk and text and not self._is_proposed:
            self._name(split_ending(str(place_of(text)))[0] + self._ending)
        elif self._on_disk or not text:
            self._used, self._proposed = None, ""
            self._name("")
        self.refresh()

    def _follow_name(self, _: object = None) -> None:
        """Let the format be the one that the name ends as."""
        if self._on_disk and is_written(self._path.text()):
            with signals_blocked(self["place"].native):
                self["place"].value = writer_of(self._path.text()).new_suffix
        self.refresh()

    def _propose_anew(self) -> None:
        """Propose a name that is free now: beside the last result, or where they are wanted, or beside the views."""
        preferred = preferences().output_folder
        wanted = [Path(folder).expanduser() for folder in (self._folder, preferred, self._beside) if folder]
        folders, stem, ending = [*wanted, Path.cwd(), Path.home()], self._stem, self._ending
        if self._used is not None:
            place = place_of(self._used)
            folders, (stem, typed) = [place.parent], split_ending(place.name)
            ending = typed or ending
        each = [] if self._choice is None else [self._choice.suffix_at(index) for index in self._choice.indices]
        ends = [suffix + more + ending for suffix in self._suffixes for more in ("", *each)]
        found = fresh_name(folders, stem, ends)
        free = None if found is None else Path(f"{found}{ending}")
        if free is not None and self._used is not None:
            free = format_of(self._used).elsewhere(self._used, free)
        self._proposed = "" if free is None else str(free)
        self._name(self._proposed)

    def _name(self, text: str) -> None:
        """Enter a name."""
        with signals_blocked(self._path):
            self._path.setText(text)

    def _entered(self) -> Path:
        """What is entered, in the folder of the preferences where it names none; its name is empty where nothing is."""
        path = Path(self._path.text().strip()).expanduser()
        folder = preferences().output_folder
        # An absolute path stays what it is.
        return Path(folder).expanduser() / path if folder and path.name else path

    def _paths(self) -> tuple[Path, ...]:
        """What all volumes are written as; none while no name is entered."""
        path = self._entered()
        if not path.name:
            return ()
        return tuple(named_apart(path, suffix, self._ending) for suffix in self._suffixes)


def _series_answers(found: Set[Found]) -> list[tuple[str, str]]:
    """What can be done with what is there of series."""
    if "unfinished" in found:
        return [("Go on with the unfinished run", _RESUME), ("Discard the unfinished run", _REPLACE)]
    if "lacking" in found:
        return [("Fuse what is missing", _RESUME), ("Keep it", _KEEP), ("Replace it", _REPLACE)]
    return [("Keep it", _KEEP), ("Replace it", _REPLACE)] if "finished" in found else []


def _answers(paths: Sequence[Path]) -> list[tuple[str, str]]:
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
