"""Names that are longer than their place: what tells them apart is seen, and the whole where one points at them."""

import pytest
from qtpy.QtCore import QEvent, QPoint
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QStyleOptionViewItem,
    QToolTip,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_mvfusion.gui.widgets.inputs import WordList
from napari_mvfusion.gui.widgets.names import NameDelegate, NameLabel, tell_apart

ANGLES = (0, 90, 180)
LONG = "2024-11-17_zebrafish_H2B-GFP_experiment12_lightsheet_Angle{:03}_deconvolution_ready_registered_488.tif"
NAMES = [LONG.format(angle) for angle in ANGLES]


def pointed_at(qtbot, widget, place):
    """What is told of a place."""
    QToolTip.hideText()
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, place, widget.mapToGlobal(place)))
    qtbot.wait(20)
    return QToolTip.text()


def shown_in(qtbot, widget, width):
    qtbot.addWidget(widget)
    widget.resize(width, 160)
    widget.show()
    qtbot.waitExposed(widget)


def test_labels_below_each_other(qtbot):
    box = QWidget()
    labels = [NameLabel("file", name) for name in NAMES]
    layout = QHBoxLayout(box)
    for label in labels:
        layout.addWidget(label, 1)
    shown_in(qtbot, box, 900)
    assert len({label.shown for label in labels}) == 1
    tell_apart(labels)
    for label, angle in zip(labels, ANGLES, strict=True):
        assert f"Angle{angle:03}" in label.shown
        assert label.fontMetrics().horizontalAdvance(label.shown) <= label.width()
    labels[0].setToolTip("where it lies")
    assert pointed_at(qtbot, labels[0], QPoint(5, 5)) == f"<qt>{NAMES[0]}<br>where it lies</qt>"
    box.resize(4000, 160)
    qtbot.waitUntil(lambda: [label.shown for label in labels] == NAMES)
    assert pointed_at(qtbot, labels[0], QPoint(5, 5)) == "where it lies"


def test_a_name_is_whole_for_those_who_do_not_see_it(qtbot):
    label = NameLabel("file", NAMES[0])
    shown_in(qtbot, label, 120)
    assert label.shown != NAMES[0]
    assert (label.text(), label.accessibleName()) == (NAMES[0], NAMES[0])


@pytest.mark.parametrize("tip", ["", "A view <of four>"])
def test_rows_of_a_list(qtbot, tip):
    tree = QTreeWidget()
    tree.setHeaderHidden(True)
    delegate = NameDelegate(tree)
    for name in NAMES:
        QTreeWidgetItem(tree, [name]).setToolTip(0, tip)
    shown_in(qtbot, tree, 260)
    hint = tree.sizeHintForColumn(0)
    tree.setColumnWidth(0, 240)

    def shown(row):
        index = tree.model().index(row, 0)
        option = QStyleOptionViewItem()
        tree.initViewItemOption(option)
        option.rect = tree.visualRect(index)
        delegate.initStyleOption(option, index)
        return option.text

    assert [f"Angle{angle:03}" in shown(row) for row, angle in enumerate(ANGLES)] == [True] * 3
    # The room for the whole is asked for all the same.
    assert hint > tree.fontMetrics().horizontalAdvance(NAMES[0])
    place = tree.visualItemRect(tree.topLevelItem(1)).center()
    told = pointed_at(qtbot, tree.viewport(), place)
    assert told.startswith(f"<qt>{NAMES[1]}")
    assert ("&lt;of four&gt;" in told) == bool(tip)
    # Names that are changed are told apart anew.
    for row, name in enumerate(NAMES):
        tree.topLevelItem(row).setText(0, name.replace("Angle000", "Angle007").replace("488", f"{row}00"))
    assert "Angle007" in shown(0)
    assert "000" in shown(0)


def test_a_choice(qtbot):
    choice = WordList([(name, name) for name in NAMES])
    shown_in(qtbot, choice, 220)
    choice.set_value(NAMES[2])
    assert "Angle180" in choice.shown
    assert pointed_at(qtbot, choice, QPoint(9, 9)) == f"<qt>{NAMES[2]}</qt>"
    choice.showPopup()
    qtbot.waitExposed(choice.view())
    assert choice.view().width() > choice.fontMetrics().horizontalAdvance(NAMES[0])
    choice.hidePopup()
    choice.resize(2000, 30)
    assert choice.shown == NAMES[2]
