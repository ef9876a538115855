"""Files whose names follow no scheme: what they are is proposed, and can be said."""

import numpy as np
import pytest
import tifffile
from napari._app_model import get_app_model
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QDialogButtonBox, QDoubleSpinBox, QLabel, QLineEdit
from views_person import ViewsPerson, in_front_of_the_views, known

from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.gui.panels.views.roles_dialog import Given, RolesDialog
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.io.roles import guess_roles
from napari_mvfusion.methods import EBMD
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


def angle_of(dialog, name):
    boxes = dialog.findChildren(QDoubleSpinBox)
    return next(box for box in boxes if box.accessibleName() == f"Angle of {name}, degrees").text()


def files_in(dialog):
    return [box.accessibleName().removeprefix("Role of ") for box in dialog.findChildren(QComboBox, "role")]


def retype(dialog, bot, text):
    """Enter another pattern, and wait until it has been read."""
    line = dialog.findChild(QLineEdit, "pattern")
    line.selectAll()
    bot.keyClicks(line, text)
    button = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open)
    bot.waitUntil(lambda: button.toolTip() != "The pattern is being read", timeout=5000)
    return button


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


@pytest.fixture
def recorded(tmp_path, rng):
    """Two time points of two views, and their PSFs."""
    for name in [f"spim_TL{t}_Angle{a}.tif" for t in (0, 1) for a in (90, 180)]:
        tifffile.imwrite(tmp_path / name, rng.integers(0, 900, (24, 40, 40)).astype(np.uint16))
    for angle in (90, 180):
        tifffile.imwrite(tmp_path / f"Angle {angle} - bead PSF.tif", light_sheet_psf(float(angle), shape=(9, 9, 9)))
    return tmp_path


def test_the_pattern_of_names_is_shown_with_what_it_finds_and_the_time_point_is_chosen(model, person, recorded):
    person.drop(recorded)
    dialog = dialog_of(person.panel, person.bot)
    pattern = dialog.findChild(QLineEdit, "pattern").text()
    assert set(pattern.split(" | ")) == {"Angle {angle} - bead PSF.tif", "spim_TL{timepoint}_Angle{angle}.tif"}
    assert files_in(dialog)[-4:] == [f"spim_TL{t}_Angle{a}.tif" for t in (0, 1) for a in (90, 180)]
    assert role_of(dialog, "Angle 90 - bead PSF.tif").currentText() == "PSF"
    assert angle_of(dialog, "spim_TL1_Angle180.tif") == "180"
    assert not role_of(dialog, "spim_TL1_Angle180.tif").isEnabled(), "it is of another time point"
    choice = dialog.findChild(QComboBox, "timepoint")
    assert choice.isVisible()
    choice.setCurrentIndex(choice.findText("1"))
    assert role_of(dialog, "spim_TL1_Angle180.tif").isEnabled()
    assert len(model.layers) == 0, "nothing is opened before it is said"
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    assert [layer.name for layer in model.layers] == ["spim_TL1_Angle90", "spim_TL1_Angle180"]
    for layer, angle in zip(model.layers, (90, 180), strict=True):
        assert known(layer)["angle"] == angle
        given = tifffile.imread(recorded / f"Angle {angle} - bead PSF.tif")
        np.testing.assert_array_equal(known(layer)["psf"], prepare_psf(given).psf)
        np.testing.assert_array_equal(np.asarray(layer.data), tifffile.imread(recorded / f"{layer.name}.tif"))


def test_files_of_one_name_are_shown_and_opened_with_their_folders(model, person, tmp_path, rng):
    volumes = {(a, t): rng.integers(0, 900, (12, 20, 20)).astype(np.uint16) for a in (0, 90) for t in (0, 1)}
    for (angle, t), volume in volumes.items():
        (tmp_path / f"angle_{angle}").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"angle_{angle}" / f"TL{t}.tif", volume)
    person.drop(tmp_path)
    dialog = dialog_of(person.panel, person.bot)
    assert dialog.findChild(QLineEdit, "pattern").text() == "angle_{angle}/TL{timepoint}.tif"
    assert files_in(dialog) == [f"angle_{a}/TL{t}.tif" for a, t in volumes]
    choice = dialog.findChild(QComboBox, "timepoint")
    choice.setCurrentIndex(choice.findText("1"))
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    assert [layer.name for layer in model.layers] == ["angle_0 TL1", "angle_90 TL1"]
    for layer, angle in zip(model.layers, (0, 90), strict=True):
        assert known(layer)["angle"] == angle
        np.testing.assert_array_equal(np.asarray(layer.data), volumes[angle, 1])


def test_a_pattern_is_read_while_it_is_typed(person, recorded):
    person.drop(recorded)
    dialog = dialog_of(person.panel, person.bot)
    said = dialog.findChild(QLabel, "said")
    assert not retype(dialog, person.bot, "spim_TL{timepoint}_Angle{angel}.tif").isEnabled()
    assert said.text().endswith("is no field: write {angle}.")
    assert angle_of(dialog, "spim_TL0_Angle90.tif") == "90", "what was found before stays"
    assert not retype(dialog, person.bot, "nothing{angle}.tif").isEnabled()
    assert "fit no pattern" in said.text()
    assert role_of(dialog, "spim_TL0_Angle90.tif").currentText() == "Leave out"
    assert retype(dialog, person.bot, "*Angle{timepoint}.tif").isEnabled()
    assert angle_of(dialog, "spim_TL0_Angle90.tif") == "unknown"
    assert "are the same by this pattern" in said.text()
    assert role_of(dialog, "Angle 90 - bead PSF.tif").currentText() == "Leave out"
    dialog.reject()


def test_planes_that_are_files_become_one_layer(model, person, tmp_path, rng):
    volume = rng.integers(0, 900, (70, 12, 10)).astype(np.uint16)
    for number, plane in enumerate(volume, start=1):
        tifffile.imwrite(tmp_path / f"img_{number:03}.tif", plane)
    person.drop(tmp_path)
    dialog = dialog_of(person.panel, person.bot)
    assert files_in(dialog) == ["img_{z}.tif"]
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 1, timeout=20_000)
    person.settle()
    assert model.layers[0].name == "img"
    np.testing.assert_array_equal(np.asarray(model.layers[0].data), volume)


def test_zarrs_whose_names_say_time_points_are_asked_about_too(model, person, tmp_path, rng):
    volumes = {(t, a): rng.integers(0, 900, (12, 20, 20)).astype(np.uint16) for t in (0, 1) for a in (0, 90)}
    for (t, a), volume in volumes.items():
        write_zarr(tmp_path / f"TL{t}_a{a}.ome.zarr", volume, Grid(volume.shape, (1.0, 1.0, 1.0)))
    person.drop(tmp_path)
    dialog = dialog_of(person.panel, person.bot)
    assert dialog.findChild(QLineEdit, "pattern").text() == "TL{timepoint}_a{angle}.ome.zarr"
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    for layer, angle in zip(model.layers, (0, 90), strict=True):
        assert known(layer)["angle"] == angle
        np.testing.assert_array_equal(np.asarray(layer.data), volumes[0, angle])


def repeats(layers, tmp_path):
    """Fuse layers with their PSFs as the Fuse panel does; whether the recipe gives the same from the files alone."""
    opened = open_layers(layers)
    assert opened.inputs is not None, "no recipe says how these are opened"
    assert all(view.psf is not None for view in opened.views.views)
    first = drain(fuse_events(opened.views, EBMD(iterations=1), out=tmp_path / "fused.zarr", inputs=opened.inputs))
    events = load_recipe(tmp_path / "fused.zarr").repeat(tmp_path / "again.zarr")
    assert not [event.message for event in events if isinstance(event, Warned) and "may differ" in event.message]
    first, again = (np.asarray(open_volume(tmp_path / name)[0]) for name in ("fused.zarr", "again.zarr"))
    return first.any() and np.array_equal(first, again)


def test_views_and_psfs_of_the_dialog_have_a_recipe_that_repeats(model, person, recorded, tmp_path_factory):
    person.drop(recorded)
    open_all(dialog_of(person.panel, person.bot), person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    assert repeats(list(model.layers), tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("moved", [False, True], ids=["on one grid", "moved"])
def test_psfs_that_are_matched_later_have_a_recipe_that_repeats(model, person, tmp_path, rng, moved):
    for number, angle in enumerate((0, 90)):
        grid = Grid((24, 40, 40 - 2 * number), (1.0, 1.0, 1.0), (0.0, 0.0, 1.5 * number * moved))
        write_zarr(tmp_path / f"a{angle}.zarr", rng.integers(1, 900, grid.shape).astype(np.uint16), grid)
        tifffile.imwrite(tmp_path / f"psf_{angle}.tif", light_sheet_psf(float(angle), shape=(9, 9, 9)))
    person.panel.files.open_given([Given(tmp_path / f"a{angle}.zarr", "view", float(angle)) for angle in (0, 90)])
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    person.panel.files.match(sorted(tmp_path.glob("psf*")), "these files")
    person.settle()
    assert [known(layer)["psf_source"] for layer in model.layers] == ["psf_0.tif", "psf_90.tif"]
    assert repeats(list(model.layers), tmp_path)


def test_where_no_file_can_be_opened_the_button_says_so_and_each_file_why(qtbot, tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0 no tiff")
    dialog = RolesDialog(guess_roles([tmp_path / "a.tif"]))
    qtbot.addWidget(dialog)
    button = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open)
    assert not button.isEnabled()
    assert "None of these files can be opened" in button.toolTip()
    assert "cannot be opened" in [label.text() for label in dialog.findChildren(QLabel)]
    assert "a.tif" in dialog.findChild(QLabel, "file").toolTip()


def test_why_files_cannot_be_opened_stands_below_the_table(qtbot, files):
    (files / "bad.tif").write_bytes(b"II*\0 no tiff")
    for names, shown in ((["left.tif"], False), (["left.tif", "bad.tif"], True)):
        guesses = guess_roles([files / name for name in names])
        dialog = RolesDialog(guesses)
        qtbot.addWidget(dialog)
        said = dialog.findChild(QLabel, "refused")
        assert said.isVisibleTo(dialog) == shown
    assert said.text().startswith("bad.tif cannot be read as a TIFF file")
    assert said.text().count("bad.tif") == 1


@pytest.mark.parametrize("stage", [False, True])
def test_files_that_state_where_the_stage_was_ask_whether_it_counts(model, person, tmp_path, rng, stage):
    files = []
    for number, place in enumerate((0.0, 7.0)):
        plane = {f"Position{axis}": [place * (axis == "Y")] * 8 for axis in "XYZ"}
        plane |= {f"Position{axis}Unit": ["µm"] * 8 for axis in "XYZ"}
        metadata = {"axes": "ZYX", "Plane": plane} | {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"}
        files.append(tmp_path / f"angle_{90 * number}.ome.tif")
        tifffile.imwrite(files[-1], rng.integers(1, 900, (8, 30, 30)).astype(np.uint16), metadata=metadata)
    person.drop(*files)
    dialog = dialog_of(person.panel, person.bot)
    box = dialog.findChild(QCheckBox, "stage")
    assert box.isVisible()
    assert not box.isChecked()
    box.setChecked(stage)
    open_all(dialog, person.bot)
    person.bot.waitUntil(lambda: len(model.layers) == 2, timeout=20_000)
    person.settle()
    opened = open_layers(list(model.layers))
    expected = open_views(files, stage=stage, no_data="none")
    assert opened.views.grid == expected.grid
    assert opened.views.grid.shape == (8, 37 if stage else 30, 30)
    assert opened.inputs["stage"] is stage


def test_files_without_stage_positions_offer_none(qtbot, files):
    dialog = RolesDialog(guess_roles([files / "left.tif", files / "right.tif"]))
    qtbot.addWidget(dialog)
    assert not dialog.findChild(QCheckBox, "stage").isVisibleTo(dialog)
