"""Fixtures of the GUI tests: the plugin as napari finds it, small views on disk, and a check that nothing stays alive."""

import gc
import importlib
import threading
from dataclasses import replace

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, QSettings, Qt, QThreadPool
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QListWidget, QPushButton, QWidget

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.view_list import ViewList
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.methods import CBIF, Average
from napari_mvfusion.simulation import sample
from patience import PATIENCE

# Pools that their libraries keep for the next call.
KEPT_POOLS = ("ThreadPoolExecutor", "asyncio_", "zarr_", "mvfusion-slab")
LEFT = Qt.MouseButton.LeftButton
# The panel looks at its input a moment after it has changed.
CHECKED = 120
# A layer that a click adds is there a moment later.
SEEN = 40


@pytest.fixture(autouse=True, scope="session")
def _modules_are_no_garbage():
    """Spare the modules in each search for garbage: napari searches when a layer is removed, and so does each test."""
    importlib.import_module("napari._qt.qt_main_window")
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _nothing_stays_alive(qapp):
    """Fail a test that leaves a window, a worker or a thread behind."""
    widgets = set(QApplication.topLevelWidgets())
    threads = set(threading.enumerate())
    yield
    assert QThreadPool.globalInstance().waitForDone(PATIENCE), "a worker is still running"
    gc.collect()
    for _ in range(3):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
    left = {widget for widget in QApplication.topLevelWidgets() if widget not in widgets}
    assert not left, f"windows stay open: {left}"
    alive = {thread for thread in threading.enumerate() if not thread.daemon} - threads
    assert not [thread for thread in alive if not thread.name.startswith(KEPT_POOLS)], f"threads go on: {alive}"


@pytest.fixture(autouse=True)
def _nothing_is_remembered(tmp_path):
    """Begin each test as a new user, and leave the real user's settings alone."""
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The folder of the user's models: that of this test, empty at first."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    return folder


@pytest.fixture
def plugin(npe2pm):
    """Only this plugin, as it is installed."""
    with npe2pm.tmp_plugin(package="napari-mvfusion") as known:
        yield known


@pytest.fixture(scope="session")
def _nuclei():
    """Made once for all tests, none of which can change the pixels."""
    made = sample("nuclei", 32)
    for values in (made.truth, *(array for view in made.views.views for array in (view.data, view.psf))):
        values.flags.writeable = False
    return made


@pytest.fixture
def small_views(_nuclei):
    """Two views of nuclei, small enough to be fused at once."""
    return replace(_nuclei, views=RegisteredViews(_nuclei.views.views, _nuclei.views.grid))


@pytest.fixture(scope="session")
def fused_nuclei(_nuclei):
    """Name of a quick method to the volume that it makes of `small_views`."""
    return {method.name: fuse(_nuclei.views, method).data for method in (Average(), CBIF())}


@pytest.fixture
def views_folder(tmp_path, small_views):
    """A TIFF folder of two samples with PSFs, voxels of 0.5 um and a ground truth of the first."""
    folder = tmp_path / "views"
    grid = Grid(small_views.views.grid.shape, (0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
    views = RegisteredViews(small_views.views.views, grid)
    write_views_folder(folder, views, "a", truth=small_views.truth)
    write_views_folder(folder, views, "b")
    return folder


class PatientBot(QtBot):
    """Waits for what comes at once as long as it takes on a machine that has other work."""

    def waitUntil(self, callback, *, timeout=PATIENCE):  # noqa: N802 - the name is Qt's
        super().waitUntil(callback, timeout=timeout)

    def waitSignal(self, signal, *, timeout=PATIENCE, **options):  # noqa: N802
        return super().waitSignal(signal, timeout=timeout, **options)

    def waitExposed(self, widget, *, timeout=PATIENCE):  # noqa: N802
        return super().waitExposed(widget, timeout=timeout)


@pytest.fixture
def qtbot(qapp, request):
    """The bot of pytest-qt, with patience."""
    return PatientBot(request)


class Person:
    """Uses a panel: finds things by what they are called, clicks on them, and reads what is shown."""

    def __init__(self, panel, bot):
        self.panel = panel
        self.bot = bot
        self.views = panel.findChild(ViewList)

    def see(self, name, kind=QWidget):
        # Several methods have parameters of one name, and only one of them is shown.
        found = [widget for widget in self.panel.findChildren(kind, name) if widget.isVisibleTo(self.panel)]
        return found[0] if found else self.panel.findChild(kind, name)

    def can_press(self, name):
        return self.see(name).isEnabled()

    def press(self, name):
        assert self.can_press(name), f"{name} cannot be pressed: {self.hint()}"
        self.bot.mouseClick(self.see(name), LEFT)
        self.bot.wait(SEEN)

    def choose(self, name, text):
        box = self.see(name, QComboBox)
        self.bot.keyClick(box, Qt.Key.Key_Home)
        while not box.currentText().startswith(text):
            before = box.currentIndex()
            self.bot.keyClick(box, Qt.Key.Key_Down)
            assert box.currentIndex() > before, f"there is no {text}"
        self.bot.wait(CHECKED)

    def pick(self, name, text):
        """Choose by the menu of a box, as a click does."""
        box = self.see(name, QComboBox)
        row = box.findText(text)
        assert row >= 0, f"there is no {text}"
        box.setCurrentIndex(row)
        box.activated.emit(row)
        self.bot.wait(CHECKED)

    def use(self, *titles):
        """Tick the methods whose titles begin like this, and no others."""
        methods = self.see("methods", QListWidget)
        for row in range(methods.count()):
            item = methods.item(row)
            wanted = item.text().startswith(titles)
            if wanted != (item.checkState() == Qt.CheckState.Checked):
                place = methods.visualItemRect(item)
                self.bot.mouseClick(methods.viewport(), LEFT, pos=QPoint(place.left() + 10, place.center().y()))
        self.bot.wait(CHECKED)

    def look_at(self, title):
        """Select a method without ticking it."""
        methods = self.see("methods", QListWidget)
        (item,) = methods.findItems(title, Qt.MatchFlag.MatchStartsWith)
        place = methods.visualItemRect(item)
        self.bot.mouseClick(methods.viewport(), LEFT, pos=QPoint(place.right() - 5, place.center().y()))
        self.bot.wait(CHECKED)

    def enter(self, name, text):
        field = self.see(name)
        field.setFocus()
        field.selectAll()
        self.bot.keyClicks(field, text)
        self.bot.keyClick(field, Qt.Key.Key_Return)
        self.bot.wait(CHECKED)

    def tick(self, row):
        place = self.views.visualItemRect(self.views.topLevelItem(row))
        self.bot.mouseClick(self.views.viewport(), LEFT, pos=QPoint(place.left() + 10, place.center().y()))
        self.bot.wait(CHECKED)

    def rows(self):
        """Name, whether it is ticked, and the words on the PSF button, of each row."""
        items = [self.views.topLevelItem(row) for row in range(self.views.topLevelItemCount())]
        return [
            (item.text(0), item.checkState(0) == Qt.CheckState.Checked, self.psf_button(row).text())
            for row, item in enumerate(items)
        ]

    def psf_button(self, row):
        return self.views.itemWidget(self.views.topLevelItem(row), 1).findChild(QPushButton)

    def hint(self):
        label = self.see("hint")
        return label.text() if label.isVisibleTo(self.panel) else ""

    def messages(self, kind):
        return [label.text() for label in self.panel.findChildren(QLabel, kind)]

    def wait_until_done(self):
        self.bot.waitUntil(self.views.isEnabled)


@pytest.fixture
def model():
    """A viewer without a window, for tests of the panel alone."""
    return ViewerModel()


@pytest.fixture
def make_person(qtbot):
    """Puts a person in front of a panel."""
    return lambda panel: Person(panel, qtbot)


@pytest.fixture
def person(model, qtbot, make_person):
    """A person in front of the Fuse panel of `model`."""
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitExposed(panel)
    person = make_person(panel)
    person.use("Average")
    return person


@pytest.fixture
def show_views(qtbot):
    """Adds the views of a simulation to a viewer as the reader would."""

    def add(viewer, simulation, sample="nuclei"):
        layers = [viewer.add_image(data, **look) for data, look, _ in view_layers(simulation.views, sample=sample)]
        qtbot.wait(CHECKED)
        return layers

    return add
