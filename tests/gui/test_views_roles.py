"""Files whose names follow no scheme: what they are is proposed, and can be said."""

import numpy as np
import pytest
import tifffile
from napari._app_model import get_app_model
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QComboBox, QDialogButtonBox, QDoubleSpinBox
from views_person import ViewsPerson, in_front_of_the_views, known

from napari_mvfusion.gui.panels.views.dialogs import RolesDialog
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.simulation import light_sheet_psf

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def person(model, qtbot, plugin):
    return in_front_of_the_views(model, qtbot)


@pytest.fixture
def files(tmp_path, rng):
    """Two views, two PSFs without a word for it, and a ground truth."""
    folder = tmp_path / "fish"
    folder.mkdir()
    for name in ("left.tif", "right.tif", "gt.tif"):
        tifffile.imwrite(folder / name, rng.integers(0, 900, (24, 40, 40)).astype(np.uint16))
    for name, angle in (("left k.tif", 0.0), ("right k.tif", 90.0)):
        tifffile.imwrite(folder / name, light_sheet_psf(angle, shape=(15, 15, 15)))
    return folder


def dialog_of(owner, bot):
    bot.waitUntil(lambda: any(dialog.isVisible() for dialog in owner.findChildren(RolesDialog)), timeout=20_000)
    return next(dialog for dialog in owner.findChildren(RolesDialog) if dialog.isVisible())


def role_of(dialog, name):
    (box,) = (box for box in dialog.findChildren(QComboBox) if box.accessibleName() == f"Role of {name}")
    return box


def open_all(dialog, bot):
    bot.mouseClick(dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open), LEFT)


def test_a_folder_with_other_names_asks_and_opens_each_file_as_what_it_is(model, person, files):
    person.drop(files)
    dialog = dialog_of(person.panel, person.bot)
    proposed = {name: role_of(dialog, name).currentText() for name in sorted(path.name for path in files.iterdir())}
    assert proposed == {
        "gt.tif": "Ground truth",
        "left k.tif": "PSF",
        "left.tif": "View",
        "right k.tif": "PSF",
        "right.tif": "View",
    }
    assert len(model.layers) == 0, "nothing is opened before it is said"
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 3, timeout=20_000)
    person.settle()
    assert {row.name for row in person.rows()} == {"left", "right"}
    for name in ("left", "right"):
        given = tifffile.imread(files / f"{name} k.tif")
        np.testing.assert_array_equal(known(model.layers[name])["psf"], prepare_psf(given).psf)
    assert known(model.layers["gt"])["role"] == "truth"


def test_roles_can_be_changed_and_files_left_out(model, person, files):
    person.drop(files)
    dialog = dialog_of(person.panel, person.bot)
    for name in ("right.tif", "right k.tif", "gt.tif", "left k.tif"):
        box = role_of(dialog, name)
        box.setCurrentIndex(box.findText("Leave out"))
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 1, timeout=20_000)
    person.settle()
    assert [layer.name for layer in model.layers] == ["left"]
    assert known(model.layers[0])["psf"] is None


def test_angles_in_the_names_of_psfs_are_proposed(person, tmp_path, rng):
    for name in ("fish_angle_0.tif", "fish_angle_90.tif"):
        tifffile.imwrite(tmp_path / name, rng.integers(0, 900, (24, 40, 40)).astype(np.uint16))
    names = {"psf-90.tif": 90, "PSF_angle_045.tif": 45, "psf (180).tif": 180, "psf_of_488.tif": None}
    for name in names:
        tifffile.imwrite(tmp_path / name, light_sheet_psf(shape=(9, 9, 9)))
    person.drop(*tmp_path.glob("*.tif"))
    dialog = dialog_of(person.panel, person.bot)
    for name, angle in names.items():
        (field,) = (
            f for f in dialog.findChildren(QDoubleSpinBox) if f.accessibleName().startswith(f"Angle of {name},")
        )
        assert field.text() == ("unknown" if angle is None else str(angle))
    dialog.reject()


def test_views_and_psfs_that_are_dropped_together_lose_nothing(model, person, files):
    person.drop(files / "left.tif", files / "left k.tif")
    open_all(dialog_of(person.panel, person.bot), person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 1, timeout=20_000)
    person.settle()
    assert known(model.layers["left"])["psf"] is not None


def test_on_the_canvas_such_a_folder_opens_the_panel_and_the_question(make_napari_viewer_proxy, plugin, qtbot, files):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.open(str(files), plugin="napari-mvfusion")
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel))
    dialog = dialog_of(panel, qtbot)
    open_all(dialog, qtbot)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=20_000)
    ViewsPerson(panel, qtbot).settle()


@pytest.mark.parametrize("entrance", ["menu", "script"])
def test_such_a_folder_asks_in_the_panel_that_is_open(make_napari_viewer_proxy, plugin, qtbot, files, entrance):
    viewer = make_napari_viewer_proxy(show=True)
    if entrance == "menu":
        get_app_model().commands.execute_command("napari-mvfusion.views").result()
    else:
        viewer.window.add_plugin_dock_widget("napari-mvfusion", "Views & PSFs")
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel))
    get_app_model().commands.execute_command("napari-mvfusion.fuse").result()
    viewer.open(str(files), plugin="napari-mvfusion")
    assert [widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel)] == [panel]
    dialog_of(panel, qtbot).reject()
    ViewsPerson(panel, qtbot).settle()
    assert panel.isVisible(), "the panel that asks is in front"


def test_the_menu_finds_the_panel_that_such_a_folder_opened(make_napari_viewer_proxy, plugin, qtbot, files):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.open(str(files), plugin="napari-mvfusion")
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel))
    dialog_of(panel, qtbot).reject()
    get_app_model().commands.execute_command("napari-mvfusion.views").result()
    assert [widget for widget in QApplication.allWidgets() if isinstance(widget, ViewsPanel)] == [panel]
    ViewsPerson(panel, qtbot).settle()
