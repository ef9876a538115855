"""What is chosen of a project, all but its views: when, which channel, how much of the world, and how finely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.data.geometry import NO_SIZE, StatedSize
from napari_mvfusion.engine.project_plan import ProjectPlan
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.widgets.forms import Form, Number, Words
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.layout import column
from napari_mvfusion.gui.widgets.names import NameLabel
from napari_mvfusion.io.base import ProjectContents

_TYPED, _APART = "typed", "apart"
_LARGEST_UM = 1e6
_DECIMALS = 5
_LETTERS = 12
_SIZES = ("size_z", "size_y", "size_x")
_UNIT = "How long is one unit of this project's world?"
_OUTSIDE = (
    "This project reads files outside of its own folder, in the place below. Allow that if you know them: a project from "
    "somebody else could lead anywhere."
)


class ProjectOptions(QWidget):
    """A form of what can be chosen; what offers no choice is not shown.

    Parameters
    ----------
    project : what it holds
    """

    changed = Signal()

    def __init__(self, project: ProjectContents) -> None:
        super().__init__()
        self._project = project
        self._size_um: StatedSize = NO_SIZE
        self._form = Form(_fields(project))
        self._unit, self._leave = Form(_unit_fields(project)), Form([_check_box("outside", "Read these files")])
        self._asked = text_label("unit_asked", _UNIT)
        self._explained, self._place = text_label("outside_explained", _OUTSIDE), NameLabel("outside_place")
        questions = (self._explained, self._place, self._leave, self._asked, self._unit)
        column(self, *questions, self._form, None, margins=(0, 0, 6, 0))
        self._show_leave(None)
        self._asked.setVisible(project.unit != "clear")
        self._unit.setVisible(project.unit != "clear")
        for field, many in (
            ("timepoint", len(project.timepoints)),
            ("channel", len(project.channel_numbers)),
            ("registration", len(project.registrations)),
        ):
            self._form.show_field(field, many > 1)
        self._form.show_field("covers", bool(project.boxes))
        for field in ("level", "apart", *_SIZES):
            self._form.show_field(field, False)
        self._unit.show_field("unit_um", False)
        for form in (self._form, self._leave, self._unit):
            form.changed.connect(self._follow)

    @property
    def lacking(self) -> str:
        """What has to be entered still, "" where nothing has."""
        values, unit = self._form.values(), self._unit.values()
        if unit["unit"] == _TYPED and not _number(unit["unit_um"]):
            return "Enter how long one unit is"
        if values["voxels"] == _TYPED and not all(_number(values[name]) for name in _SIZES):
            return "Enter the voxel size along every axis"
        return ""

    def inputs(self, proposed: Inputs) -> Inputs:
        """What is chosen, with the views that are proposed.

        Parameters
        ----------
        proposed : what is taken where nothing is chosen
        """
        values = self._form.values()
        typed = values["voxels"] == _TYPED
        z, y, x = (_number(values[name]) or 1.0 for name in _SIZES)
        return proposed.model_copy(
            update={
                "timepoint": int(values["timepoint"]) if proposed.timepoint is not None else None,
                "channel": int(values["channel"]) if proposed.channel is not None else None,
                "registration": values["registration"] if proposed.registration is not None else None,
                "level": int(values["level"] or 0),
                "box": values["covers"] or None,
                "grid": "isotropic" if typed else values["voxels"],
                "voxel_size_um": (z, y, x) if typed else None,
                "apart": values["apart"] == _APART,
                "world_unit_um": self._unit_um(self._unit.values()),
                "outside": self._leave.values()["outside"],
            }
        )

    def propose(self, proposed: Inputs) -> None:
        """Enter what is proposed."""
        asked = {"timepoint": proposed.timepoint, "channel": proposed.channel, "registration": proposed.registration}
        self._form.set_values({name: str(value) for name, value in asked.items() if value is not None})

    def show_plan(self, plan: ProjectPlan) -> None:
        """Offer what turned out to be there to choose."""
        if plan.needs is not None:
            self._size_um = plan.needs.voxel_size_um
        level = self._form["level"]
        levels = [("Full", "0"), *((f"Coarser, level {n}", str(n)) for n in range(1, plan.levels))]
        chosen = level.value
        level.native.offer(levels)
        self._form.show_field("level", plan.levels > 1)
        self._form.show_field("apart", plan.can_blend)
        self._show_leave(plan.outside)
        if chosen != level.value:
            if chosen in [value for _, value in levels]:
                level.native.set_value(chosen)
            else:
                self.changed.emit()

    def _show_leave(self, place: object) -> None:
        """Ask for leave to read files elsewhere where there are some; the question stays when it is given."""
        if place is not None:
            self._place.setText(str(place))
            self._place.setToolTip(str(place))
        for part in (self._explained, self._place, self._leave):
            part.setVisible(place is not None or self._leave.values()["outside"])

    def _unit_um(self, values: dict[str, Any]) -> float | None:
        if self._project.unit == "clear" or not values["unit"]:
            return None
        if values["unit"] == _TYPED:
            return _number(values["unit_um"])
        return self._project.likely_um[values["unit"]]

    def _follow(self) -> None:
        values = self._form.values()
        is_typed = values["voxels"] == _TYPED
        for name, size in zip(_SIZES, self._size_um, strict=True):
            self._form.show_field(name, is_typed)
            if is_typed and size is not None and not _number(values[name]):
                # What is changed begins with what there was.
                with signals_blocked(self._form):
                    self._form.set_values({name: size})
        self._unit.show_field("unit_um", self._unit.values()["unit"] == _TYPED)
        self.changed.emit()


def _unit_fields(project: ProjectContents) -> list[Any]:
    likely = [(words, words) for words in project.likely_um]
    unasked = "Please choose…" if project.unit == "unclear" else "Not known, in voxels"
    return [
        _words("unit", "One unit is", [(unasked, ""), *likely, ("Another length…", _TYPED)]),
        _number_field("unit_um", "in µm"),
    ]


def _fields(project: ProjectContents) -> list[Any]:
    channels = list(zip(project.channels, map(str, project.channel_numbers), strict=False))
    return [
        _words("timepoint", "Time point", [(str(n), str(n)) for n in project.timepoints]),
        _words("channel", "Channel", channels),
        _words("registration", "Registration", [(name, name) for name in project.registrations]),
        _words("level", "Resolution", [("Full", "0")], "Coarser levels of the project are quicker, and blurred"),
        _words("covers", "Region", [("All views", ""), *((box.name, box.name) for box in project.boxes)]),
        _words(
            "voxels",
            "Voxel size",
            [("Finest, as cubes", "isotropic"), ("That of the first view", "first"), ("Enter a size…", _TYPED)],
            "Of the fused volume. Cubes have the finest voxel size of all views along every axis",
        ),
        *(_number_field(name, f"{name[-1]}, µm") for name in _SIZES),
        _words(
            "apart",
            "Same angle",
            [("Blend into one view", ""), ("Keep each apart", _APART)],
            "Illuminations and tiles of one angle are one view, blended where they overlap, or views of their own",
        ),
    ]


def _words(name: str, label: str, choices: Sequence[tuple[str, str]], tip: str = "") -> Words:
    return Words(choices, _LETTERS, name=name, label=label, tooltip=tip)


def _check_box(name: str, label: str) -> CheckBox:
    made = CheckBox(name=name, label=label)
    # Its label stands before it, as that of every field.
    made.text = ""
    return made


def _number_field(name: str, label: str) -> Number:
    return Number(0.0, _LARGEST_UM, _DECIMALS, bounds={"word": "not known"}, name=name, label=label)


def _number(value: Any) -> float | None:
    return None if isinstance(value, str) else float(value)
