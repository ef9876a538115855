"""The table of views: a row a layer, with its angle, weight and PSF, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.views.picture import PSFPicture, numbers_of
from napari_mvfusion.gui.widgets.inputs import (
    AngleField,
    NumberField,
    describe,
    push_button,
    text_label,
    wrapped,
)
from napari_mvfusion.gui.widgets.layout import column, discard, fill
from napari_mvfusion.gui.widgets.names import NameLabel
from napari_mvfusion.measures.view_problems import Fix, Kind, Problem
from napari_mvfusion.psf.cuts import PSFLook

_PSF_WIDTH = 66
_NUMBERS_WIDTH = 160
_TICK_WIDTH = 20
# Stands back without a colour of its own: no grey can be read on both themes.
_BACK = "font-style: italic;"
# Between dark and light, so that it is seen in both themes.
_LINE = "background: rgba(128, 128, 128, 110);"
_ANGLE_TIP = (
    "Direction of the detection axis about x, degrees: 0 looks along z, 90 along y. It is used to match and to turn PSFs; "
    "the picture itself does not depend on it"
)
_BEYOND_TIP = (
    "This view looks {direction}, which no angle about x can say. Its place, and how a PSF of its own frame is turned, come "
    "from its registration"
)
_WEIGHT_TIP = (
    "How much this view counts beside the others. At 2 it counts twice: the fused volume follows it where they disagree"
)
_FIELD_TIP = (
    "Where this view has data: recognised by itself, everywhere, or where a mask says so; the rest is left to the other "
    "views. Where it counts more or less than they do, and how much light it lost"
)
_NUMBERS_TIP = (
    "Sides of the PSF, and its full width at half maximum: details smaller than that are blurred in this view"
)
_PICTURE_TIP = (
    "The PSF as it is used, in the frame of the fused volume: cuts through its peak, across z, y and x. The first "
    "letter of a label runs down, the second to the right. Brightness is the square root, so that tails show; the blue "
    "marks are the middle voxel, where the peak belongs"
)


@dataclass(frozen=True, eq=False)
class RowState:
    """What a row shows.

    Attributes
    ----------
    name : of the layer
    tip : where the view came from
    included : whether it is fused
    angle : degrees, or None
    direction : where a view without an angle looks, in a word or two, if that is known; may be empty
    weight : above 0
    look : of the PSF, or None
    look_text : instead of a look, for example that the PSF is being looked at; may be empty
    source : where the PSF came from, in words
    problems : what is wrong
    """

    name: str
    tip: str
    included: bool
    angle: float | None
    direction: str
    weight: float
    look: PSFLook | None
    look_text: str
    source: str
    problems: tuple[Problem, ...]


class ViewRow(QFrame):
    """Shows a `RowState` and tells what the user does; it knows neither layers nor PSFs.

    Attributes
    ----------
    names : of the view and of its file, which stand below those of other views
    """

    ticked = Signal(bool)
    angle_entered = Signal(object)
    weight_entered = Signal(float)
    fix_pressed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("view_row")
        self._wide: bool | None = None
        self._tick = QCheckBox()
        tip = "Whether this view is fused. What is not ticked leaves no trace in the fused volume"
        describe(self._tick, "included", "Fuse", wrapped(tip))
        self._tick.setFixedWidth(_TICK_WIDTH)
        self._name = NameLabel("name")
        font = self._name.font()
        font.setBold(True)
        self._name.setFont(font)
        self._angle = AngleField()
        describe(self._angle, "angle", "Angle", wrapped(_ANGLE_TIP))
        self._weight = NumberField(0.001, 1000.0, 3)
        describe(self._weight, "weight", "Weight", wrapped(_WEIGHT_TIP))
        for field in (self._angle, self._weight):
            field.setKeyboardTracking(False)
            # As wide as its longest text, in whatever font; napari's padding leaves no room for two in a row.
            field.setStyleSheet("padding: 1px 2px;")
            field.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._angle_label, self._weight_label = QLabel("angle °"), QLabel("weight")
        self._picture = PSFPicture()
        self._picture.setToolTip(wrapped(_PICTURE_TIP))
        self._numbers = QLabel()
        self._numbers.setObjectName("numbers")
        self._numbers.setToolTip(wrapped(_NUMBERS_TIP))
        self._source = NameLabel("source")
        self._source.setStyleSheet(_BACK)
        self.names = (self._name, self._source)
        self._psf = push_button("PSF", "psf", "Choose, take over, turn, mirror, save or remove the PSF of this view")
        self._field = push_button("Field", "field", _FIELD_TIP)
        self.menu, self.field_menu = QMenu(self), QMenu(self)
        for button, menu in ((self._psf, self.menu), (self._field, self.field_menu)):
            button.setMenu(menu)
            button.setFixedWidth(_PSF_WIDTH)
        self._notices = Notices()
        self._notices.pressed.connect(self.fix_pressed)
        self._tick.toggled.connect(self.ticked)
        self._angle.changed.connect(lambda: self.angle_entered.emit(self._angle.number()))
        self._weight.changed.connect(lambda: self.weight_entered.emit(self._weight.number()))
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(4, 6, 4, 6)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(4)
        self._title = QWidget()
        title = QHBoxLayout(self._title)
        title.setContentsMargins(0, 0, 0, 0)
        fill(title, (self._tick, (self._name, 1), self._field))
        self._fields = QWidget()
        self._pairs = QGridLayout(self._fields)
        self._pairs.setContentsMargins(0, 0, 0, 0)
        self._pairs.setVerticalSpacing(3)
        self.arrange(wide=False)

    def show_state(self, state: RowState) -> None:
        """Show another state; nothing is told about it."""
        with signals_blocked(self._tick):
            self._tick.setChecked(state.included)
        self._angle.call_unknown(state.direction or "unknown")
        self._angle.setToolTip(
            wrapped(_BEYOND_TIP.format(direction=state.direction) if state.direction else _ANGLE_TIP)
        )
        for editor, value in ((self._angle, state.angle), (self._weight, state.weight)):
            # Setting the same value again would wipe out what is being typed.
            if editor.number() != value:
                with signals_blocked(editor):
                    editor.set_number(value)
        self._name.setText(state.name)
        for widget, called in (
            (self._tick, f"Fuse {state.name}"),
            (self._angle, f"Angle of {state.name}, degrees"),
            (self._weight, f"Weight of {state.name}"),
            (self._psf, f"PSF of {state.name}"),
            (self._field, f"Field of {state.name}"),
        ):
            widget.setAccessibleName(called)
        self._field.setVisible(state.included)
        self._name.setToolTip(state.tip)
        self._picture.show_look(state.look)
        self._picture.setVisible(state.included and state.look is not None)
        self._numbers.setText(state.look_text if state.look is None else numbers_of(state.look))
        self._source.setText(state.source)
        self._source.setToolTip(state.source)
        self._source.setVisible(state.included and bool(state.source))
        self._fields.setVisible(state.included)
        self._numbers.setVisible(state.included and bool(self._numbers.text()))
        self._notices.show_problems(state.problems)

    def arrange(self, *, wide: bool) -> None:
        """One line a view where there is room, else several."""
        if wide == self._wide:
            return
        self._wide = wide
        grid = self._grid
        # Row, column and how many of each.
        places: dict[QWidget, tuple[int, int, int, int]] = {
            self._title: (0, 0, 1, 1) if wide else (0, 0, 1, 2),
            self._fields: (0, 1, 2, 1) if wide else (1, 0, 1, 3),
            self._picture: (0, 2, 2, 1) if wide else (2, 0, 1, 1),
            self._numbers: (0, 3, 2, 1) if wide else (2, 1, 1, 2),
            self._psf: (0, 4, 2, 1) if wide else (0, 2, 1, 1),
            self._source: (1, 0, 1, 1) if wide else (3, 0, 1, 3),
            self._notices: (2, 0, 1, 5) if wide else (4, 0, 1, 3),
        }
        for widget, place in places.items():
            grid.removeWidget(widget)
            grid.addWidget(widget, *place)
        pairs = ((self._angle_label, self._angle), (self._weight_label, self._weight))
        for number, (label, field) in enumerate(pairs):
            self._pairs.removeWidget(label)
            self._pairs.removeWidget(field)
            row, column = (number, 0) if wide else (0, 2 * number)
            self._pairs.addWidget(label, row, column)
            self._pairs.addWidget(field, row, column + 1)
        self._pairs.setColumnStretch(4, 1)
        for number in range(5):
            grid.setColumnStretch(number, int(number == (0 if wide else 1)))
        # The columns of all rows stand below one another, also where there is no PSF.
        grid.setColumnMinimumWidth(2, self._picture.width() if wide else 0)
        grid.setColumnMinimumWidth(3, _NUMBERS_WIDTH if wide else 0)


class Notices(QWidget):
    """Shows problems one below the other, each with the buttons of its fixes."""

    pressed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: list[tuple[Kind, str, tuple[str, ...]]] = []
        self._fixes: list[Fix] = []
        self._column = column(self)
        self._column.setSpacing(3)
        self.hide()

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Show these problems instead of the last ones; widgets are made again only where the words differ."""
        shown = [(problem.kind, problem.text, tuple(fix.label for fix in problem.fixes)) for problem in problems]
        self._fixes = [fix for problem in problems for fix in problem.fixes]
        self.setVisible(bool(problems))
        if shown == self._shown:
            return
        self._shown = shown
        while (item := self._column.takeAt(0)) is not None:
            discard(item.widget())
        number = 0
        for problem in problems:
            self._column.addWidget(self._box(problem, number))
            number += len(problem.fixes)

    def _box(self, problem: Problem, number: int) -> QFrame:
        """One problem; its fixes are counted from `number`, so that buttons find the newest."""
        box = QFrame()
        box.setObjectName(problem.kind)
        if problem.kind != "note":
            box.setStyleSheet(f"QFrame#{problem.kind} {{ {box_of(problem.kind)} }}")
        text = text_label("problem", problem.text)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        line = QHBoxLayout(box)
        line.setContentsMargins(*((0, 0, 0, 0) if problem.kind == "note" else (5, 3, 3, 3)))
        line.addWidget(text, 1)
        buttons = QVBoxLayout()
        buttons.setSpacing(2)
        for i, fix in enumerate(problem.fixes):
            button = push_button(fix.label, f"fix {fix.label}", fix.tip)
            button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._press, number + i))
            buttons.addWidget(button)
        line.addLayout(buttons)
        return box

    def _press(self, number: int) -> None:
        self.pressed.emit(self._fixes[number])


class ViewTable(QWidget):
    """Keeps a row for each layer, in the order of the layers.

    Attributes
    ----------
    rows : of each layer, from top to bottom
    """

    added = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("views")
        self.rows: dict[Image, ViewRow] = {}
        self._lines: list[QFrame] = []
        self._wide = False
        self._column = column(self)
        self._column.setSpacing(0)

    def show_layers(self, layers: Sequence[Image]) -> None:
        """Have rows for these layers; a new row is told, so that it can be connected."""
        if list(self.rows) == list(layers):
            return
        # Not by `takeAt`: an item that Python still holds keeps its widget's new item from ever measuring it again.
        for row in self.rows.values():
            self._column.removeWidget(row)
        for gone in (*self._lines, *(row for layer, row in self.rows.items() if layer not in layers)):
            discard(gone)
        self._lines = []
        before, self.rows = self.rows, {}
        for layer in layers:
            if self.rows:
                line = QFrame()
                line.setFixedHeight(1)
                line.setStyleSheet(_LINE)
                self._lines.append(line)
                self._column.addWidget(line)
            self.rows[layer] = before.get(layer) or self._new(layer)
            self._column.addWidget(self.rows[layer])

    def _new(self, layer: Image) -> ViewRow:
        row = ViewRow()
        row.arrange(wide=self._wide)
        self.added.emit(layer, row)
        return row

    def arrange(self, *, wide: bool) -> None:
        """One line a view where there is room."""
        self._wide = wide
        for row in self.rows.values():
            row.arrange(wide=wide)
