"""Volumes that their files turn, as layers: napari shows them upright, and fuses what their files hold."""

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from views_person import in_front_of_the_views

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, Recipe
from napari_mvfusion.engine.savable_views import save_views
from napari_mvfusion.engine.savable_views import scene as scene_kind
from napari_mvfusion.gui.layers.conversion import pixels_of
from napari_mvfusion.gui.layers.layer_data import set_pixels, truth_layer, volume_layer
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.layers.opened import in_places, open_layers
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.measures.pixel_facts import look_at
from napari_mvfusion.measures.view_problems import pixel_problems
from napari_mvfusion.methods import EBMD, Average

pytestmark = pytest.mark.usefixtures("plugin")

SHAPE = (10, 20, 14)
SIZE = (1.0, 0.5, 0.5)


@pytest.fixture
def viewer():
    return ViewerModel()


def turned(degrees, origin=(3.0, 12.0, 1.0), size=SIZE):
    """From voxels of some size to a world in which they are turned about x; exact for quarter turns."""
    cos, sin = np.cos(np.deg2rad(degrees)).round(12), np.sin(np.deg2rad(degrees)).round(12)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(size)
    matrix[:3, 3] = origin
    return matrix


def scene(affine, shape=SHAPE):
    """A blob and a ramp in the world as a view with this affine sees them: equal in all views at equal places."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    blob = np.exp(-((places - (6.0, 17.0, 4.0)) ** 2).sum(-1) / 4)
    return (100 + places @ (3, 2, 1) + 200 * blob).astype(np.float32)


def zarr_of(path, pixels, affine, *, labels=()):
    """An OME-Zarr after the specification, (z, y, x) or with channels before them, that its metadata turn."""
    axes = "czyx" if labels else "zyx"
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", data=pixels)
    matrix = np.eye(len(axes) + 1)
    matrix[-4:, -4:] = affine
    kinds = {"c": {"type": "channel"}}
    said = [{"name": axis, **kinds.get(axis, {"type": "space", "unit": "micrometer"})} for axis in axes]
    place = {"type": "affine", "affine": matrix[:-1].tolist()}
    levels = [{"path": "0", "coordinateTransformations": [place]}]
    ome = {"version": "0.5", "multiscales": [{"axes": said, "datasets": levels}]}
    if labels:
        ome["omero"] = {"channels": [{"label": label} for label in labels]}
    group.attrs["ome"] = ome
    return path


def check_places(layer, affine, pixels):
    """The layer shows pixels of the file where the file says that they lie, as far as its voxels meet them."""
    assert np.array_equal(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    for place in ((0, 0, 0), (3, 4, 5), (9, 19, 13)):
        world = affine[:3, :3] @ place + affine[:3, 3]
        shown = np.array(layer.world_to_data(world))
        np.testing.assert_allclose(shown, shown.round(), atol=1e-6)
        value = np.asarray(layer.data[tuple(shown.round().astype(int))])
        assert value == pytest.approx(pixels[place], rel=1e-5)


def psf_file(path, size=(0.5, 0.5, 0.5)):
    """A PSF that is longest along z, and not symmetric."""
    axes = np.meshgrid(*(np.arange(13) - 6,) * 3, indexing="ij")
    psf = np.exp(-sum((a / s) ** 2 for a, s in zip(axes, (2.0, 1.0, 1.2), strict=True)) / 2)
    psf[8:] *= 1.1
    write_volume(path, psf.astype(np.float32), Grid(psf.shape, size))


def test_a_single_volume_that_is_turned_by_a_right_angle(viewer, tmp_path):
    affine = turned(90)
    pixels = scene(affine)
    zarr_of(tmp_path / "v.zarr", pixels, affine)
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    check_places(layer, affine, pixels)
    assert layer.scale.tolist() == [0.5] * 3
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    np.testing.assert_array_equal(pixels_of(layer), pixels)
    fused, run = open_layers([layer]).views, open_views([tmp_path / "v.zarr"])
    assert fused.grid == run.grid
    np.testing.assert_array_equal(fused.read(fused.grid.box), run.read(run.grid.box))


@pytest.mark.parametrize("degrees", [90, 30])
def test_turned_channels_fuse_as_their_file_does(viewer, tmp_path, degrees):
    affine = turned(degrees)
    pixels = np.stack([scene(affine), scene(affine)[::-1]])
    zarr_of(tmp_path / "v.zarr", pixels, affine, labels=("a", "b"))
    layers = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    if degrees == 90:
        check_places(layers[0], affine, pixels[0])
    opened, run = open_layers(list(layers)), open_views(tmp_path / "v.zarr")
    assert opened.views.grid == run.grid
    assert all(view.affine is not None for view in opened.views.views)
    again = Inputs(**opened.inputs).open()
    ours, theirs = (Recipe(**fused(views, Average()).recipe) for views in (opened.views, again))
    assert ours.views == theirs.views
    np.testing.assert_array_equal(opened.views.read(run.grid.box), run.read(run.grid.box))


def fused(views, method):
    """What a method makes of views."""
    return list(fuse_events(views, method, device="cpu"))[-1].fused


def folder_of_views(path):
    """Views of one scene in a folder, one upright and one turned, each with a PSF on voxels of its own."""
    path.mkdir()
    upright = np.diag([*SIZE, 1.0])
    for angle, affine in ((0, upright), (90, turned(90, (9.5, 0.5, 0.5)))):
        zarr_of(path / f"fly_view_{angle}.zarr", scene(affine), affine)
        psf_file(path / f"psf_{angle}.tif")
    return path


def test_a_folder_with_a_turned_view_fuses_as_the_command_does(viewer, tmp_path):
    folder = folder_of_views(tmp_path / "fly")
    first, second = viewer.open(folder, plugin="napari-mvfusion")
    assert first.data.shape == SHAPE, "what is upright is shown as it is"
    check_places(second, turned(90, (9.5, 0.5, 0.5)), scene(turned(90, (9.5, 0.5, 0.5))))
    opened, run = open_layers([first, second]), open_views(folder)
    assert opened.views.grid == run.grid
    for view, other in zip(opened.views.views, run.views, strict=True):
        np.testing.assert_array_equal(view.psf, other.psf)
    again = Inputs(**opened.inputs).open()
    ours, theirs = (fused(views, EBMD(iterations=2)) for views in (opened.views, again))
    np.testing.assert_array_equal(ours.data, theirs.data)


def test_turned_views_become_a_scene_that_fuses_alike(viewer, tmp_path):
    layers = list(viewer.open(folder_of_views(tmp_path / "fly"), plugin="napari-mvfusion"))
    opened = open_layers(layers)
    saved = save_views(tmp_path / "s.zarr", in_places(layers, opened), scene_kind(), "", lambda share: None)
    again = Inputs(**saved.inputs).open()
    assert again.grid == opened.views.grid
    ours, theirs = (fused(views, EBMD(iterations=2)) for views in (opened.views, again))
    for view, other in zip(opened.views.views, again.views, strict=True):
        np.testing.assert_array_equal(np.asarray(view.data[:]), np.asarray(other.data[:]))
    # PSFs are brought to voxels of the views, and from there to those of the fused volume.
    np.testing.assert_allclose(theirs.data, ours.data, rtol=1e-3)


def test_a_turned_view_that_is_moved_is_fused_where_it_was_moved_to(viewer, tmp_path):
    affine = turned(90)
    zarr_of(tmp_path / "v.zarr", scene(affine), affine, labels=())
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    before = open_layers([layer]).views
    layer.translate = np.add(layer.translate, (0, 4, 0))
    after = open_layers([layer]).views
    np.testing.assert_allclose(np.subtract(after.grid.origin_um, before.grid.origin_um), (0, 4, 0))
    np.testing.assert_allclose(after.read(after.grid.box), before.read(before.grid.box), rtol=1e-6)


def test_a_series_of_turned_volumes(viewer, tmp_path):
    affine = turned(90)
    pixels = np.stack([scene(affine), 2 * scene(affine)])
    group = zarr.open_group(zarr_of(tmp_path / "v.zarr", pixels, affine, labels=("a", "b")))
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"][0] = {"name": "t", "type": "time", "unit": "second"}
    group.attrs["ome"] = {key: value for key, value in ome.items() if key != "omero"}
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    opened = open_layers([layer])
    assert opened.leading == (2,)
    box = opened.views.grid.box
    first, second = (opened.at(index).read(box) for index in opened.indices)
    np.testing.assert_array_equal(2 * first, second)
    np.testing.assert_allclose(np.asarray(layer.data[1]), second[0], rtol=1e-6)


def test_the_row_of_a_turned_view_says_how_it_is_shown(model, qtbot, tmp_path):
    person = in_front_of_the_views(model, qtbot)
    person.drop(folder_of_views(tmp_path / "fly"))
    person.settle()
    (said,) = [problem for row in person.rows() for problem in row.problems if "turned" in problem]
    assert said == (
        "This view is turned. It is shown resampled on voxels of 0.5 × 0.5 × 0.5 µm, and fused from the pixels in its file."
    )


@pytest.mark.window
def test_turned_volumes_are_shown_from_all_sides(make_napari_viewer_proxy, tmp_path, qtbot):
    """A plane of a layer that is turned by a right angle ends in numpy's error for singular matrices."""
    viewer = make_napari_viewer_proxy(show=True)
    viewer.open(folder_of_views(tmp_path / "fly"), plugin="napari-mvfusion")
    affine = turned(90)
    zarr_of(tmp_path / "v.zarr", scene(affine), affine)
    viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    pictures = []
    for shown in (2, 3):
        viewer.dims.ndisplay = shown
        for _ in range(3):
            viewer.reset_view()
            viewer.dims.set_point(viewer.dims.order[0], 8.0)
            pictures.append(viewer.screenshot(canvas_only=True, flash=False)[..., :3])
            viewer.dims.roll()
    assert all(picture.max() > 100 for picture in pictures)


def test_a_ground_truth_that_is_turned_lies_where_its_file_says():
    affine = turned(90)
    data, look, _ = truth_layer(scene(affine), Grid(SHAPE, SIZE), sample="fly", affine=affine)
    check_places(Image(data, **look), affine, scene(affine))


def test_voxels_that_are_no_numbers_are_mended_in_what_was_recorded():
    affine, pixels = turned(90), scene(turned(90))
    pixels[2, 3, 4] = np.nan
    data, look, _ = volume_layer(pixels, Grid(SHAPE, SIZE), name="v", recipe=None, affine=affine)
    layer = Image(data, **look)
    assert np.isfinite(layer.data).all()
    (problem,) = pixel_problems(drained(look_at(pixels_of(layer))), pixels_of(layer), offset=0.0, mask=None)
    mended = problem.fixes[0].mend()
    set_pixels(layer, mended.data)
    annotate(layer, **mended.entries)
    (view,) = open_layers([layer]).views.views
    assert view.data.shape == SHAPE
    assert np.asarray(view.mask).sum() == pixels.size - 1
    check_places(layer, affine, np.nan_to_num(pixels))


def drained(steps):
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_chunks_of_a_turned_volume_are_decoded_once_and_only_where_one_looks():
    affine, pixels = turned(30, size=(1.0, 1.0, 1.0)), np.ones((90, 80, 70), np.uint16)
    decoded = []

    class Chunked:
        shape, dtype, ndim, chunks = pixels.shape, pixels.dtype, 3, (40, 40, 40)

        def __getitem__(self, index):
            decoded.append(str(index))
            return pixels[index]

    data, look, _ = volume_layer(pixels, Grid(pixels.shape), name="v", recipe=None, affine=affine)
    expected = np.asarray(data)
    shown, _, _ = volume_layer(Chunked(), Grid(pixels.shape), name="v", recipe=None, affine=affine)
    decoded.clear()  # a few planes tell how bright it is
    layer = Image(shown, **look)
    layer.data[8]
    assert 0 < len(decoded) < 12
    for z in (9, 10, 60, 61):
        np.testing.assert_allclose(layer.data[z], expected[z], atol=1e-4)
    np.testing.assert_allclose(np.asarray(layer.data), expected, atol=1e-4)
    assert len(decoded) == len(set(decoded)) == 3 * 2 * 2


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(("unit", "many"), [("um", 1.0), ("nm", 1e3), ("mm", 1e-3)])
@pytest.mark.parametrize("place", [(28e3, 4e3, 0.0), (1e6, -1e6, 7e5)])
def test_layers_far_away_fuse_as_near_ones_do(unit, many, place):
    """Brightness grows evenly through the world, so that a value tells by what part of a voxel it is off."""
    slope = np.array([3.0, 7.0, -5.0])
    layers = []
    for degrees in (0, 90, 89):
        own = turned(degrees, (0, 0, 0))
        index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
        pixels = (1000 + index @ own[:3, :3].T @ slope).astype(np.float32)
        own[:3, 3] = place
        own[:3] *= many
        layers.append(Image(pixels, name=str(degrees), affine=own, units=(unit,) * 3))
    views = open_layers(layers).views
    grid, whole = views.grid, Box.whole(views.grid.shape)
    assert grid.voxel_size_um == (0.5, 0.5, 0.5)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    right = 1000 + (index * grid.voxel_size_um + (np.array(grid.origin_um) - place)) @ slope
    read, covered = views.read(whole), views.coverage(whole)
    for number in range(3):
        inside = covered[number] > 0
        assert inside.mean() > 0.1
        assert np.abs(read[number] - right)[inside].max() < 0.01 * 0.5 * 3


def levels_of(path, pixels, affine, *, scaled=True):
    """An OME-Zarr of three levels, each the mean of 2 x 2 x 2 voxels of the finer one; `scaled` says so of their places."""
    group = zarr.create_group(path, zarr_format=3)
    levels = []
    for level in range(3):
        if level:
            *leading, depth, height, width = pixels.shape
            blocks = pixels.reshape(*leading, depth // 2, 2, height // 2, 2, width // 2, 2)
            pixels = blocks.mean(axis=(-5, -3, -1), dtype=np.float32)
        group.create_array(str(level), data=pixels)
        coarser = np.diag([2.0**level] * 3 + [1.0])
        coarser[:3, 3] = (2**level - 1) / 2
        matrix = np.eye(pixels.ndim + 1)
        matrix[-4:, -4:] = affine @ coarser if scaled else affine
        place = {"type": "affine", "affine": matrix[:-1].tolist()}
        levels.append({"path": str(level), "coordinateTransformations": [place]})
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    time = [{"name": "t", "type": "time", "unit": "second"}] if pixels.ndim == 4 else []
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [*time, *space], "datasets": levels}]}
    return path


@pytest.mark.parametrize(("degrees", "times"), [(90, 0), (30, 0), (30, 2)])
def test_coarser_levels_of_a_turned_volume_show_the_same_in_the_same_place(viewer, tmp_path, degrees, times):
    affine = turned(degrees)
    places = np.stack(np.meshgrid(*map(np.arange, (24, 40, 32)), indexing="ij"), axis=-1) @ affine[:3, :3].T
    pixels = (500 + (places + affine[:3, 3]) @ (3, 2, 1)).astype(np.float32)
    levels_of(tmp_path / "v.zarr", np.stack([pixels] * times) if times else pixels, affine)
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    assert layer.multiscale
    finest, *coarser = layer.data
    assert len(coarser) == 2
    np.testing.assert_array_equal(pixels_of(layer)[1] if times else pixels_of(layer), pixels)
    for number, shown in enumerate(coarser, 1):
        shown = np.asarray(shown[1] if times else shown)
        assert shown.shape == tuple(-(-n // 2**number) for n in finest.shape[-3:])
        # Where napari puts the middles of its voxels.
        there = np.stack(np.meshgrid(*map(np.arange, shown.shape), indexing="ij"), axis=-1) * 2.0**number
        world = (there + (2**number - 1) / 2) * layer.scale[-3:] + layer.translate[-3:]
        seen = shown > 0
        assert seen.mean() > 0.3
        np.testing.assert_allclose(shown[seen], (500 + world @ (3, 2, 1))[seen], rtol=1e-4)


def test_levels_that_do_not_lie_where_the_finest_does_are_not_shown(viewer, tmp_path):
    affine = turned(30)
    levels_of(tmp_path / "v.zarr", scene(affine, (24, 40, 32)), affine, scaled=False)
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    assert not layer.multiscale


def test_a_plane_of_several_levels_is_computed_as_a_plane(tmp_path, viewer, monkeypatch):
    """Of these napari takes first the part that is on the screen, all planes of it, and then the plane."""
    computed = []
    read = RegisteredViews.read

    def counted(self, box, which=None):
        computed.append(box.size)
        return read(self, box, which)

    monkeypatch.setattr(RegisteredViews, "read", counted)
    affine = turned(30)
    levels_of(tmp_path / "v.zarr", scene(affine, (24, 40, 32)), affine)
    (layer,) = viewer.open(tmp_path / "v.zarr", plugin="napari-mvfusion")
    sizes = [level.shape for level in layer.data]
    computed.clear()
    viewer.dims.set_point(0, 14.0)
    planes = sum(height * width for _, height, width in sizes)
    assert 0 < sum(computed) <= planes, "of what is shown and its thumbnail"
    np.testing.assert_array_equal(np.asarray(layer.data[0][5:9, 3:60]), np.asarray(layer.data[0])[5:9, 3:60])
