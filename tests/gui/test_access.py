"""Panels without a mouse, without colours, and with a wheel: names, the way of the Tab key, contrast, scrolling."""

from itertools import pairwise

import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import QPoint, QPointF, Qt, QThreadPool
from qtpy.QtGui import QColor, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGroupBox,
    QLabel,
    QScrollBar,
    QTabBar,
    QWidget,
)

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.compare.panel import ComparePanel
from napari_mvfusion.gui.panels.finetune.panel import FineTunePanel
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.gui.widgets.layout import stops
from napari_mvfusion.gui.widgets.plots import CURVES

PANELS = [ViewsPanel, FusePanel, ComparePanel, FineTunePanel]


@pytest.fixture(params=PANELS, ids=[kind.__name__ for kind in PANELS])
def panel(request, model, qtbot, small_views, show_views):
    """Each of the panels, with two views in it."""
    panel = request.param(model)
    qtbot.addWidget(panel, before_close_func=lambda widget: widget.setParent(None))
    panel.resize(390, 1600)
    panel.show()
    qtbot.waitExposed(panel)
    show_views(model, small_views)
    # All that it found out about them is shown.
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)
    return panel


def own_parts(panel):
    """What can have the focus by the Tab key, seen or not; not the inner parts of Qt's own widgets."""
    parts = [part for part in panel.findChildren(QWidget) if part.focusProxy() is None]
    tab = Qt.FocusPolicy.TabFocus
    parts = [part for part in parts if (part.focusPolicy() & tab) == tab]
    return [part for part in parts if not any(isinstance(up, QComboBox) for up in ancestors(part))]


def ancestors(widget):
    while (widget := widget.parentWidget()) is not None:
        yield widget


def spoken(panel, part):
    """What a screen reader says: as Qt finds it out."""
    if part.accessibleName():
        return part.accessibleName()
    if isinstance(part, QAbstractButton):
        return part.text()
    if isinstance(part, QTabBar):
        return part.tabText(0)
    buddies = [label.text() for label in panel.findChildren(QLabel) if label.buddy() is part]
    if isinstance(part.parentWidget(), QGroupBox):
        buddies.append(part.parentWidget().title())
    return next(iter(buddies), "")


def test_whatever_has_the_focus_says_what_it_is(panel):
    parts = own_parts(panel)
    assert len(parts) > 8
    silent = [
        f"{type(part).__name__} '{part.objectName()}' in {type(part.parentWidget()).__name__}"
        for part in parts
        if not any(letter.isalpha() for letter in spoken(panel, part))
    ]
    assert silent == []


def test_parts_of_a_kind_in_one_panel_are_told_apart(panel):
    names = [spoken(panel, part) for part in stops(panel)]
    doubles = {name for name in names if names.count(name) > 1}
    assert doubles <= {"Live preview of"}


def test_tab_goes_through_the_panel_from_top_to_bottom(panel, qtbot):
    order = stops(panel)
    assert len(order) > 5
    order[0].setFocus()
    for expected in order[1:]:
        qtbot.keyClick(panel.focusWidget(), Qt.Key.Key_Tab)
        assert panel.focusWidget() is expected
    qtbot.keyClick(order[-1], Qt.Key.Key_Backtab)
    assert panel.focusWidget() is order[-2]
    # As they are seen: nothing lies above what came before it, save in the same line.
    places = [(part.mapTo(panel, QPoint(0, 0)).y(), part.height()) for part in order]
    assert all(low >= high - max(height, tall) for (high, height), (low, tall) in pairwise(places))


def turn_wheel(widget):
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(widget.mapToGlobal(widget.rect().center())),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def test_the_wheel_changes_nothing_that_it_passes(panel):
    panel.setFocus()
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider)
    inputs = [part for kind in kinds for part in panel.findChildren(kind) if not isinstance(part, QScrollBar)]
    inputs = [part for part in inputs if isinstance(part, QWidget) and part.focusProxy() is None]
    assert inputs
    for part in inputs:
        part.clearFocus()
        read = part.currentIndex if isinstance(part, QComboBox) else part.value
        before = read()
        turn_wheel(part)
        assert read() == before, f"{part.objectName()} follows the wheel"
        assert not part.hasFocus(), f"{part.objectName()} takes the focus by the wheel"
        assert part.focusPolicy() != Qt.FocusPolicy.WheelFocus


def luminance(colour):
    """Relative luminance as the Web Content Accessibility Guidelines define it."""
    parts = np.array([colour.redF(), colour.greenF(), colour.blueF()])
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def of_theme(name, part):
    return QColor(*(int(value) for value in getattr(get_theme(name), part).as_rgb_tuple()[:3]))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_curves_are_seen_in_both_themes(theme):
    background = of_theme(theme, "background")
    for colour in CURVES:
        assert contrast(QColor(colour), background) >= 3, colour
    assert len(set(CURVES)) == len(CURVES)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("kind", ["error", "warning", "done"])
def test_messages_can_be_read_in_both_themes(theme, kind):
    background = of_theme(theme, "background")
    style = box_of(kind)
    red, green, blue, opacity = (int(part) for part in style[style.index("(") + 1 : style.index(")")].split(","))
    share = opacity / 255
    mixed = [
        round(share * over + (1 - share) * under)
        for over, under in zip((red, green, blue), background.getRgb()[:3], strict=True)
    ]
    assert contrast(of_theme(theme, "text"), QColor(*mixed)) >= 4.5


def test_no_words_of_a_panel_have_a_colour_of_their_own(panel):
    """The theme's text has the contrast; a grey that stands back in one theme cannot be read in the other."""
    for label in panel.findChildren(QLabel):
        style = label.styleSheet().replace("background-color", "")
        assert "color:" not in style, label.objectName()
