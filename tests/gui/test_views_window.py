"""The Views & PSFs panel in a real window: opened from the manifest, beside the Fuse panel, closed while it works."""

import sys

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt, QThreadPool, QTimer
from qtpy.QtWidgets import QApplication, QDoubleSpinBox, QLabel, QProgressDialog, QScrollArea, QWidget
from views_person import ViewsPerson, known

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.panels.views.file_opener import FileOpener
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.gui.widgets import waiting
from napari_mvfusion.io.formats import writer_of
from napari_mvfusion.simulation import light_sheet_psf


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin):
    return make_napari_viewer_proxy(show=True)


def actions(menu):
    found = {}
    for action in menu.actions():
        if action.menu():
            action.menu().aboutToShow.emit()
            found |= actions(action.menu())
        found[action.text().replace("&&", "&")] = action
    return found


@pytest.fixture
def person(viewer, qtbot):
    """Somebody in front of the panel, opened by the menu."""
    texts = actions(viewer.window.plugins_menu)
    next(action for text, action in texts.items() if text.startswith("Views & PSFs")).trigger()
    qtbot.wait(50)
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel))
    return ViewsPerson(panel, qtbot)


def test_from_the_sample_to_views_with_psfs(viewer, person, qtbot):
    viewer.open_sample("napari-mvfusion", "embryo")
    person.settle()
    assert [(row.name, row.ticked) for row in person.rows()] == [(f"embryo view {a}", True) for a in (0, 90, 180, 270)]
    for row, angle in zip(person.rows(), (0, 90, 180, 270), strict=True):
        assert row.problems == []
        assert known(viewer.layers[row.name])["angle"] == angle
    # What is drawn: the PSF of view 0 is long along z, that of view 90 along y.
    for number, upright in ((0, True), (1, False)):
        zy = person.rows()[number].cuts[2].picture > 128
        assert (np.ptp(np.nonzero(zy)[0]) > np.ptp(np.nonzero(zy)[1])) == upright


def test_broken_files_on_the_canvas_are_named_in_the_panel_and_the_others_are_opened(viewer, tmp_path):
    """Of a reader that has no layers for a file, napari opens none of those after it."""
    named = []
    for ending in (".h5", ".ome.tif", ".zarr"):
        files = [tmp_path / f"angle_{angle}{ending}" for angle in (180, 0, 90)]
        for file in files:
            writer_of(file).write(file, data=np.ones((4, 5, 6), np.uint16), grid=Grid((4, 5, 6)))
        broken = files[0] / "zarr.json" if files[0].is_dir() else files[0]
        broken.write_bytes(broken.read_bytes()[:200])
        named.append(str(files[0]))
        passing = []
        notification_manager.notification_ready.connect(passing.append)
        opened = viewer.open([str(file) for file in files], plugin="napari-mvfusion")
        notification_manager.notification_ready.disconnect(passing.append)
        assert [layer.name for layer in opened] == ["angle_0", "angle_90"]
        assert passing == []
        viewer.layers.clear()
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel))
    assert panel.isVisible()
    messages = [label.text() for label in panel.findChildren(QLabel, "error")]
    assert [name in message for name, message in zip(named, messages, strict=True)] == [True] * 3
    assert all("copy" in message for message in messages)


@pytest.mark.parametrize("width", [390, 800])
def test_nothing_is_cut_off(viewer, person, qtbot, width):
    viewer.open_sample("napari-mvfusion", "embryo")
    psf = known(viewer.layers[0])["psf"]
    annotate(viewer.layers[0], psf=np.where(psf == psf.min(), np.nan, psf))
    annotate(viewer.layers[1], psf=None)
    person.panel.setFixedWidth(width)
    person.settle()
    inner = person.panel.findChild(QScrollArea).widget()
    assert inner.width() <= person.panel.findChild(QScrollArea).viewport().width()
    assert inner.minimumSizeHint().width() <= inner.width()
    for row in person.rows():
        label = row.row.findChild(type(person.see("summary")), "numbers")
        assert not label.isVisible() or label.width() >= label.sizeHint().width()


def test_closing_the_panel_while_it_works_leaves_nothing(viewer, person, qtbot):
    viewer.open_sample("napari-mvfusion", "embryo")
    person.settle()
    person.press("orientation")
    qtbot.wait(300)
    (dock,) = viewer.window.dock_widgets.values()
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    qtbot.wait(50)
    assert not [widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel)]
    viewer.layers[0].name = "still alive"
    annotate(viewer.layers[0], weight=2.0)
    viewer.layers.clear()


def test_closing_the_window_while_it_works_leaves_nothing(viewer, person, qtbot):
    viewer.open_sample("napari-mvfusion", "embryo")
    person.settle()
    person.press("orientation")
    qtbot.wait(200)
    window = person.panel.window()
    # The fixture of napari closes its viewer again.
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    window.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    qtbot.wait(100)


def test_both_panels_agree_on_what_is_fused(viewer, person, qtbot, make_person):
    texts = actions(viewer.window.plugins_menu)
    next(action for text, action in texts.items() if text.startswith("Fuse")).trigger()
    qtbot.wait(50)
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, FusePanel))
    fuse = make_person(panel)
    viewer.open_sample("napari-mvfusion", "nuclei")
    person.settle()
    person.rows()[1].tick()
    person.settle()
    assert [row[:2] for row in fuse.rows()] == [("nuclei view 0", True), ("nuclei view 180", False)]
    fuse.tick(0)
    fuse.tick(1)
    person.settle()
    assert [row.ticked for row in person.rows()] == [False, True]


def overlapping(row):
    """Pairs of parts of a row that lie on one another."""
    parts = [part for part in row.children() if isinstance(part, QWidget) and part.isVisible()]
    places = [part.geometry() for part in parts]
    return [
        (parts[i].objectName(), parts[j].objectName())
        for i in range(len(parts))
        for j in range(i)
        if places[i].intersects(places[j])
    ]


def test_rows_keep_their_height_whenever_views_came_and_whatever_they_get_to_show(viewer, person, qtbot, tmp_path, rng):
    views, psfs = tmp_path / "views", tmp_path / "psfs"
    psf = light_sheet_psf(shape=(9, 9, 9))
    for name in ("left", "right"):
        for folder, pixels in ((views, rng.integers(0, 999, (16, 24, 24)).astype(np.uint16)), (psfs, psf)):
            folder.mkdir(exist_ok=True)
            tifffile.imwrite(folder / f"{name}.tif", pixels)
        # One after the other, as napari's own reader adds what is dropped on the canvas.
        viewer.add_image(tifffile.imread(views / f"{name}.tif"), name=name)
        person.settle()
    for row in person.rows():
        row.tick()
        person.settle()
    person.panel.findChild(FileOpener).match(sorted(psfs.iterdir()), "psfs")
    person.settle()
    for row in person.rows():
        assert row.numbers, "the PSF is shown"
        assert row.row.height() >= row.row.minimumSizeHint().height()
        assert overlapping(row.row) == []
        field = row.row.findChild(QDoubleSpinBox, "angle")
        assert field.text() == "unknown"
        assert field.lineEdit().width() > field.fontMetrics().horizontalAdvance(field.text())


def test_the_window_answers_while_libraries_are_loaded_and_files_are_read(viewer, qtbot, tmp_path, rng, monkeypatch):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"a_view_{angle}.tif", rng.integers(0, 900, (6, 7, 8)).astype(np.uint16))
    # As when nothing has been opened yet.
    monkeypatch.delitem(sys.modules, "napari_mvfusion.gui.reader")
    monkeypatch.setattr(waiting, "_SHOWN_AFTER_MS", 0)
    said, ticker = [], QTimer()

    def look():
        said.extend(w.labelText() for w in QApplication.topLevelWidgets() if isinstance(w, QProgressDialog))

    ticker.timeout.connect(look)
    ticker.start(1)
    opened = viewer.open(str(tmp_path), plugin="napari-mvfusion")
    ticker.stop()
    assert [layer.name for layer in opened] == ["a view 0", "a view 90"]
    name = tmp_path.name
    assert list(dict.fromkeys(said)) == [f"Opening {name}: loading libraries…", f"Opening {name}…"]
