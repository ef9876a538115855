"""Files with places and sizes of their own as layers, and rows of views whose voxel size is not known."""

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QCheckBox, QDialogButtonBox, QDoubleSpinBox
from views_person import in_front_of_the_views

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.layers.conversion import sized, stated_size
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.layers.opened import choose_voxels, inputs_on, open_layers, run_psfs, take_run_psfs
from napari_mvfusion.gui.panels.views.dialogs import SizeDialog
from napari_mvfusion.gui.panels.views.grids import known_size_um
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_views

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def viewer():
    return ViewerModel()


def test_a_folder_of_views_in_other_places_opens_in_them_and_its_recipe_says_how(viewer, tmp_path, rng):
    whole = rng.random((14, 12, 12), np.float32) + 1
    for angle, start in ((0, 0), (90, 2)):
        grid = Grid((12, 12, 12), (0.5, 0.5, 0.5), (start * 0.5, 0, 0))
        write_volume(tmp_path / f"fly_view_{angle}.ome.tif", whole[start : start + 12], grid)
    layers = viewer.open(tmp_path, plugin="napari-mvfusion")
    assert layers[1].data_to_world((0, 0, 0)) == (1, 0, 0)
    opened = open_layers(layers)
    views = opened.views
    assert views.grid == open_views(tmp_path).grid == Grid((14, 12, 12), (0.5, 0.5, 0.5))
    np.testing.assert_allclose(views.read(views.grid.box)[1][2:], whole[2:], rtol=1e-5)
    again = Inputs(**opened.inputs).open()
    assert again.grid == views.grid
    np.testing.assert_array_equal(again.read(again.grid.box), views.read(views.grid.box))
    layers[1].translate = (2, 0, 0)
    assert open_layers(layers).inputs is None, "a recipe could not say where it was moved to"


def test_psfs_of_views_on_different_grids_are_those_of_a_run_on_their_files(model, qtbot, tmp_path, rng):
    person = in_front_of_the_views(model, qtbot)
    axes = np.meshgrid(*(np.arange(15) - 7,) * 3, indexing="ij")
    psf = np.exp(-sum((a / 2.0) ** 2 for a in axes) / 2).astype(np.float32)
    for angle, size, origin in ((0, (1.0, 0.5, 0.5), (0, 0, 0)), (90, (0.5, 0.5, 0.5), (2, 1, 0))):
        grid = Grid((20, 24, 24), size, origin)
        write_volume(tmp_path / f"fly_view_{angle}.ome.tif", rng.random(grid.shape, np.float32), grid)
        write_volume(tmp_path / f"psf_{angle}.ome.tif", psf, Grid(psf.shape, (0.5, 0.5, 0.5)))
    person.drop(tmp_path)
    person.settle()
    layers = list(model.layers)
    opened, run = open_layers(layers), open_views(tmp_path)
    assert opened.views.grid == run.grid
    for view, other in zip(opened.views.views, Inputs(**opened.inputs).open().views, strict=True):
        np.testing.assert_array_equal(view.psf, other.psf)
    # On the voxels of the first view they are half as wide along z.
    choose_voxels(layers, "first")
    opened = open_layers(layers)
    assert opened.views.grid == Grid((20, 24, 24), (1, 0.5, 0.5))
    for view in opened.views.views:
        places = np.stack(np.meshgrid(*map(np.arange, view.psf.shape), indexing="ij")).reshape(3, -1)
        widths = np.sqrt(np.diag(np.cov(places, aweights=view.psf.ravel().astype(float))))
        np.testing.assert_allclose(widths, (1, 2, 2), rtol=0.1)
    assert opened.inputs is None, "these PSFs are not exactly those of a run"
    take_run_psfs(layers, run_psfs(inputs_on(layers, "first")))
    opened = open_layers(layers)
    again = Inputs(**opened.inputs).open()
    assert again.grid == opened.views.grid
    for view, other in zip(opened.views.views, again.views, strict=True):
        np.testing.assert_array_equal(view.psf, other.psf)


def test_the_images_of_one_file_open_as_layers_of_their_own(viewer, tmp_path):
    path = tmp_path / "v.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number in range(2):
            pixels = np.full((4 + number, 5, 6), number + 1, np.uint16)
            tiff.write(pixels, photometric="minisblack", metadata={"axes": "ZYX", "Name": f"image {number}"})
    layers = viewer.open(path, plugin="napari-mvfusion")
    assert [(layer.name, layer.data.shape) for layer in layers] == [("v 0", (4, 5, 6)), ("v 1", (5, 5, 6))]


def partly_known(path):
    metadata = {"axes": "ZYX", "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    tifffile.imwrite(path, np.arange(120, dtype=np.uint16).reshape(4, 5, 6), ome=True, metadata=metadata)
    return path


def test_a_layer_says_which_of_its_sizes_are_known(viewer, tmp_path):
    (layer,) = viewer.open(partly_known(tmp_path / "v.ome.tif"), plugin="napari-mvfusion")
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]
    assert stated_size(layer) == (None, 0.5, 0.25)
    views = open_layers([layer]).views
    assert views.grid.stated_size_um == open_views([tmp_path / "v.ome.tif"]).grid.stated_size_um == (None, 0.5, 0.25)
    for name, value in sized(layer, (2.0, 0.5, 0.25)).items():
        setattr(layer, name, value)
    assert open_layers([layer]).views.grid == Grid((4, 5, 6), (2, 0.5, 0.25))


def test_one_micrometre_is_a_size_like_others():
    assert known_size_um(Grid((4, 5, 6))) == (1, 1, 1)
    assert known_size_um(Grid((4, 5, 6), known=(False, False, False))) is None
    assert known_size_um(Grid((4, 5, 6), known=(False, True, True))) == (None, 1, 1)


def test_setting_a_size_keeps_the_place(rng):
    layer = Image(rng.random((4, 5, 6)), scale=(1, 1, 2), translate=(3, 0, 8), units=("pixel", "pixel", "um"))
    for name, value in sized(layer, (0.5, 0.25, 1.0)).items():
        setattr(layer, name, value)
    np.testing.assert_allclose(layer.translate, (1.5, 0, 8))
    np.testing.assert_allclose(layer.scale, (0.5, 0.25, 1))


def test_a_turned_layer_gets_its_size_along_its_own_axes(rng):
    layer = Image(rng.random((4, 5, 6)), rotate=(0, 0, 30), units="pixel")
    for name, value in sized(layer, (2.0, 0.5, 0.25)).items():
        setattr(layer, name, value)
    np.testing.assert_allclose(stated_size(layer), (2, 0.5, 0.25))


def answer(numbers, *, others=True):
    """Enter numbers into the dialog that asks for the voxel size, for other views too or not, and accept it."""

    def enter():
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, SizeDialog) or not dialog.isVisible():
            QTimer.singleShot(100, enter)
            return
        ok = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok)
        assert ok.isEnabled() is (dialog.given() is not None)
        for axis, number in numbers.items():
            dialog.findChild(QDoubleSpinBox, f"size_{axis}").setValue(number)
        dialog.findChild(QCheckBox).setChecked(others)
        ok.click()

    QTimer.singleShot(100, enter)


def test_a_row_says_that_a_size_is_not_known_and_asks_for_it(model, qtbot, tmp_path, rng):
    person = in_front_of_the_views(model, qtbot)
    for name in ("a", "b"):
        pixels = rng.random((6, 12, 12), np.float32)
        metadata = {"axes": "ZYX", "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
        tifffile.imwrite(tmp_path / f"view_{name}.tif", pixels, ome=True, metadata=metadata)
    person.drop(tmp_path / "view_a.tif", tmp_path / "view_b.tif")
    person.settle()
    for row in person.rows():
        assert "Its voxel size along z is not known: 0.25 µm is taken." in row.problems
    assert "6 × 12 × 12 voxels of ? × 0.5 × 0.25 µm (z, y, x)" in person.see("summary").text()
    answer({"z": 2.0})
    person.rows()[0].fix("Set size…")
    person.settle()
    assert not any("voxel size" in problem for row in person.rows() for problem in row.problems)
    assert "6 × 12 × 12 voxels of 2 × 0.5 × 0.25 µm (z, y, x)" in person.see("summary").text()
    assert all(stated_size(layer) == (2, 0.5, 0.25) for layer in model.layers)
    opened = open_layers(list(model.layers))
    assert tuple(opened.inputs["voxel_size_um"]) == (2, 0.5, 0.25)
    assert open_views(opened.inputs["source"], voxel_size_um=(2, 0.5, 0.25)).grid == opened.views.grid


def test_a_size_is_set_for_all_views_that_lack_it_or_for_one(model, qtbot, rng):
    person = in_front_of_the_views(model, qtbot)
    shapes = {"a": (6, 12, 12), "b": (8, 12, 12), "c": (7, 12, 12)}
    for name, shape in shapes.items():
        known = {"units": ("pixel", "um", "um"), "scale": (1, 0.5, 0.4)} if name == "c" else {}
        model.add_image(rng.random(shape, np.float32), name=name, metadata={KEY: {"included": True}}, **known)
    person.settle()
    assert "Its voxel size is not known: 1 µm is taken." in person.rows()[0].problems
    assert "Its voxel size along z is not known: 1 µm is taken." in person.rows()[2].problems
    answer({"z": 2.0, "y": 0.3, "x": 0.3}, others=False)
    person.rows()[0].fix("Set size…")
    person.settle()
    assert [stated_size(layer)[0] for layer in model.layers] == [2, None, None]
    answer({"z": 3.0, "y": 0.3, "x": 0.3})
    person.rows()[1].fix("Set size…")
    person.settle()
    assert [stated_size(layer) for layer in model.layers] == [(2, 0.3, 0.3), (3, 0.3, 0.3), (3, 0.5, 0.4)]


def test_a_scale_without_a_unit_is_taken_as_micrometres_and_that_is_said(model, qtbot, rng):
    person = in_front_of_the_views(model, qtbot)
    model.add_image(rng.random((6, 8, 8)), name="a", scale=(2, 0.5, 0.5), metadata={KEY: {"included": True}})
    person.settle()
    assert "Its scale names no unit: 2 × 0.5 × 0.5 µm is taken." in person.rows()[0].problems
    model.layers[0].units = "um"
    person.settle()
    assert not any("scale" in problem for problem in person.rows()[0].problems)
