"""The Fuse panel: choose views, methods and output, look at a preview, start, watch, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
from napari.layers import Image
from qtpy.QtWidgets import QWidget

from napari_mvfusion.cli.script import as_command, as_python, command_words
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.errors import InputError, MVFusionError, OutputError
from napari_mvfusion.gui.entrances import open_beads_form
from napari_mvfusion.gui.jobs.fusions import Fusions, Target, describe, describe_views, suffixes
from napari_mvfusion.gui.jobs.saving import SaveResult
from napari_mvfusion.gui.jobs.status import in_window
from napari_mvfusion.gui.layers.notes import notes, why_no_views
from napari_mvfusion.gui.layers.opened import Opened, open_layers
from napari_mvfusion.gui.layers.view_list import NO_VIEWS, ViewList
from napari_mvfusion.gui.panels.base import CopyAs, Panel, no_file_holds, not_in_files
from napari_mvfusion.gui.panels.fuse.forecast_line import ForecastLine
from napari_mvfusion.gui.panels.fuse.live_preview import LivePreview, Source
from napari_mvfusion.gui.panels.fuse.method_form import MethodForm
from napari_mvfusion.gui.panels.fuse.output_form import OutputForm
from napari_mvfusion.gui.panels.fuse.psf_flaws import PSFFlaws, WaysOut
from napari_mvfusion.gui.panels.fuse.series_form import SeriesForm
from napari_mvfusion.gui.panels.fuse.voxels_form import VoxelsForm
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, group, row
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.io.formats import growing_format
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import free_bytes, pick_device
from napari_mvfusion.system.words import sentence

_CHECK_MS = 50
_MEND_FIRST = "The PSF in the red box has to be mended first"
_LOOKING = "The PSFs are being looked at"
_COUNTING = "The volumes of the files are being counted"
_STOPS = "Stops within a second; what is finished is kept"
_ASKS = "Asks the process to end after the step that it is at; what is finished is kept"
_FOLLOWS = "Show how far the run is that writes this file"


class FusePanel(Panel):
    """Fuses the ticked layers in the background and adds each result as a layer that fills while it is computed.

    Parameters
    ----------
    viewer : the viewer whose layers are fused
    """

    title = "Fuse"
    name = "fuse"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._fusions = Fusions(viewer, self.status, self)
        self._views = ViewList(viewer.layers)
        self._psfs = PSFFlaws(viewer, self.status)
        self._method = MethodForm()
        self._live = LivePreview(viewer, self._source)
        self._output = OutputForm()
        self._voxels = VoxelsForm()
        self._series = SeriesForm(viewer)
        self._volume = text_label("volume")
        self._hint = text_label("hint")
        self._ways_out = WaysOut(
            self._psfs.choose, lambda: open_beads_form(viewer.window), partial(self._method.tick_only, "average")
        )
        self._fuse = push_button("Fuse", "fuse")
        self._cancel = push_button("Cancel", "cancel")
        self._go_on = push_button("Go on with it", "go_on")
        self._go_on.hide()
        self._left: tuple[Path, Sequence[str]] | None = None
        self._copy = CopyAs(self._as_text, self.status.say)
        self._save = SaveResult(viewer, self.status)
        self._forecast = ForecastLine()
        self._lay_out()
        self._due = Later(_CHECK_MS, self._check, self)
        self._restore()
        for part in (self._views, self._series, self._method, self._output):
            part.changed.connect(self._due.ask)
        self._voxels.settled.connect(self._due.ask)
        self._method.changed.connect(self._live.refresh)
        self._views.psf_wanted.connect(self._psfs.choose)
        self._psfs.changed.connect(self._due.ask)
        self._fuse.clicked.connect(self._start)
        self._cancel.clicked.connect(self._stop)
        self._fusions.reported.connect(self._forecast.learn)
        self._fusions.finished.connect(self._output.name_next)
        self._fusions.left.connect(self._offer_to_go_on)
        self._go_on.clicked.connect(self._go_on_left)
        self._fusions.changed.connect(self._follow)
        self._check()

    @property
    def going_on(self) -> str:
        """The run, or what is being saved, while there is one."""
        return self._fusions.going_on or ("Saving the result" if self._save.saver.running else "")

    def _lay_out(self) -> None:
        groups = {
            "Views": (self._views, self._psfs, self._voxels, self._series, self._volume),
            "Methods": (self._method, self._live),
            "Output": (self._output,),
        }
        self._inputs = QWidget()
        column(self._inputs, *(group(title, *parts) for title, parts in groups.items()), None)
        buttons = row((self._fuse, 2), (self._cancel, 1), (self._copy, 1), (self._save, 1))
        actions = (self._hint, self._ways_out, self._go_on, self._forecast, buttons, self._save.saver)
        self._scroll = self.lay_out(self._inputs, *actions)

    def _restore(self) -> None:
        """Begin with what was used last; what was never used begins with the preferences."""
        state = self.remembered()
        self._output.restore({"device": preferences().device})
        if "methods" in state:
            self._method.restore(state["methods"])
            self._output.restore(state.get("output", {}))

    def _check(self) -> None:
        """Tell what would be fused, or why it cannot be, before anybody presses the button."""
        running = self._fusions.running
        self._inputs.setEnabled(not running)
        self._cancel.setEnabled(running)
        self._cancel.setToolTip("Nothing is running" if not running else _ASKS if self._fusions.apart else _STOPS)
        none = self._views.topLevelItemCount() == 0
        nothing = f"{NO_VIEWS} {why_no_views(self.viewer.layers)}".strip()
        problem, volume, remarks, checked, elsewhere = "", nothing if none else "", [], False, False
        if not running and not none:
            try:
                layers = open_layers(self._views.chosen())
                self._series.follow(layers)
                volume = describe_views(layers.views)
                opened, choice = self._series.chosen(layers)
                volume = describe(opened, choice)
                methods = self._chosen_methods()
                sample = notes(self._views.chosen()[0]).get("sample")
                self._output.suggest(f"{sample}-fused" if sample else "fused", opened.folder)
                self._output.expect(suffixes(methods, opened), choice)
                # What is odd from here on may be about PSFs.
                checked = True
                remarks = list(dict.fromkeys(remark for method in methods for remark in method.check(opened.views)))
                remarks += _about_recipe(self._views.chosen())
                target = self._output.target(opened.views.grid)
                if choice is not None:
                    volume += f"\ninto {self._output.names}"
                if target.apart and self._output.followed is None:
                    _check_apart(self._views.chosen(), opened)
                self._forecast.show_for(
                    self._views.chosen(),
                    opened,
                    methods,
                    target.device,
                    on_disk=target.outs is not None,
                    volumes=len((choice or opened).indices),
                )
                elsewhere = target.cluster is not None or self._output.followed is not None
            except OutputError as error:
                problem = str(error)
                self._scroll.ensureWidgetVisible(self._output)
            except MVFusionError as error:
                problem = str(error)
        if not running:
            if none:
                self._series.clear_away()
            self._views.setVisible(not none)
            self._voxels.follow(self._views.chosen())
            self._volume.setText(volume)
            self._volume.setVisible(bool(volume))
            self._psfs.show_layers(self._views.chosen())
            problem = self._ways_out.offer(self._views.chosen(), problem)
            if problem and self._psfs.blocking:
                problem = _MEND_FIRST
            elif self._voxels.busy or ((problem or remarks) and checked and self._psfs.looking):
                # Most of it is mended in a moment, and nothing shall be fused before.
                problem = _LOOKING
            elif self._series.busy:
                problem = problem or _COUNTING
            self._live.refresh()
        if problem or running or none or elsewhere:
            self._forecast.clear_away()
        problem = in_window(problem)
        text = problem or (
            remarks[0] if len(remarks) == 1 else " ".join(f"{sentence(said).rstrip('.')}." for said in remarks)
        )
        self._hint.setText(sentence(text))
        self._hint.setVisible(bool(text))
        obstacle = "A run is going on" if running else NO_VIEWS if none else problem
        self._fuse.setEnabled(not obstacle)
        follows = self._output.followed is not None and not running
        self._fuse.setText("Follow" if follows else "Go on" if self._output.goes_on and not running else "Fuse")
        self._fuse.setToolTip(obstacle or (_FOLLOWS if follows else "Fuse the ticked views with the ticked methods"))
        self._copy.setEnabled(not running and not none)
        self._save.show_state()

    def _chosen_methods(self) -> list[Method]:
        methods = self._method.methods()
        if not methods:
            raise InputError("no method is ticked: tick one or more")
        return methods

    def _chosen(self) -> tuple[Opened, SeriesChoice | None, list[Method], Target]:
        """What would be fused, of it which volumes if these are a series, how, and where to."""
        opened, choice = self._series.chosen(open_layers(self._views.chosen()))
        methods = self._chosen_methods()
        self._output.expect(suffixes(methods, opened), choice)
        return opened, choice, methods, self._output.target(opened.views.grid)

    def follow(self, out: Path, command: Sequence[str] = ()) -> None:
        """Follow the run that writes an output, or has left it unfinished.

        Parameters
        ----------
        out : the output
        command : that goes on with it; none to follow what runs
        """
        if self._fusions.running:
            self.status.say("error", f"a run is going on here: open {out.name} once more when that has ended")
            return
        self._offer_to_go_on(None, None)
        self._live.pause()
        self.status.forget()
        self._fusions.follow(out, command)

    def _offer_to_go_on(self, out: Path | None, command: Sequence[str] | None) -> None:
        """Offer to go on with an output whose command is known; None takes the offer back."""
        self._left = None if out is None or command is None else (out, command)
        self._go_on.setVisible(self._left is not None)
        if out is not None:
            self._go_on.setToolTip(f"Starts the run of {out.name} again, as it was begun; what is finished stays")

    def _go_on_left(self) -> None:
        if self._left is not None:
            self.follow(*self._left)

    def _start(self) -> None:
        try:
            opened, choice, methods, target = self._chosen()
            if (followed := self._output.followed) is not None:
                self.follow(followed)
                return
            commands = self._commands(opened, choice, methods, target) if target.apart else ()
        except MVFusionError as error:
            self.say("error", str(error))
            return
        self._offer_to_go_on(None, None)
        self.remember({"methods": self._method.state(), "output": self._output.state()})
        self._live.pause()
        self.status.forget()
        titles = [method.title if len(methods) > 1 else "" for method in methods]
        self._fusions.start(self._views.chosen(), opened, methods, target, titles, choice, commands)

    def _commands(
        self, opened: Opened, choice: SeriesChoice | None, methods: Sequence[Method], target: Target
    ) -> list[list[str]]:
        """What processes of their own are told, one a method."""
        _check_apart(self._views.chosen(), opened)
        assert opened.inputs is not None
        assert target.outs is not None
        more = [name for name, wanted in (("--resume", target.resume), ("--overwrite", target.overwrite)) if wanted]
        if target.cluster is None:
            free = free_bytes(pick_device(target.device))
            more += ["--memory", f"{max(1, int(free * target.memory_share / 2**20))}M"]
        inputs, volumes = Inputs(**opened.inputs), None if choice is None else self._series.texts()
        return [
            command_words(
                inputs,
                method,
                str(out.absolute()),
                device=target.device,
                volumes=volumes,
                cluster=target.cluster,
                more=more,
            )
            for method, out in zip(methods, target.outs, strict=True)
        ]

    def _stop(self) -> None:
        self._fusions.cancel()
        self._cancel.setEnabled(False)

    def _follow(self) -> None:
        """A run has begun, or the last one is over."""
        if not self._fusions.running:
            self._output.refresh()
        self._check()

    def _source(self) -> Source:
        """What the live preview shows."""
        if self._fusions.running:
            raise InputError("the preview goes on when the run has ended")
        layers = self._views.chosen()
        opened = open_layers(layers)
        method = self._method.current()
        method.check(opened.views)
        return Source(layers, opened, method, self._output.device)

    def _as_text(self, kind: str) -> str:
        """What would be fused, as commands or lines of Python."""
        opened, choice, methods, target = self._chosen()
        if opened.inputs is None:
            raise InputError(not_in_files(self._views.chosen()))
        outs = target.outs or [f"fused{end}{growing_format().new_suffix}" for end in suffixes(methods, opened)]
        if kind != "command" and target.cluster is not None:
            raise InputError("Python would compute here: copy Command, which says the cluster")
        write: Any = partial(as_command, cluster=target.cluster) if kind == "command" else as_python
        inputs, volumes = Inputs(**opened.inputs), None if choice is None else self._series.texts()
        texts = [
            write(inputs, method, str(out), device=target.device, volumes=volumes, maps=target.maps)
            for method, out in zip(methods, outs, strict=True)
        ]
        return "\n".join(texts)


def _check_apart(layers: Sequence[Image], opened: Opened) -> None:
    """Refuse views that another process cannot open as they are."""
    if opened.inputs is None or len(opened.indices) > 1:
        raise InputError(f"another process opens the views from their files, and {not_in_files(layers)}")
    if said := _about_recipe(layers):
        reason = (
            said[0].removeprefix("Its recipe cannot repeat this, as ").removeprefix("Its recipe cannot repeat this: ")
        )
        raise InputError(
            f"another process opens the views from their files, and {reason.removesuffix(', and it can.')}"
        )


def _about_recipe(layers: Sequence[Image]) -> list[str]:
    """That recipes will not repeat a fusion, where PSFs, weights or transmissions are not those of files."""
    lacking = no_file_holds(layers)
    if lacking and all(notes(layer).get("inputs") is not None for layer in layers):
        return [f"Its recipe cannot repeat this: {lacking}."]
    changed = [f"'{layer.name}' ({what})" for layer in layers if (what := notes(layer).get("psf_by_hand"))]
    if not changed:
        return []
    return [
        f"Its recipe cannot repeat this, as no file says what was done to the PSF of {', '.join(changed)}: press Save "
        "views… in Views & PSFs first, and it can."
    ]
