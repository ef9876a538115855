"""The fifth tab: how fine the patterns of each result are along z, y and x, without ground truth, and the curves."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.provenance import views_of_run
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Latest
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.panels.compare.compared_layers import included_views, views_of, with_role
from napari_mvfusion.gui.panels.compare.curves_plot import CurvesPlot, PlottedCurve
from napari_mvfusion.gui.panels.compare.data_versions import DataVersions, Versions, shown_step
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart
from napari_mvfusion.gui.widgets.forms import Form, Words
from napari_mvfusion.gui.widgets.inputs import ask_for_file, push_button, text_label
from napari_mvfusion.gui.widgets.names import NameDelegate
from napari_mvfusion.gui.widgets.plots import CURVES
from napari_mvfusion.measures.fsc import AXES, THRESHOLD, AxisResolution, Outcome, Resolution
from napari_mvfusion.measures.resolution_table import write_resolutions
from napari_mvfusion.methods import method_of_recipe
from napari_mvfusion.methods.base import Method

_WHAT = (
    "The finest pattern along each axis that is not noise, as the length of one period: two halves of the light are fused "
    "like the result, and compared (Fourier shell correlation, 1/7). It says what repeats, not what is true: what a method "
    "fills in counts too. It takes as long as fusing, up to 160 voxels a side."
)
_NOTHING = "Tick results that were fused here: each is fused again from two halves of the light of its views."
_AXIS_TIP = "Of which axis the curves are: they fall below the line at the resolution"
_SHORT: dict[Outcome, str] = {"finer than two voxels": "finer", "no signal": "no signal", "too few voxels": "too few"}

Key = tuple[tuple[int, ...], Versions]


@dataclass(frozen=True, eq=False)
class ResolutionTask:
    """A result whose resolution is to be found: its views and method, or the reason in words why it cannot be."""

    key: Key
    name: str
    views: RegisteredViews | None = None
    method: Method | None = None
    problem: str = ""


class ResolutionTab(ComparePart):
    """A table of resolutions and the curves they were read from; found when the user asks, kept while data are the same.

    Parameters
    ----------
    viewer, compared, status : see `ComparePart`
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status) -> None:
        super().__init__(viewer, compared, status)
        self._known: dict[Key, Resolution | str] = {}
        self._versions = DataVersions()
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._lay_out()
        compared.data_changed.connect(self._versions.notice)
        compared.changed.connect(self._follow)
        compared.time_changed.connect(self._show)
        viewer.events.theme.connect(self._paint)
        self._axis["axis"].changed.connect(self._show)
        self._find.clicked.connect(self._start)
        self._save.clicked.connect(self._save_table)
        self._task.reported.connect(self._take)
        self._task.failed.connect(status.fail)
        self._task.ended.connect(self._show)
        self._paint()
        self._follow()

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.events.theme.disconnect(self._paint)

    def _lay_out(self) -> None:
        self._table = ResolutionTable()
        self._axis = Form(
            [Words([(axis, axis) for axis in AXES], name="axis", label="Curves along", tooltip=_AXIS_TIP)]
        )
        self._plot = CurvesPlot("periods a µm", level=THRESHOLD)
        self._find = push_button("Find resolution", "find_resolution")
        self._save = push_button("Save curves…", "save_resolution")
        self._hint = text_label("resolution_hint")
        buttons = QHBoxLayout()
        buttons.addWidget(self._find, 1)
        buttons.addWidget(self._save, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._hint)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self._table)
        layout.addWidget(self._axis)
        layout.addWidget(self._plot, 1)
        layout.addStretch()

    def _follow(self) -> None:
        """Layers, ticks or data are others: what is known about them stays."""
        current = self._versions.follow(self._compared.listed())
        self._known = {key: one for key, one in self._known.items() if current.issuperset(key[1])}
        self._show()

    def _results(self) -> list[Image]:
        return with_role(self._compared.ticked(), "fused")

    def _key(self, layer: Image) -> Key:
        made_of = [layer, *included_views(self._compared.listed())]
        return shown_step(self._viewer, made_of), self._versions.of(made_of)

    def _missing(self) -> list[ResolutionTask]:
        missing = []
        for layer in self._results():
            key = self._key(layer)
            if key not in self._known:
                try:
                    missing.append(ResolutionTask(key, layer.name, *self._made_of(layer)))
                except InputError as error:
                    missing.append(ResolutionTask(key, layer.name, problem=str(error)))
        return missing

    def _made_of(self, layer: Image) -> tuple[RegisteredViews, Method]:
        """The views and the method that a result was fused from."""
        recipe: dict[str, Any] = notes(layer).get("recipe") or {}
        recipe = recipe.get("series", [recipe])[0]
        if "method" not in recipe:
            raise InputError(
                f"'{layer.name}' has no recipe, so by which method it was fused is not known: fuse it here"
            )
        method = method_of_recipe(recipe["method"]["name"], recipe["method"]["parameters"])
        with_psfs = any(view["psf_sha256"] is not None for view in recipe["views"])
        views = views_of(self._volume(layer), self._compared.listed(), self._viewer.dims.point, with_psfs=with_psfs)
        return views_of_run(recipe, views), method

    def _start(self) -> None:
        with self._told():
            missing = self._missing()
            self._bar.begin("Starting…")
            self._task.start(_find_all, missing)
            self._show()

    def _take(self, found: tuple[Key, Resolution | str]) -> None:
        self._known[found[0]] = found[1]
        self._show()

    def _show(self) -> None:
        layers = self._results()
        known = [self._known.get(self._key(layer)) for layer in layers]
        found = {layer.name: one for layer, one in zip(layers, known, strict=True) if isinstance(one, Resolution)}
        self._table.show_rows([layer.name for layer in layers], known)
        missing, running = known.count(None), self._task.running
        self._find.setEnabled(missing > 0 and not running)
        why = "It is being found" if running else "All is found" if layers else _NOTHING
        self._find.setToolTip(_WHAT if self._find.isEnabled() else why)
        self._save.setEnabled(bool(found))
        self._save.setToolTip("Save the resolutions and curves as CSV" if found else "Nothing is found yet")
        problems = dict.fromkeys(one for one in known if isinstance(one, str))
        parts = dict.fromkeys(one.where for one in found.values() if one.where)
        said = [_NOTHING] if not layers else [_WHAT] if missing == len(layers) else []
        said += [problem[:1].upper() + problem[1:] + "." for problem in problems]
        said += [f"Found{part.removeprefix(',')}." for part in parts]
        said += dict.fromkeys(one.caution for one in found.values() if one.caution)
        self._hint.setText("\n".join(said))
        self._hint.setVisible(bool(said))
        self._table.setVisible(bool(layers))
        for part in (self._axis, self._plot):
            part.setVisible(bool(found))
        self._draw(layers, found)

    def _draw(self, layers: Sequence[Image], found: dict[str, Resolution]) -> None:
        axis, listed = AXES.index(str(self._axis["axis"].value)), self._compared.listed()
        curves, unit = [], "µm"
        for layer in layers:
            if layer.name in found:
                one = found[layer.name].axes[axis]
                colour = CURVES[listed.index(layer) % len(CURVES)]
                curves.append(PlottedCurve(layer.name, colour, one.frequency, one.correlation))
                unit = one.unit.removesuffix("s")
        self._plot.show_curves(curves, "agreement of the halves", f"periods a {unit}, along {AXES[axis]}")

    def _paint(self, event: Any = None) -> None:
        del event
        self._plot.set_theme(self._viewer.theme)

    def _save_table(self) -> None:
        with self._told():
            path = ask_for_file(self, "Save resolutions and curves", "resolution", {"csv": "Table"})
            if path is not None:
                known = {layer.name: self._known.get(self._key(layer)) for layer in self._results()}
                write_resolutions(path, {name: one for name, one in known.items() if isinstance(one, Resolution)})
                self._status.say("done", f"The resolutions are saved as {path}.")


class ResolutionTable(QTableWidget):
    """A row for each result, a column for each axis; it computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("resolutions")
        self.setAccessibleName("Resolution of each result along z, y and x")
        self.setColumnCount(1 + len(AXES))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        NameDelegate(self)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, self.columnCount()):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def show_rows(self, names: Sequence[str], found: Sequence[Resolution | str | None]) -> None:
        """Show what is known: a resolution, the reason why there is none, or None where it was not looked for yet."""
        self.setRowCount(len(names))
        resolutions = [one for one in found if isinstance(one, Resolution)]
        units = [resolutions[0].axes[axis].unit if resolutions else "µm" for axis in range(len(AXES))]
        heads = [f"{axis} ({unit})" for axis, unit in zip(AXES, units, strict=True)]
        self.setHorizontalHeaderLabels(["Result", *heads])
        for row, (name, one) in enumerate(zip(names, found, strict=True)):
            item = QTableWidgetItem(name)
            item.setToolTip(name)
            self.setItem(row, 0, item)
            for axis in range(len(AXES)):
                known = one.axes[axis] if isinstance(one, Resolution) else None
                cell = QTableWidgetItem(_number(known, units[axis]) if known else "–" if one else "")
                cell.setToolTip(_tip(known) if known else one if isinstance(one, str) else "Not found yet")
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, 1 + axis, cell)
        rows = sum(self.rowHeight(row) for row in range(len(names)))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows + 2 * self.frameWidth() + 2)


def _number(one: AxisResolution, unit: str) -> str:
    if one.period is None:
        return _SHORT[one.outcome]
    return one.number if one.unit == unit else one.text


def _tip(one: AxisResolution) -> str:
    return f"Resolution along {one.axis}: {one.text}"


def _find_all(
    check: Checkpoint, tasks: Sequence[ResolutionTask]
) -> Generator[tuple[Key, Resolution | str], None, None]:
    """Find one resolution after the other; what cannot be found says why."""
    for number, task in enumerate(tasks):

        def report(text: str, share: float, number: int = number, name: str = task.name) -> None:
            check.report(f"{name}: {text}", (number + share) / len(tasks))

        if task.views is None or task.method is None:
            yield task.key, task.problem
            continue
        try:
            yield task.key, find_resolution(task.views, task.method, report=report, cancel=check.stopped)
        except InputError as error:
            yield task.key, str(error)
