"""What is asked about how much a view counts from place to place: a box, or two depths between which it fades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDialogButtonBox, QFormLayout, QGridLayout, QLabel, QPushButton, QWidget

from napari_mvfusion.data.geometry import FloatTriple, float_triple
from napari_mvfusion.data.trust import EDGE_VOXELS, Fade
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.panels.views.dialogs import Question
from napari_mvfusion.gui.widgets.inputs import NumberField, WordList, describe, push_button, text_label
from napari_mvfusion.gui.widgets.layout import Part

BoxUm = tuple[FloatTriple, FloatTriple]
"""First and last place (z, y, x) in the world, um."""

_FARTHEST_UM = 1_000_000.0
_DECIMALS = 2
# Components of an axis that are worth a word.
_LEAST = 0.2


class TrustDialog(Question):
    """Numbers that a layer follows while they are entered; it stands beside the window and does not block it.

    `changed` tells of other numbers, `taken_away` that the view is not to count by them any more.

    Parameters
    ----------
    name : of the object
    title : of the window
    is_set : whether the view counts by such numbers already
    parent : the panel
    """

    changed = Signal()
    taken_away = Signal()

    def __init__(self, name: str, title: str, parent: QWidget | None, *, is_set: bool) -> None:
        super().__init__(name, title, QDialogButtonBox.StandardButton.Ok, parent)
        self.setModal(False)
        self._keep = QCheckBox("Show as layer also when this is closed")
        describe(self._keep, "keep_trust", "Keep the layer")
        self._lacking = text_label("lacking", "")
        self._unseen = text_label("unseen", "")
        if is_set:
            away: QPushButton = self._buttons.addButton("Take away", QDialogButtonBox.ButtonRole.ResetRole)
            away.setObjectName("take_away")
            away.clicked.connect(self.taken_away)

    @property
    def keeps_layer(self) -> bool:
        """Whether the layer stays."""
        return self._keep.isChecked()

    def entries(self) -> Mapping[str, Any]:
        """What was entered, as entries of a choice.

        Raises
        ------
        InputError
            If it cannot be meant.
        """
        raise NotImplementedError

    def say(self, lacking: str) -> None:
        """Let it be answered, or say what is lacking."""
        self._let_answer(lacking)
        self._lacking.setText(lacking)

    def say_unseen(self, words: str) -> None:
        """Say what no view would see; "" where there is no such place, or that is not known yet."""
        self._unseen.setText(words)

    def _rest(self) -> tuple[Part, ...]:
        return self._lacking, self._unseen, self._keep

    def _number(self, name: str, called: str, value: float) -> NumberField:
        field = NumberField(-_FARTHEST_UM, _FARTHEST_UM, _DECIMALS)
        field.setSuffix(" µm")
        describe(field, name, called)
        field.set_number(round(value, _DECIMALS))
        field.changed.connect(self.changed)
        return field


class FadeDialog(TrustDialog):
    """Two depths.

    Parameters
    ----------
    name : of the layer
    axis : unit vector (z, y, x) along which depth is counted
    deep_um : how deep the view is
    fade : that it has, or None
    parent : the panel
    """

    def __init__(
        self, name: str, axis: FloatTriple, deep_um: float, fade: Fade | None, parent: QWidget | None = None
    ) -> None:
        super().__init__("fade_dialog", "Fading with depth", parent, is_set=fade is not None)
        given = Fade(round(deep_um / 2, 1), round(deep_um, 1)) if fade is None else fade
        self._full = self._number("full_um", "Depth to which it counts fully, micrometres", given.full_um)
        self._none = self._number("none_um", "Depth from which on it does not count, micrometres", given.none_um)
        form = QFormLayout()
        form.addRow("counts fully to", self._full)
        form.addRow("not at all from", self._none)
        self._ask(
            f"How deep does {name} count? Depth 0 is {side_of(axis)}, and the view reaches {deep_um:.4g} µm deep. "
            "To drop the near side in place of the far one, let the second depth be the lesser.",
            form,
            *self._rest(),
        )

    def entries(self) -> Mapping[str, Any]:
        """The fade; raises `InputError` where both depths are one."""
        full, none = float(self._full.value()), float(self._none.value())
        if full == none:
            raise InputError("The two depths are the same: between them the view fades.")
        return {"fade": Fade(full, none)}


class BoxDialog(TrustDialog):
    """Where a box begins and ends.

    `wanted` tells the name of a Shapes layer whose box is to be taken.

    Parameters
    ----------
    name : of the layer
    extent : of the view
    edge_um : how wide the edges of the box are along (z, y, x), over which the view counts less and less
    box : that it has, or None
    parent : the panel
    """

    wanted = Signal(str)

    def __init__(
        self, name: str, extent: BoxUm, edge_um: FloatTriple, box: BoxUm | None, parent: QWidget | None = None
    ) -> None:
        super().__init__("box_dialog", "In a box", parent, is_set=box is not None)
        self._extent = extent
        grid = QGridLayout()
        self._fields: list[tuple[NumberField, NumberField]] = []
        for row, (axis, low, high) in enumerate(zip("zyx", *(box or extent), strict=True)):
            pair = (
                self._number(f"first_{axis}", f"First place along {axis}, micrometres", low),
                self._number(f"last_{axis}", f"Last place along {axis}, micrometres", high),
            )
            for column, part in enumerate((QLabel(axis), pair[0], QLabel("to"), pair[1])):
                grid.addWidget(part, row, column)
            self._fields.append(pair)
        self._shapes = WordList()
        describe(self._shapes, "shapes", "Shapes layer", "Layers of shapes, in which a box can be drawn")
        self._take = push_button("Take its box", "take_shapes", "Take the box round its chosen shapes, or round all")
        self._take.clicked.connect(lambda: self.wanted.emit(self._shapes.value()))
        grid.addWidget(self._shapes, 3, 0, 1, 3)
        grid.addWidget(self._take, 3, 3)
        self._ask(
            f"Where does {name} count? Within this box of the world; over its outermost {EDGE_VOXELS} voxels "
            f"({_edges(edge_um)}; a quarter of a thin box) less and less, so that no edge is seen.",
            grid,
            *self._rest(),
        )
        self.offer(())

    def offer(self, names: tuple[str, ...]) -> None:
        """Offer the Shapes layers of these names."""
        self._shapes.offer([(name, name) for name in names])
        self._shapes.setVisible(bool(names))
        self._take.setVisible(bool(names))

    def show_box(self, low: np.ndarray, high: np.ndarray) -> None:
        """Enter a box; along axes where it has no extent, as those of a rectangle, the view's own."""
        low, high = (np.where(high > low, given, own) for given, own in zip((low, high), self._extent, strict=True))
        for (first, last), start, end in zip(self._fields, low, high, strict=True):
            first.set_number(round(float(start), _DECIMALS))
            last.set_number(round(float(end), _DECIMALS))

    def entries(self) -> Mapping[str, Any]:
        """The box."""
        first, last = (float_triple(float(pair[end].value()) for pair in self._fields) for end in (0, 1))
        return {"box_um": (first, last)}


def _edges(edge_um: FloatTriple) -> str:
    """Widths along z, y and x, in words: one where they are alike."""
    said = [f"{width:.3g}" for width in edge_um]
    each = said[:1] if len(set(said)) == 1 else [f"{axis} {width}" for axis, width in zip("zyx", said, strict=True)]
    return f"{', '.join(each)} µm"


def side_of(axis: FloatTriple) -> str:
    """On which side of a view depth along an axis (z, y, x) begins, in words."""
    order = sorted(range(3), key=lambda i: -abs(axis[i]))
    sides = [f"{'zyx'[i]} is {'lowest' if axis[i] > 0 else 'highest'}" for i in order if abs(axis[i]) > _LEAST]
    return f"where {' and '.join(sides)}"
