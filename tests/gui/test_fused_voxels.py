"""The voxels of the fused volume, chosen in the Fuse panel: what is offered, where the result lies, and what follows it."""

import numpy as np
import pytest
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.layers.conversion import to_world_um
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.compare.compared_layers import views_of, volume_at
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_views

pytestmark = pytest.mark.usefixtures("plugin")

SIZES = {0: (2.0, 0.5, 0.5), 90: (1.0, 0.5, 0.5)}


@pytest.fixture
def folder(tmp_path, rng):
    """Two views whose voxels differ, each with a PSF on its own."""
    axes = np.meshgrid(*(np.arange(7) - 3,) * 3, indexing="ij")
    psf = np.exp(-sum((a / s) ** 2 for a, s in zip(axes, (1.5, 1, 1), strict=True)) / 2).astype(np.float32)
    for angle, size in SIZES.items():
        shape = (round(24 / size[0]), 24, 20)
        write_volume(
            tmp_path / f"fly_view_{angle}.ome.tif", rng.random(shape, np.float32), Grid(shape, size, (4, 2, 1))
        )
        write_volume(tmp_path / f"psf_{angle}.ome.tif", psf, Grid(psf.shape, size))
    return tmp_path


@pytest.fixture
def opened(model, person, folder):
    layers = list(model.open(folder, plugin="napari-mvfusion"))
    person.bot.wait(120)
    return layers


def choices(person):
    box = person.see("voxels", QComboBox)
    return [box.itemText(row) for row in range(box.count())] if box.isVisibleTo(person.panel) else []


def settle(person):
    """Wait until PSFs have followed a choice, and what they give is shown."""
    person.bot.waitUntil(lambda: person.can_press("fuse"))


def test_cubes_of_the_finest_size_the_first_view_and_a_size_are_offered(person, opened):
    assert choices(person) == [
        "Cubes of the finest size, 0.5 × 0.5 × 0.5 µm",
        "Those of fly view 0, 2 × 0.5 × 0.5 µm",
        "Another size…",
    ]
    person.tick(1)
    assert choices(person) == ["Those of the views, 2 × 0.5 × 0.5 µm", "Another size…"]


def test_views_on_cubes_of_one_grid_are_not_asked_about(model, person, small_views, show_views):
    assert choices(person) == []
    layers = show_views(model, small_views)
    for layer in layers:
        layer.scale = (0.5, 0.5, 0.5)
    person.bot.wait(120)
    assert choices(person) == []


@pytest.mark.parametrize("choice", ["Cubes", "Those of fly view 0", "Another size"])
def test_the_result_lies_on_the_voxels_that_were_chosen_and_its_recipe_repeats_it(
    model, person, folder, opened, choice
):
    wanted = {"Cubes": "isotropic", "Those of fly view 0": "first"}.get(choice, (1.0, 1.0, 1.0))
    person.choose("voxels", choice)
    if choice == "Another size":
        for axis in "zyx":
            person.enter(f"fused_{axis}", "1")
    settle(person)
    assert notes(opened[1]).get("grid", "isotropic") == wanted
    run = open_views(folder, grid=wanted)
    assert "×".join(map(str, run.grid.shape)) in person.see("volume", QLabel).text().replace(" ", "")
    person.press("fuse")
    person.wait_until_done()
    result = model.layers[-1]
    np.testing.assert_allclose(to_world_um(result), run.grid.affine)
    recipe = notes(result)["recipe"]
    again = Inputs(**recipe["inputs"]).open()
    assert again.grid == run.grid
    for view, other in zip(open_layers(opened).views.views, again.views, strict=True):
        np.testing.assert_array_equal(view.psf, other.psf)
    # Compare blurs the result with these PSFs, whatever is chosen by then.
    person.choose("voxels", "Cubes")
    settle(person)
    assert views_of(volume_at(result, (0, 0, 0)), list(model.layers), (0, 0, 0)).grid == run.grid


def test_the_preview_lies_on_the_voxels_that_were_chosen(model, person, opened):
    person.choose("voxels", "Another size")
    for axis in "zyx":
        person.enter(f"fused_{axis}", "1")
    settle(person)
    person.see("live", QCheckBox).click()
    person.bot.waitUntil(lambda: "Preview" in model.layers and np.isfinite(model.layers["Preview"].data).all())
    grid = open_layers(opened).views.grid
    steps = np.linalg.norm(to_world_um(model.layers["Preview"])[:3, :3], axis=0)
    np.testing.assert_allclose(steps, grid.voxel_size_um)
    first = (to_world_um(model.layers["Preview"])[:3, 3] - grid.origin_um) / grid.voxel_size_um
    np.testing.assert_allclose(first, first.round(), atol=1e-6)
    person.see("live", QCheckBox).click()
