"""A project of BigStitcher that is dropped on the window: its views as layers, in their places, with their PSFs."""

import json
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QMainWindow

from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.project_plan import ProjectPlanner, first_of_project
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.engine.savable_views import check_savable, save_views, scene
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import finest
from napari_mvfusion.gui.layers.notes import KEY, annotate, can_be_view
from napari_mvfusion.gui.layers.opened import choose_voxels, in_places, inputs_on, open_layers, run_psfs, take_run_psfs
from napari_mvfusion.gui.layers.project_layers import project_layers, sample_of
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.base import ProjectContents
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.methods import EBMD, Average

pytestmark = pytest.mark.usefixtures("plugin")

PROJECTS = ("bigstitcher-tiff/dataset.xml", "bigstitcher-zarr/dataset.xml", "npy2bdv/npy2bdv_angles.xml")


@pytest.fixture
def projects(test_data):
    path = test_data / "projects"
    if not path.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    return path


@pytest.fixture
def viewer():
    return ViewerModel()


def known_of(projects, called):
    """What is known of the views of a project at its first time point."""
    expected = json.loads((projects / "expected.json").read_text())
    return [e for e in expected if e["project"] == called and e["timepoint"] == 0]


def seen(viewer):
    """The layers of views, without what goes round them."""
    return [layer for layer in viewer.layers if can_be_view(layer)]


def opened(viewer, path):
    viewer.open(path, plugin="napari-mvfusion")
    return seen(viewer)


def test_upright_views_of_a_project_become_layers_as_they_are(viewer, projects):
    (layer,) = opened(viewer, projects / "mri-stack/mri-stack.xml")
    (view,) = known_of(projects, "mri-stack.xml")
    for point in view["points"]:
        assert np.asarray(layer.data[tuple(point["zyx"])]) == point["value"]
        np.testing.assert_allclose(layer.data_to_world(point["zyx"]), point["world_zyx_um"], rtol=1e-9, atol=1e-6)
    assert str(layer.units[0]) in ("micrometer", "micron")


@pytest.fixture
def upright(projects, tmp_path):
    """A project of two views that are shifted beside each other, by parts of a voxel."""
    shutil.copytree(projects / "bigstitcher-tiff", tmp_path / "upright")
    file = tmp_path / "upright/dataset.xml"
    found = dict(
        re.findall(r'<ViewRegistration timepoint="0" setup="(.)">(.*?)</ViewRegistration>', file.read_text(), re.S)
    )
    moved = '<ViewTransform type="affine"><affine>1 0 0 3.5 0 1 0 2 0 0 1 0</affine></ViewTransform>'
    file.write_text(file.read_text().replace(found["1"], moved + found["0"]))
    return file


def test_upright_views_are_fused_from_their_own_pixels_with_psfs_on_the_fused_grid(viewer, upright):
    layers = opened(viewer, upright)
    fused = open_layers(layers).views
    views = open_views(upright)
    assert fused.grid == views.grid
    for layer, view, other in zip(layers, fused.views, views.views, strict=True):
        assert view.data.shape == other.data.shape == (16, 24, 32)
        np.testing.assert_array_equal(view.data[:], other.data[:])
        np.testing.assert_array_equal(view.affine, other.affine)
        np.testing.assert_array_equal(view.psf, other.psf)
        assert layer.data.shape == views.grid.shape


@pytest.mark.parametrize("project", PROJECTS)
def test_turned_views_of_a_project_are_shown_on_the_grid_on_which_they_are_fused(viewer, projects, project):
    """napari cannot show a plane of a layer that is turned out of it."""
    layers = opened(viewer, projects / project)
    known = known_of(projects, project)
    assert len(layers) == len(known) == 2
    for layer, view in zip(layers, known, strict=True):
        values = np.asarray(finest(layer))
        for point in view["points"]:
            place = np.array(layer.world_to_data(point["world_zyx_um"]))
            np.testing.assert_allclose(place, place.round(), atol=1e-6)
            assert values[tuple(place.round().astype(int))] == pytest.approx(point["value"], abs=1e-2)
        assert np.array_equal(layer.affine.affine_matrix, np.eye(4))
    # They are fused as the command line fuses the project.
    fused = open_layers(layers).views
    views = open_views(projects / project, timepoint=0)
    assert fused.grid == views.grid
    box = views.grid.box
    np.testing.assert_array_equal(fused.read(box), views.read(box))
    np.testing.assert_array_equal(fused.coverage(box) > 0, views.coverage(box) > 0)
    for view, other in zip(fused.views, views.views, strict=True):
        assert (view.psf is None) == (other.psf is None) == project.startswith("npy2bdv")
        if view.psf is not None:
            np.testing.assert_allclose(view.psf, other.psf, atol=1e-6)


@pytest.mark.parametrize("project", PROJECTS)
def test_coarser_levels_are_the_same_picture(viewer, projects, project):
    """Half the resolution shows what the full one shows, in the same place: pixels that are linear in space stay so."""
    layers = opened(viewer, projects / project)
    for layer in layers:
        assert layer.multiscale == (project != "bigstitcher-tiff/dataset.xml")
        if not layer.multiscale:
            continue
        fine, coarse = (np.asarray(level) for level in layer.data)
        assert coarse.shape == tuple(-(-n // 2) for n in fine.shape)
        pairs = fine[: fine.shape[0] // 2 * 2, : fine.shape[1] // 2 * 2, : fine.shape[2] // 2 * 2]
        n = [side // 2 for side in pairs.shape]
        blocks = pairs.reshape(n[0], 2, n[1], 2, n[2], 2)
        whole = (blocks > 0).all(axis=(1, 3, 5)) & (coarse[: n[0], : n[1], : n[2]] > 0)
        assert whole.sum() > 100
        means = blocks.mean(axis=(1, 3, 5))[whole]
        apart = np.abs(coarse[: n[0], : n[1], : n[2]][whole] - means)
        assert np.median(apart) < 0.02 * means.max()


def test_a_fusion_in_the_window_has_a_recipe_that_repeats_it(viewer, projects, tmp_path):
    project = projects / "bigstitcher-zarr/dataset.xml"
    layers = opened(viewer, project)
    chosen = open_layers(layers)
    fused = drain(fuse_events(chosen.views, Average(), out=tmp_path / "fused.zarr", inputs=chosen.inputs))
    recipe = load_recipe(tmp_path / "fused.zarr.recipe.json")
    assert recipe.inputs.source == str(project)
    assert recipe.inputs.timepoint == 0
    again = drain(recipe.repeat(tmp_path / "again.zarr"))
    np.testing.assert_array_equal(np.asarray(fused.data), np.asarray(again.data))
    direct = drain(fuse_events(open_views(project, timepoint=0), Average()))
    np.testing.assert_array_equal(np.asarray(fused.data), direct.data)
    # One of the views alone keeps the grid that all of them were given.
    one = open_layers(layers[1:])
    assert one.views.grid == chosen.views.grid
    alone = Inputs(**one.inputs).open()
    assert alone.names == ("90",)
    assert alone.grid == one.views.grid
    np.testing.assert_array_equal(alone.read(alone.grid.box), one.views.read(alone.grid.box))


def test_psfs_of_projects_that_are_fused_together_come_to_common_voxels(viewer, projects):
    planner = ProjectPlanner(projects / "bigstitcher-tiff/dataset.xml")
    layers = []
    for size in (0.5, 1.0):
        there = project_layers(planner.proposed.model_copy(update={"voxel_size_um": (size, size, size)}))
        layers.append(viewer.add_layer(Layer.create(*there.views[0])))
    fine, coarse = (layer.metadata[KEY]["psf"] for layer in layers)
    fused = open_layers(layers)
    assert fused.views.grid.voxel_size_um == (0.5, 0.5, 0.5)
    assert fused.inputs is None
    assert fused.views.views[0].psf is fine

    def width(psf):
        places = np.indices(psf.shape).reshape(3, -1)
        return np.sqrt(np.diag(np.cov(places, aweights=psf.ravel().astype(float))))

    # Along x it is narrower than a voxel, where widths say little.
    np.testing.assert_allclose(width(fused.views.views[1].psf)[:2], 2 * width(coarse)[:2], rtol=0.1)


@pytest.mark.parametrize("project", PROJECTS)
def test_sliders_stop_at_the_planes_of_the_views(viewer, projects, project):
    """They count from where the first of all layers begins, and views that are turned begin anywhere."""
    layers = opened(viewer, projects / project)
    for axis, steps in enumerate(viewer.dims.nsteps):
        stops = []
        for step in range(steps):
            viewer.dims.set_current_step(axis, step)
            stops.append(layers[0].world_to_data(viewer.dims.point)[axis])
        np.testing.assert_allclose(stops, np.round(stops), atol=1e-6)
        assert set(range(layers[0].extent.data[1].astype(int)[axis])) <= {round(stop) for stop in stops}


@pytest.mark.parametrize(
    ("name", "chosen", "called"),
    [
        ("embryo/dataset.xml", {}, "embryo"),
        ("embryo/heart.xml", {"timepoint": 3, "channel": 1}, "heart t3 GFP"),
        ("embryo/heart.ome.zarr", {"channel": 2}, "heart channel 2"),
    ],
)
def test_views_are_called_after_their_project(tmp_path, name, chosen, called):
    held = ProjectContents("N5", "", (0,), ("1 (GFP)", "2"), (), (), (), (), 1, 0, 0, channel_numbers=(1, 2))
    path = tmp_path / name
    assert sample_of(path, held, Inputs(source=str(path), **chosen)) == called


def test_a_project_is_fused_on_other_voxels_as_the_command_line_does(viewer, projects):
    """Also where its layers lie on voxels that are no cubes: PSFs are brought to those that are chosen in the end."""
    planner = ProjectPlanner(projects / "bigstitcher-zarr/dataset.xml")
    opened_as = planner.proposed.model_copy(update={"voxel_size_um": (2.0, 0.5, 0.5), "box": "My Bounding Box"})
    layers = [viewer.add_layer(Layer.create(*layer)) for layer in project_layers(opened_as).views]
    assert open_layers(layers).views.grid == opened_as.open().grid
    choose_voxels(layers, (1.0, 1.0, 1.0))
    # PSFs that came back from the voxels of the layers are no longer those of the files.
    assert open_layers(layers).inputs is None
    take_run_psfs(layers, run_psfs(inputs_on(layers, (1.0, 1.0, 1.0))))
    chosen = open_layers(layers)
    assert chosen.views.grid.voxel_size_um == (1, 1, 1)
    again = Inputs(**chosen.inputs).open()
    assert again.grid == chosen.views.grid
    box = again.grid.box
    np.testing.assert_array_equal(again.read(box), chosen.views.read(box))
    for view, other in zip(chosen.views.views, again.views, strict=True):
        np.testing.assert_array_equal(view.psf, other.psf)


def test_what_is_set_on_a_view_of_a_project_is_in_its_recipe(viewer, projects):
    layers = opened(viewer, projects / "bigstitcher-tiff/dataset.xml")
    annotate(layers[0], weight=2.0, offset=10.0)
    chosen = open_layers(layers)
    again = Inputs(**chosen.inputs).open()
    assert [view.weight for view in again.views] == [2.0, 1.0]
    box = chosen.views.grid.box
    np.testing.assert_array_equal(again.read(box), chosen.views.read(box))


def test_views_of_a_project_become_a_scene_that_fuses_alike(viewer, projects, tmp_path):
    """With their own pixels and PSFs, though layers show both on the voxels of the fused volume."""
    layers = opened(viewer, projects / "bigstitcher-zarr/dataset.xml")
    annotate(layers[0], weight=2.0, offset=10.0)
    chosen = open_layers(layers)
    check_savable(in_places(layers, chosen), scene())
    saved = save_views(tmp_path / "s.zarr", in_places(layers, chosen), scene(), "", lambda share: None)
    again = Inputs(**saved.inputs).open()
    assert [view.weight for view in again.views] == [2.0, 1.0]
    grid = chosen.views.grid
    for view, other in zip(chosen.views.views, again.views, strict=True):
        np.testing.assert_array_equal(np.asarray(view.data[:]), np.asarray(other.data[:]))
        np.testing.assert_allclose(view.affine, other.affine, atol=1e-9)
    once = RegisteredViews(again.views, grid)
    ours, theirs = (drain(fuse_events(views, EBMD(iterations=2), device="cpu")) for views in (chosen.views, once))
    np.testing.assert_allclose(theirs.data, ours.data, rtol=1e-3, atol=1e-3 * ours.data.max())
    # Where a PSF that came on the voxels of the fused volume lies in the view, nobody knows.
    annotate(layers[1], psf=np.ones((3, 3, 3), np.float32) / 27)
    with pytest.raises(InputError, match=r"'90'.*has a PSF on the voxels of the fused volume, and a scene needs"):
        in_places(layers, open_layers(layers))


def test_a_layer_that_was_changed_is_fused_as_it_is_seen_and_has_no_recipe(viewer, projects):
    layers = opened(viewer, projects / "bigstitcher-tiff/dataset.xml")
    for layer in layers:
        layer.translate = layer.translate + 1
    moved = open_layers(layers)
    assert moved.inputs is None
    assert moved.views.views[0].data is layers[0].data
    assert moved.views.grid.origin_um[0] == pytest.approx(1)


def test_outlines_go_round_views_boxes_and_the_fused_volume(viewer, projects):
    opened(viewer, projects / "bigstitcher-zarr/dataset.xml")
    outlines = viewer.layers["bigstitcher-zarr t0 outlines"]
    assert not can_be_view(outlines)
    assert list(outlines.features["name"])[:-1] == ["0", "90", "My Bounding Box", "fused volume"]
    assert outlines.edge_color[-1][3] == 0
    assert [str(unit) for unit in outlines.units] == ["micrometer"] * 3
    views = open_views(projects / "bigstitcher-zarr/dataset.xml", timepoint=0)
    for line, view in zip(outlines.data, views.views, strict=False):
        own = line @ np.linalg.inv(view.affine)[:3, :3].T + np.linalg.inv(view.affine)[:3, 3]
        np.testing.assert_allclose(own.min(axis=0), -0.5, atol=1e-6)
        np.testing.assert_allclose(own.max(axis=0), np.array(view.shape) - 0.5, atol=1e-6)
        # Along all twelve edges, each of which changes one coordinate.
        corners = [tuple(corner) for corner in own.round(6).tolist()]
        edges = {frozenset(pair) for pair in pairwise(corners)}
        assert len(edges) == 12
        assert all(sum(a != b for a, b in zip(*edge, strict=True)) == 1 for edge in edges)
    # The box of the project is -20..40, 3..26, 5..36 in units of 0.5 um along x, y, z.
    box = outlines.data[2]
    np.testing.assert_allclose((box.min(axis=0), box.max(axis=0)), [(2.5, 1.5, -10), (18, 13, 20)])
    colours = outlines.edge_color
    np.testing.assert_allclose(colours[0], [0, 1, 0, 1])
    np.testing.assert_allclose(colours[1], [1, 0, 1, 1])


@pytest.mark.window
def test_a_project_is_shown_in_planes_and_in_space(make_napari_viewer_proxy, projects, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    inputs, _ = first_of_project(projects / "bigstitcher-zarr/dataset.xml")
    made = project_layers(inputs)
    first, second = (viewer.add_layer(Layer.create(*layer)) for layer in made.views)
    viewer.add_layer(Layer.create(*made.outlines))
    for shown in (3, 2):
        viewer.dims.ndisplay = shown
        viewer.reset_view()
        picture = viewer.screenshot(canvas_only=True, flash=False)
        assert picture[..., :3].max() > 100
    assert first.visible
    assert second.visible


def test_other_xml_files_are_left_to_others(tmp_path):
    (tmp_path / "a.xml").write_text("<OME/>")
    assert get_reader(str(tmp_path / "a.xml")) is None


def test_a_layer_that_is_saved_as_a_project_opens_again_in_its_place(viewer, rng, tmp_path):
    values = rng.random((5, 6, 7)).astype(np.float32)
    layer = viewer.add_image(values, scale=(2, 0.5, 0.25), translate=(3, -4, 5), units=("um", "um", "um"))
    assert layer.save(str(tmp_path / "fused.bdv")) == [str(tmp_path / "fused.bdv")]
    viewer.layers.clear()
    for named in ("fused.bdv", "fused.bdv/dataset.xml"):
        back, *_ = viewer.open(tmp_path / named, plugin="napari-mvfusion")
        np.testing.assert_array_equal(np.asarray(back.data), values)
        np.testing.assert_allclose(back.data_to_world((0, 0, 0)), (3, -4, 5))
        np.testing.assert_allclose(back.data_to_world((1, 1, 1)), (5, -3.5, 5.25))


def spoilt(folder, kind):
    """A project or file that cannot be used, and the words that say why."""
    shutil.copytree(folder / "npy2bdv", folder / kind)
    path = folder / kind / "npy2bdv_angles.xml"
    if kind == "no XML":
        path.write_text("<SpimData")
        return path, "is damaged: it is no XML"
    if kind == "another XML":
        path.write_text("<OME/>")
        return path, "is no BDV project: its root is <OME>"
    if kind == "no pixels":
        (path.with_name("npy2bdv_angles.h5")).unlink()
        return path, "npy2bdv_angles.h5 does not exist"
    if kind == "cut pixels":
        pixels = path.with_name("npy2bdv_angles.h5")
        pixels.write_bytes(pixels.read_bytes()[:5000])
        return path, "cannot be read as an HDF5 file"
    (path.with_name("a.h5")).write_text("no such file")
    return path.with_name("a.h5"), "is no HDF5 file"


@pytest.mark.parametrize("kind", ["no XML", "another XML", "no pixels", "cut pixels", "no HDF5"])
def test_why_a_file_is_not_opened_is_said_in_the_window(viewer, qtbot, projects, tmp_path, kind):
    """Of a reader that refuses or fails, napari says that another one should be asked, and not why."""
    shutil.copytree(projects / "npy2bdv", tmp_path / "npy2bdv")
    path, words = spoilt(tmp_path, kind)
    with pytest.raises((ValueError, InputError)):
        viewer.open(path, plugin="napari-mvfusion")
    window = QMainWindow()
    qtbot.addWidget(window)
    window.show()
    said = []
    notification_manager.notification_ready.connect(said.append)
    assert viewer.open(path, plugin="napari-mvfusion") == []
    notification_manager.notification_ready.disconnect(said.append)
    (message,) = [each.message for each in said]
    assert words in message
    assert str(path.parent) in message
    assert "\n" not in message
    assert not viewer.layers
