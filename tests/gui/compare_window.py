"""What the tests of the Compare panel share: a window with views and results, and a person in front of it."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QDockWidget,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTabWidget,
    QTreeWidget,
)

from napari_mvfusion.gui.layers.layer_data import placement, truth_layer, view_layers
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.compare.panel import ComparePanel

LEFT = Qt.MouseButton.LeftButton
TABS = {"Look": 0, "Profile": 1, "Difference": 2, "Metrics": 3, "Resolution": 4}


def fill(viewer, simulation, fused):
    """Open views, the average, the content-based fusion and the ground truth of a simulation."""
    grid = simulation.views.grid
    for data, look, _ in view_layers(simulation.views, sample="nuclei"):
        viewer.add_image(data, **look)
    for method, volume in fused.items():
        notes = {"role": "fused", "sample": "nuclei"}
        viewer.add_image(
            volume.copy(), name=f"nuclei {method}", metadata={KEY: notes}, visible=False, **placement(grid)
        )
    data, look, _ = truth_layer(simulation.truth, grid, sample="nuclei")
    viewer.add_image(data, **look)


def save_as(path):
    """Type a name into the file dialog once it is open, and press its button."""

    def answer():
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog) or not dialog.isVisible():
            QTimer.singleShot(50, answer)
            return
        dialog.findChild(QLineEdit, "fileNameEdit").setText(str(path))
        dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save).click()

    QTimer.singleShot(50, answer)


class Comparer:
    """Uses the panel: finds things by what they are called, clicks on them, and reads what is shown."""

    def __init__(self, viewer, panel, bot):
        self.viewer, self.panel, self.bot = viewer, panel, bot

    def see(self, name, kind=QPushButton):
        found = [widget for widget in self.panel.findChildren(kind, name) if widget.isVisible()]
        return found[0] if found else self.panel.findChild(kind, name)

    def turn_to(self, tab):
        self.panel.findChild(QTabWidget, "tabs").setCurrentIndex(TABS[tab])
        self.bot.wait(50)

    def press(self, name):
        button = self.see(name)
        assert button.isEnabled(), f"{name} cannot be pressed: {button.toolTip()}"
        self.bot.mouseClick(button, LEFT)
        self.bot.wait(100)

    def choose(self, name, text):
        box = self.see(name, QComboBox)
        self.bot.keyClick(box, Qt.Key.Key_Home)
        while box.currentText() != text:
            before = box.currentIndex()
            self.bot.keyClick(box, Qt.Key.Key_Down)
            assert box.currentIndex() > before, f"there is no {text}"
        self.bot.wait(50)

    def choices(self, name):
        box = self.see(name, QComboBox)
        return [box.itemText(index) for index in range(box.count())]

    def rows(self):
        """Name, role and tick of every row of the list."""
        tree = self.panel.findChild(QTreeWidget, "compared")
        items = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount())]
        return [(item.text(0), item.text(1), item.checkState(0) == Qt.CheckState.Checked) for item in items]

    def tick(self, name):
        tree = self.panel.findChild(QTreeWidget, "compared")
        (item,) = tree.findItems(name, Qt.MatchFlag.MatchExactly)
        tree.scrollToItem(item)
        place = tree.visualItemRect(item)
        self.bot.mouseClick(tree.viewport(), LEFT, pos=QPoint(place.left() + 10, place.center().y()))
        self.bot.wait(50)

    def messages(self, kind):
        return [label.text() for label in self.panel.findChildren(QLabel, kind)]

    def words(self, name):
        label = self.see(name, QLabel)
        return label.text() if label.isVisible() else ""

    def table(self):
        """The cells of the table that are shown, row by row, and which are bold."""
        table = self.panel.findChild(QTableWidget, "table")
        columns = [column for column in range(table.columnCount()) if not table.isColumnHidden(column)]
        cells = [[table.item(row, column) for column in columns] for row in range(table.rowCount())]
        return [[(cell.text(), cell.font().bold()) for cell in row] for row in cells]

    def canvas(self):
        """The canvas, to click and type into."""
        return next(w for w in QApplication.allWidgets() if type(w).__name__ == "CanvasBackendDesktop")

    def picture(self):
        """What is seen in the canvas, brightness 0 to 255."""
        self.bot.wait(200)
        return self.viewer.screenshot(flash=False)[..., :3].astype(int)

    def wait_until_computed(self):
        self.bot.waitUntil(lambda: not self.see("cancel").isVisible())
        self.bot.wait(50)

    def close(self):
        """Close the dock as its cross does."""
        dock = self.panel.parentWidget()
        while not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        self.viewer.window.remove_dock_widget(dock)
        self.bot.wait(50)


def looks(viewer):
    """How all layers look, to be compared with later."""
    return {
        layer.name: (
            layer.visible,
            layer.colormap.name,
            layer.blending,
            tuple(layer.contrast_limits),
            tuple(layer.contrast_limits_range),
            layer.name_overlay.visible,
            len(layer.experimental_clipping_planes),
        )
        for layer in viewer.layers
    }


def halves(picture):
    """Mean brightness left and right of the middle of what is not black."""
    gray = picture.max(axis=-1)
    columns = np.flatnonzero((gray > 20).sum(axis=0) > 20)
    middle = (columns[0] + columns[-1]) // 2
    rows = np.flatnonzero(gray[:, middle] > 20)
    inner = gray[rows[0] : rows[-1]]
    return float(np.median(inner[:, columns[0] + 10 : middle - 10])), float(
        np.median(inner[:, middle + 10 : columns[-1] - 10])
    )


@pytest.fixture
def empty(make_napari_viewer_proxy, plugin, qtbot):
    """A window with the panel, and nothing to compare."""
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1300, 850)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Compare")
    assert isinstance(panel, ComparePanel)
    qtbot.wait(100)
    return Comparer(viewer, panel, qtbot)


@pytest.fixture
def person(empty, small_views, fused_nuclei, qtbot):
    """A person in front of two views, two results and the ground truth."""
    fill(empty.viewer, small_views, fused_nuclei)
    qtbot.wait(100)
    return empty
