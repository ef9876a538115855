"""One row of the table: a view, its angle, weight and PSF, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFrame, QGridLayout, QHBoxLayout, QLabel, QMenu, QSizePolicy, QWidget
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from napari_mvfusion.gui.panels.views.notices import Notices
from napari_mvfusion.gui.panels.views.picture import PSFPicture, numbers_of
from napari_mvfusion.gui.panels.views.problems import Problem
from napari_mvfusion.gui.widgets.inputs import NumberField, push_button
from napari_mvfusion.psf.cuts import PSFLook

_UNKNOWN = "unknown"
_PSF_WIDTH = 66
_NUMBERS_WIDTH = 160
_TICK_WIDTH = 20
# Stands back without a colour of its own: no grey can be read on both themes.
_BACK = "font-style: italic;"
_PICTURE_TIP = (
    "<qt>The PSF as it is used, in the frame of the fused volume: cuts through its peak, across z, y and x. The first "
    "letter of a label runs down, the second to the right. Brightness is the square root, so that tails show; the blue "
    "marks are the middle voxel, where the peak belongs</qt>"
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
    weight: float
    look: PSFLook | None
    look_text: str
    source: str
    problems: tuple[Problem, ...]


class ViewRow(QFrame):
    """Shows a `RowState` and tells what the user does; it knows neither layers nor PSFs."""

    ticked = Signal(bool)
    angle_entered = Signal(object)
    weight_entered = Signal(float)
    fix_pressed = Signal(object)

    def __init__(self, menu: QMenu, field_menu: QMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("view_row")
        self._wide: bool | None = None
        self._tick = QCheckBox()
        self._tick.setObjectName("included")
        self._tick.setToolTip(
            "<qt>Whether this view is fused. What is not ticked leaves no trace in the fused volume</qt>"
        )
        self._name = QElidingLabel()
        self._name.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._name.setObjectName("name")
        font = self._name.font()
        font.setBold(True)
        self._name.setFont(font)
        self._angle = NumberField(-360.001, 360.0, 3, word=_UNKNOWN)
        self._angle.setObjectName("angle")
        self._angle.setToolTip(
            "<qt>Direction of the detection axis about x, degrees: 0 looks along z, 90 along y. It is used to match and "
            "to turn PSFs; the picture itself does not depend on it</qt>"
        )
        self._weight = NumberField(0.001, 1000.0, 3)
        self._weight.setObjectName("weight")
        self._weight.setToolTip(
            "<qt>How much this view counts beside the others. At 2 it counts twice: the fused volume follows it where views "
            "disagree</qt>"
        )
        for field in (self._angle, self._weight):
            field.setKeyboardTracking(False)
            # As wide as its longest text, in whatever font; napari's padding leaves no room for two in a row.
            field.setStyleSheet("padding: 1px 2px;")
            field.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._angle_label, self._weight_label = QLabel("angle °"), QLabel("weight")
        self._picture = PSFPicture()
        self._picture.setToolTip(_PICTURE_TIP)
        self._numbers = QLabel()
        self._numbers.setObjectName("numbers")
        self._numbers.setToolTip(
            "<qt>Sides of the PSF, and its full width at half maximum: details smaller than that are blurred in this "
            "view</qt>"
        )
        self._source = QElidingLabel()
        self._source.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._source.setObjectName("source")
        self._source.setStyleSheet(_BACK)
        self._psf = push_button(
            "PSF", "psf", "<qt>Choose, take over, turn, mirror, save or remove the PSF of this view</qt>"
        )
        self.menu = menu
        self._psf.setMenu(menu)
        self._psf.setFixedWidth(_PSF_WIDTH)
        self._field = push_button("Field", "field")
        self._field.setToolTip(
            "<qt>Where this view has data: recognised by itself, everywhere, or where a mask says so. The rest is left to "
            "the other views</qt>"
        )
        self.field_menu = field_menu
        self._field.setMenu(field_menu)
        self._field.setFixedWidth(_PSF_WIDTH)
        self._notices = Notices()
        self._notices.pressed.connect(self.fix_pressed)
        self._tick.toggled.connect(self.ticked)
        self._angle.changed.connect(self._tell_angle)
        self._weight.changed.connect(self._tell_weight)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(4, 6, 4, 6)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(4)
        self._title = QWidget()
        title = QHBoxLayout(self._title)
        title.setContentsMargins(0, 0, 0, 0)
        self._tick.setFixedWidth(_TICK_WIDTH)
        title.addWidget(self._tick)
        title.addWidget(self._name, 1)
        title.addWidget(self._field)
        self._fields = QWidget()
        self._pairs = QGridLayout(self._fields)
        self._pairs.setContentsMargins(0, 0, 0, 0)
        self._pairs.setVerticalSpacing(3)
        self.arrange(wide=False)

    def show_state(self, state: RowState) -> None:
        """Show another state; nothing is told about it."""
        with signals_blocked(self._tick):
            self._tick.setChecked(state.included)
        for editor, value in (
            (self._angle, _UNKNOWN if state.angle is None else state.angle),
            (self._weight, state.weight),
        ):
            # Setting the same value again would wipe out what is being typed.
            if editor.value() != value:
                with signals_blocked(editor):
                    editor.set_value(value)
        self._name.setText(state.name)
        self._tick.setAccessibleName(f"Fuse {state.name}")
        self._angle.setAccessibleName(f"Angle of {state.name}, degrees")
        self._weight.setAccessibleName(f"Weight of {state.name}")
        self._psf.setAccessibleName(f"PSF of {state.name}")
        self._field.setAccessibleName(f"Field of {state.name}")
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
        for widget in (self._title, self._fields, self._picture, self._numbers, self._source, self._psf, self._notices):
            grid.removeWidget(widget)
        if wide:
            grid.addWidget(self._title, 0, 0)
            grid.addWidget(self._fields, 0, 1, 2, 1)
            grid.addWidget(self._picture, 0, 2, 2, 1)
            grid.addWidget(self._numbers, 0, 3, 2, 1)
            grid.addWidget(self._psf, 0, 4, 2, 1)
            grid.addWidget(self._source, 1, 0)
            grid.addWidget(self._notices, 2, 0, 1, 5)
        else:
            grid.addWidget(self._title, 0, 0, 1, 2)
            grid.addWidget(self._psf, 0, 2)
            grid.addWidget(self._fields, 1, 0, 1, 3)
            grid.addWidget(self._picture, 2, 0)
            grid.addWidget(self._numbers, 2, 1, 1, 2)
            grid.addWidget(self._source, 3, 0, 1, 3)
            grid.addWidget(self._notices, 4, 0, 1, 3)
        pairs = ((self._angle_label, self._angle), (self._weight_label, self._weight))
        for number, (label, field) in enumerate(pairs):
            self._pairs.removeWidget(label)
            self._pairs.removeWidget(field)
            row, column = (number, 0) if wide else (0, 2 * number)
            self._pairs.addWidget(label, row, column)
            self._pairs.addWidget(field, row, column + 1)
        self._pairs.setColumnStretch(4, 1)
        for column in range(5):
            grid.setColumnStretch(column, int(column == (0 if wide else 1)))
        # The columns of all rows stand below one another, also where there is no PSF.
        grid.setColumnMinimumWidth(2, self._picture.width() if wide else 0)
        grid.setColumnMinimumWidth(3, _NUMBERS_WIDTH if wide else 0)

    def _tell_angle(self) -> None:
        self.angle_entered.emit(self._angle.number())

    def _tell_weight(self) -> None:
        self.weight_entered.emit(float(self._weight.value()))
