"""The choice of what is fused of files with several volumes: the one that is shown, or time points and channels of them."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.addresses import absolute
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_source import SeriesSource, place_in_series, series_source
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.tasks import Latest, once
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import Opened
from napari_mvfusion.gui.panels.regions import leading_index
from napari_mvfusion.gui.widgets.forms import Field, Form, Words
from napari_mvfusion.io.name_table import NameTable

_ONE, _SEVERAL = "one", "several"
_FIELDS = {"t": "timepoints", "c": "channels"}
_TIP = (
    "The files of these views hold several volumes. Try a method on the one that you see, then fuse all of them, each when "
    "its turn comes, into files"
)
_TEXT_TIP = (
    "all, or numbers and ranges with commas between, as 0, 5, 10:20. A range ends before its last number: {example}"
)


class SeriesForm(Form):
    """Offers the volume that is shown, or several; hidden where files hold one, or cannot say how all views are opened.

    Which volumes there are is looked up in a thread; `changed` tells that it is known, too.

    Parameters
    ----------
    viewer : whose sliders choose the volume that is shown
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        times = _TEXT_TIP.format(example="0:100:2 is every second one of the first 100")
        super().__init__(
            [
                Words(name="volumes", label="Volumes", tooltip=_TIP),
                Field(_Text(), name="timepoints", label="Time points", tooltip=times),
                Field(_Text(), name="channels", label="Channels", tooltip=_TEXT_TIP.format(example="0:2 is 0 and 1")),
            ],
            parent,
        )
        self._viewer = viewer
        self._asked: tuple[Inputs | None, dict[str, str], NameTable | None] | None = None
        self._source: SeriesSource | None = None
        self._opened: Opened | None = None
        # Of files that are gone, or that cannot be opened as a series, what is shown can be fused all the same.
        self._task = Latest(self)
        self._task.succeeded.connect(self._take)
        self._task.ended.connect(self.changed)
        self.changed.connect(self._show_fields)
        viewer.dims.events.current_step.connect(self._name_shown)
        self.setVisible(False)

    @property
    def looking(self) -> bool:
        """Whether it is still looked up which volumes there are."""
        return self._task.running

    @property
    def busy(self) -> bool:
        """Whether what is fused depends on what is looked up: of layers with several volumes one, or all."""
        return self.looking and self._opened is not None and bool(self._opened.leading)

    def close_down(self) -> None:
        """Follow the sliders no more."""
        self._viewer.dims.events.current_step.disconnect(self._name_shown)

    def follow(self, opened: Opened) -> None:
        """Offer what there is for views of layers."""
        self._opened = opened
        place = None if opened.all_inputs is None else place_in_series(Inputs(**opened.all_inputs))
        files = {view.name: absolute(view.source) for view in opened.views.views if view.source}
        asked = place, files, notes(opened.frame.first).get("named_files")
        if asked != self._asked:
            self._asked, self._source = asked, None
            self._task.cancel()
            if place is not None:
                self._task.start(once, series_source, *asked)
        self._offer()

    def clear_away(self) -> None:
        """Nothing can be fused now."""
        self._opened = None
        self._offer()

    def chosen(self, opened: Opened) -> tuple[Opened, SeriesChoice | None]:
        """The volume that is fused alone, or the first of the series that is chosen.

        Parameters
        ----------
        opened : as for `follow`

        Raises
        ------
        InputError
            If what is entered names no volumes; tells what there is.
        """
        if self._source is None or opened.all_inputs is None or not self._several:
            return opened, None
        shown = opened.only(self._position(opened))
        if self["volumes"].value != _SEVERAL:
            return shown, None
        texts = {axis: self[_FIELDS[axis]].value for axis in self._several}
        choice = self._source.picked(Inputs(**opened.all_inputs), texts)
        if len(choice.indices) < 2:
            raise InputError("what is entered is a single volume: show it, and choose This one, or enter more of them")
        return shown, choice

    def texts(self) -> tuple[str | None, str | None]:
        """What is entered of time points and channels, None for those of which there is one."""
        timepoints, channels = (self[_FIELDS[axis]].value if axis in self._several else None for axis in "tc")
        return timepoints, channels

    @property
    def _several(self) -> tuple[str, ...]:
        """The axes along which there are several volumes."""
        return () if self._source is None else self._source.several

    def _take(self, source: SeriesSource) -> None:
        """What there is is known: begin with the volume that is shown."""
        self._source = source
        with signals_blocked(self):
            self.set_values({"volumes": _ONE, **dict.fromkeys(_FIELDS.values(), "all")})
        self._offer()

    def _offer(self) -> None:
        offered = self._opened is not None and bool(self._several)
        self.setVisible(offered)
        if offered:
            self._name_shown()
            self._show_fields()

    def _name_shown(self, _: object = None) -> None:
        """Say which volume is the one that is shown."""
        if self._opened is None or not self._several:
            return
        native = self["volumes"].native
        chosen = native.value() or _ONE
        with signals_blocked(self), signals_blocked(native):
            native.offer([(f"This one: {self._words_of_shown(self._opened)}", _ONE), ("Several of them", _SEVERAL)])
            native.set_value(chosen)

    def _show_fields(self) -> None:
        several = self["volumes"].value == _SEVERAL
        for axis, field in _FIELDS.items():
            self.show_field(field, several and axis in self._several)

    def _position(self, opened: Opened) -> tuple[int, ...]:
        """Where the sliders stand on the axes before z of the layers."""
        return leading_index(self._viewer, opened.frame.first, opened.leading)

    def _words_of_shown(self, opened: Opened) -> str:
        inputs = opened.only(self._position(opened)).inputs
        assert self._source is not None
        assert inputs is not None
        return self._source.words_of(Inputs(**inputs))


class _Text(QLineEdit):
    """A line of text that tells every letter."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.value, self.set_value = self.text, self.setText
        self.textChanged.connect(lambda _: self.changed.emit())
