"""How much views count from place to place, as it is noted for their layers: what is fused, and what recipes say of it."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from scipy import ndimage

from command_line import run
from napari_mvfusion.cli.script import as_command
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.trust import Fade, with_trust
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.gui.layers.layer_data import view_layers, views_as_layers
from napari_mvfusion.gui.layers.notes import ChosenTrust, annotate, can_be_view, notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.layers.project_layers import project_layers
from napari_mvfusion.gui.layers.trusted_views import in_words
from napari_mvfusion.gui.panels.fuse.live_preview import identity
from napari_mvfusion.gui.panels.views.grids import resampled
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import sample

pytestmark = pytest.mark.usefixtures("plugin")

GRID = Grid((32, 32, 32), (0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
WHOLE = (slice(None),) * 3


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture(scope="module")
def recorded():
    made = sample("nuclei", 32, angles=(0.0, 90.0)).views.views
    return RegisteredViews([replace(view, data=np.asarray(view.data)[..., :32], mask=None) for view in made], GRID)


@pytest.fixture
def layers(viewer, recorded):
    return [viewer.add_image(data, **look) for data, look, _ in view_layers(recorded, sample="s")]


def fused(views, **more):
    return np.asarray(drain(fuse_events(views, Average(), **more)).data)


def test_what_is_noted_of_a_layer_is_how_much_its_view_counts(layers, recorded, rng):
    weights = rng.random(GRID.shape, np.float32)
    box = ((4.0, 4.0, 4.0), (30.0, 30.0, 15.0))
    annotate(layers[0], trust=ChosenTrust(weights, box_um=box, fade=Fade(4, 12)))
    expected = with_trust(recorded.views[0], GRID, weights=weights, box_um=box, fade=Fade(4, 12))
    views = open_layers(layers).views
    np.testing.assert_array_equal(views.views[0].trust[WHOLE], expected.trust[WHOLE])
    assert views.views[1].trust is None
    np.testing.assert_array_equal(fused(views), fused(RegisteredViews([expected, recorded.views[1]], GRID)))


def test_a_box_stays_in_the_world_where_all_layers_are_turned(viewer, recorded):
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]]
    layers = [
        viewer.add_image(np.asarray(view.data), metadata={"mvfusion": {"included": True}}, affine=turn)
        for view in recorded.views
    ]
    box = ((5.1, -8.1, 12.1), (20.1, 9.1, 30.1))  # between voxels
    annotate(layers[0], trust=ChosenTrust(box_um=box))
    trust = open_layers(layers).views.views[0].trust[WHOLE]
    places = np.moveaxis(np.indices(trust.shape), 0, -1) @ turn[:3, :3].T
    inside = ((places >= box[0]) & (places <= box[1])).all(axis=-1)
    np.testing.assert_array_equal(trust > 0, inside)


def test_a_moved_layer_takes_its_box_from_the_world_and_no_recipe_says_it(viewer, tmp_path, recorded):
    write_views_folder(tmp_path / "in", recorded, "s")
    inputs = Inputs(source=str(tmp_path / "in"), no_data="auto")
    _, found = views_as_layers(inputs.open, sample="s", inputs=inputs.model_dump(mode="json"))
    layers = [viewer.add_image(data, **look) for data, look, _ in found]
    annotate(layers[0], trust=ChosenTrust(box_um=((4.0, 4.0, 8.0), (30.0, 30.0, 15.0))))
    there = open_layers(layers)
    assert there.inputs is not None
    before = there.views.views[0].trust[WHOLE]
    for layer in layers:
        layer.translate = np.add(layer.translate, (0, 0, 1))
    moved = open_layers(layers)
    assert moved.inputs is None
    np.testing.assert_array_equal(moved.views.views[0].trust[WHOLE][:, :, :-2], before[:, :, 2:])


@pytest.mark.parametrize("alike", [False, True])
def test_a_run_is_copied_with_trust_and_repeated(viewer, recorded, tmp_path, rng, alike):
    write_views_folder(tmp_path / "in", recorded, "s")
    file = tmp_path / "w.tif"
    weights = rng.random(GRID.shape, np.float32)
    write_volume(file, weights, GRID)
    inputs = Inputs(source=str(tmp_path / "in"), no_data="auto")
    _, found = views_as_layers(inputs.open, sample="s", inputs=inputs.model_dump(mode="json"))
    layers = [viewer.add_image(data, **look) for data, look, _ in found]
    box = ((1.0, 2.0, 3.0), (30.0, 30.0, 15.0))
    annotate(layers[0], trust=ChosenTrust(weights, weights_layer="w", weights_file=str(file), fade=Fade(4, 12)))
    annotate(layers[1], trust=ChosenTrust(box_um=box, fade=Fade(4, 12) if alike else None))
    opened = open_layers(layers)
    kept = Inputs(**opened.inputs)
    assert kept.trust == {"0": str(file)}
    assert kept.trust_box_um == {"90": box}
    assert (kept.fade_um, kept.fades_um) == ((4, 12), {}) if alike else (None, {"0": (4, 12)})
    made = fused(opened.views, out=tmp_path / "out.tif", inputs=opened.inputs)
    again = drain(load_recipe(recipe_path(tmp_path / "out.tif")).repeat(tmp_path / "again.tif"))
    np.testing.assert_array_equal(np.asarray(again.data), made)
    if alike:
        run(*shlex.split(as_command(kept, Average(), str(tmp_path / "copied.tif")))[1:])
        np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / "copied.tif")[0][:]), made)
    # Opened so, layers note it, and say the same again.
    _, found = views_as_layers(kept.open, sample="s", inputs=kept.model_dump(mode="json"))
    reopened = open_layers([viewer.add_image(data, **look) for data, look, _ in found])
    assert reopened.inputs == opened.inputs
    np.testing.assert_array_equal(fused(reopened.views), made)


def test_what_is_noted_is_seen_by_the_live_preview(layers):
    before = identity(layers[0])
    annotate(layers[0], trust=ChosenTrust(fade=Fade(4, 12)))
    assert identity(layers[0]) != before
    assert identity(layers[0]) == identity(layers[0])


def test_weights_that_are_in_no_file_are_in_no_recipe(layers, recorded, tmp_path):
    for layer in layers:
        annotate(layer, inputs=Inputs(source=str(tmp_path)).model_dump(mode="json"))
    assert open_layers(layers).inputs is not None
    annotate(layers[0], trust=ChosenTrust(np.ones(GRID.shape, np.float32), weights_layer="painted"))
    assert open_layers(layers).inputs is None


@pytest.mark.parametrize("project", ["bigstitcher-zarr/dataset.xml", "bigstitcher-tiff/dataset.xml"])
def test_views_of_a_project_count_as_weights_say_on_the_voxels_that_are_shown(viewer, test_data, project):
    path = test_data / "projects" / project
    if not path.exists():
        pytest.skip("the projects of other programs are not at hand")
    viewer.open(path, plugin="napari-mvfusion")
    layers = [layer for layer in viewer.layers if can_be_view(layer)]
    grid = open_layers(layers).views.grid
    weights = np.broadcast_to(np.linspace(0, 1, grid.shape[2], dtype=np.float32), grid.shape)
    annotate(layers[1], trust=ChosenTrust(weights, weights_layer="w", weights_file="/w.tif", fade=Fade(2, 40)))
    opened = open_layers(layers)
    assert opened.inputs is None, "no file has the weights on the view's own voxels"
    view = opened.views.views[1]
    own = grid.affine if view.affine is None else view.affine
    places = np.einsum("ij,jzyx->izyx", (np.linalg.inv(grid.affine) @ own)[:3, :3], np.indices(view.shape))
    places += (np.linalg.inv(grid.affine) @ own)[:3, 3].reshape(3, 1, 1, 1)
    expected = ndimage.map_coordinates(weights, places, order=1, mode="constant")
    trust = view.trust[WHOLE]
    depth = np.linalg.norm(own[:3, 0]) * np.arange(view.shape[0])
    fade = np.interp(depth, [2, 40], [1, 0])[:, None, None]
    inner = ((places > 1e-3) & (places < np.reshape(grid.shape, (3, 1, 1, 1)) - 1.001)).all(axis=0)
    assert inner.mean() > 0.3
    np.testing.assert_allclose(trust[inner], (expected * fade)[inner], atol=1e-5)
    annotate(layers[1], trust=ChosenTrust(fade=Fade(2, 40)))
    kept = Inputs(**open_layers(layers).inputs)
    assert kept.fades_um == {view.name: (2, 40)}
    np.testing.assert_array_equal(fused(kept.open()), fused(open_layers(layers).views))
    again = project_layers(kept)
    shown = notes_of(again.views[1])["trust"]
    assert (shown.fade, shown.weights) == (Fade(2, 40), None)
    assert len(again.views[1][0]) == len(layers[1].data), "coarser levels are there as without"


def notes_of(data):
    return data[1]["metadata"]["mvfusion"]


def test_a_copy_on_other_voxels_counts_as_its_view_does(layers):
    layers[1].translate = np.add(layers[1].translate, (0, 0, 0.25))
    annotate(layers[1], trust=ChosenTrust(box_um=((0.0, 0.0, 8.0), (30.0, 30.0, 30.0)), fade=Fade(3, 9)))
    before = open_layers(layers).views
    data, look, _ = resampled(layers[1], layers)
    copied = open_layers([layers[0], Image(data, **look)]).views
    box = before.grid.box
    np.testing.assert_allclose(copied.coverage(box), before.coverage(box), atol=1e-5)


def test_time_points_count_alike(viewer, recorded, rng):
    series = [np.stack([np.asarray(view.data)] * 2) for view in recorded.views]
    layers = [viewer.add_image(each, metadata={"mvfusion": {"included": True}}) for each in series]
    weights = rng.random(GRID.shape, np.float32)
    annotate(layers[0], trust=ChosenTrust(weights))
    second = open_layers(layers).at((1,))
    np.testing.assert_array_equal(second.views[0].trust[WHOLE], weights)
    assert notes(layers[0])["trust"].weights is weights


def test_each_time_point_is_repeated_as_its_views_count(viewer, tmp_path, rng):
    grid = Grid((12, 14, 16))
    pixels = rng.random((2, 2, *grid.shape), np.float32) + 1
    write_zarr(tmp_path / "fish.zarr", pixels, grid, leading=[LeadingAxis("t", 2), LeadingAxis("c", 2)])
    weights, file = rng.random(grid.shape, np.float32), tmp_path / "w.zarr"
    write_zarr(file, weights, grid)
    viewer.open(tmp_path / "fish.zarr", plugin="napari-mvfusion")
    layers = [layer for layer in viewer.layers if can_be_view(layer)]
    box = ((0.0, 0.0, 0.0), (9.0, 20.0, 20.0))
    annotate(layers[0], trust=ChosenTrust(weights, weights_layer="w", weights_file=str(file), box_um=box))
    opened = open_layers(layers)
    assert opened.indices == [(0,), (1,)]
    for index in opened.indices:
        again = Inputs(**opened.inputs_at(index))
        assert list(again.trust.values()) == [str(file)]
        assert list(again.trust_box_um.values()) == [box]
        np.testing.assert_array_equal(fused(again.open()), fused(opened.at(index)))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (ChosenTrust(fade=Fade(120, 180)), "counts to 120 µm of depth, and not at all from 180 µm on"),
        (ChosenTrust(fade=Fade(180, 120)), "counts from 180 µm of depth on, and not at all to 120 µm"),
        (
            ChosenTrust(1, weights_layer="w", box_um=((0, 1, 2), (3.5, 4, 5))),
            "counts as 'w' says; within z 0 to 3.5, y 1 to 4, x 2 to 5 µm",
        ),
    ],
)
def test_it_is_said_in_a_sentence(chosen, said):
    assert in_words(chosen) == said
