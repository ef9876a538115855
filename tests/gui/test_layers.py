"""Layers become views and views become layers, and nothing is lost on the way."""

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import frame_of, same_place, to_world_um
from napari_mvfusion.gui.layers.layer_data import lazy, truth_layer, view_layers, volume_layer
from napari_mvfusion.gui.layers.notes import KEY, can_be_view
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.grids import grid_problems

SHAPE = (6, 7, 8)
GRID = Grid(SHAPE, (2.0, 0.5, 0.25), (10.0, -3.0, 4.0))


@pytest.fixture
def views(rng):
    psf = np.zeros((3, 3, 5), np.float32)
    psf[1, 1, 2] = 1
    mask = rng.random(SHAPE) > 0.3
    return RegisteredViews(
        [
            View(rng.random(SHAPE), "0", psf=psf, angle=0.0, weight=2.0, offset=0.1, mask=mask, source="a.tif"),
            View(rng.integers(0, 9, SHAPE).astype(np.uint16), "90", angle=90.0),
        ],
        GRID,
    )


def as_layers(layer_data):
    return [Image(data, **look) for data, look, _ in layer_data]


def test_views_survive_the_way_through_layers(views):
    back = open_layers(as_layers(view_layers(views, sample="fly"))).views
    assert back.grid == GRID
    for old, new in zip(views.views, back.views, strict=True):
        assert (new.name, new.angle, new.weight, new.offset, new.source) == (
            old.name,
            old.angle,
            old.weight,
            old.offset,
            old.source,
        )
        assert new.affine is None
        assert (new.psf is None) == (old.psf is None)
    np.testing.assert_array_equal(back.views[0].psf, views.views[0].psf)
    np.testing.assert_array_equal(back.read(GRID.box), views.read(GRID.box))
    np.testing.assert_array_equal(back.coverage(GRID.box), views.coverage(GRID.box))


def test_views_with_an_affine_survive_too(rng):
    turned = np.eye(4)
    turned[:3] = [[2, 0, 0, 10.0], [0, 0, 0.5, -3.0], [0, -0.25, 0, 5.5]]
    straight = View(rng.random(SHAPE), "straight")
    views = RegisteredViews([straight, View(rng.random((6, 8, 7)), "turned", affine=turned)], GRID)
    back = open_layers(as_layers(view_layers(views, sample="")), "first")
    np.testing.assert_allclose(back.views.views[1].affine, turned)
    np.testing.assert_array_equal(back.views.read(GRID.box), views.read(GRID.box))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1), ("nm", 1e-3), ("mm", 1e3), ("pixel", 1)])
def test_units_become_micrometres(unit, factor):
    layer = Image(np.zeros(SHAPE), scale=(3, 2, 1), translate=(5, 6, 7), units=(unit,) * 3)
    np.testing.assert_allclose(np.diag(to_world_um(layer)), [3 * factor, 2 * factor, factor, 1])
    np.testing.assert_allclose(to_world_um(layer)[:3, 3], np.multiply((5, 6, 7), factor))


def test_seconds_are_no_length():
    layer = Image(np.zeros(SHAPE), units=("s", "um", "um"), name="movie")
    with pytest.raises(InputError, match=r"'movie'.*'second'.*no length"):
        to_world_um(layer)


def test_scale_and_affine_of_a_layer_both_count():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = 1
    layer = Image(np.zeros(SHAPE), scale=(3, 2, 1), translate=(1, 0, 0), affine=affine)
    grid, to_frame = frame_of(layer)
    assert grid == Grid(SHAPE, (6.0, 4.0, 2.0), (3.0, 1.0, 1.0))
    np.testing.assert_array_equal(to_frame, np.eye(4))


def test_a_turned_first_layer_gives_the_voxels_of_the_fused_volume(rng):
    place = {"scale": (2, 1, 1), "rotate": (0, 0, 30), "translate": (4, 5, 6), "name": "askew"}
    first = Image(rng.random(SHAPE), **place)
    second = Image(rng.random(SHAPE), **place | {"name": "beside"})
    second.translate = np.add(
        first.translate, first.data_to_world((0, 0, 1)) - np.array(first.data_to_world((0, 0, 0)))
    )
    opened = open_layers([first, second], "first").views
    assert opened.grid == Grid(SHAPE, (2.0, 1.0, 1.0))
    assert opened.views[0].affine is None
    # The second lies one voxel further along the first one's x.
    values = opened.read(opened.grid.box)
    np.testing.assert_allclose(values[1][..., 1:], second.data[..., :-1], atol=1e-6)
    assert not opened.coverage(opened.grid.box)[1][..., 0].any()


def test_two_layers_of_one_file_are_told_apart_by_their_layer_names(views):
    first, _ = as_layers(view_layers(views, sample="fly"))
    second = Image(first.data, name="again", metadata=first.metadata, **same_place(first))
    assert open_layers([first, second]).views.names == ("fly view 0", "again")


def test_the_recipe_can_open_the_files_again_and_knows_which_views(views):
    inputs = Inputs(source="/data/fly", tag="fly").model_dump(mode="json")
    layers = as_layers(view_layers(views, sample="fly", inputs=inputs))
    found = Inputs(**open_layers(layers[1:]).inputs)
    told = Inputs(source="/data/fly", tag="fly", views=["90"], voxel_size_um=GRID.voxel_size_um, no_data="auto")
    assert found == told
    layers[0].translate = (0, 0, 0)
    assert open_layers(layers).inputs is None


def test_results_truths_and_flat_or_coloured_pictures_are_no_views(views):
    (truth,) = as_layers([truth_layer(views.views[0].data, GRID, sample="fly")])
    (fused,) = as_layers([volume_layer(views.views[0].data, GRID, name="fused", recipe={"format": "x"})])
    (plain,) = as_layers([volume_layer(views.views[0].data, GRID, name="plain", recipe=None)])
    assert not can_be_view(truth)
    assert not can_be_view(fused)
    assert fused.metadata[KEY]["recipe"] == {"format": "x"}
    assert can_be_view(plain)
    assert not can_be_view(Image(np.zeros((4, 5))))
    assert not can_be_view(Image(np.zeros((4, 5, 6, 3)), rgb=True))


def test_two_views_are_visible_in_colours_that_add_up_to_white(views):
    four = RegisteredViews([View(views.views[1].data, str(n)) for n in range(4)], GRID)
    layers = as_layers(view_layers(four, sample="fly"))
    assert [layer.visible for layer in layers] == [True, True, False, False]
    both = layers[0].colormap.map(1.0) + layers[1].colormap.map(1.0)
    np.testing.assert_allclose(np.ravel(both)[:3], 1, atol=0.01)
    assert {layer.contrast_limits[1] for layer in layers} == {layers[0].contrast_limits[1]}


class Counting:
    """An array that remembers what was read of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim, self.read = data, data.shape, data.dtype, 3, 0

    def __getitem__(self, index):
        part = self.data[index]
        self.read += part.size
        return part


def test_what_is_on_disk_is_read_when_it_is_shown_and_no_more(rng):
    stored = Counting(rng.random((64, 512, 512)).astype(np.float32))
    shown = lazy(stored)
    assert isinstance(shown, da.Array)
    assert stored.read == 0
    np.testing.assert_array_equal(shown[10].compute(), stored.data[10])
    np.testing.assert_array_equal(np.asarray(shown[5:9, 3:5, 7:11]), stored.data[5:9, 3:5, 7:11])
    assert stored.read < 6 * 512 * 512


def test_a_fused_region_of_lazy_layers_is_read_right(views):
    lazily = RegisteredViews([View(da.from_array(v.data, chunks=3), v.name) for v in views.views], GRID)
    box = Box((1, 2, 3), (5, 6, 7))
    back = open_layers(as_layers(view_layers(lazily, sample="fly"))).views
    np.testing.assert_array_equal(back.read(box), lazily.read(box))


def test_axes_of_length_one_before_z_do_not_matter(rng):
    pixels = rng.random((2, *SHAPE), np.float32)
    flat, deep = Image(pixels[0], name="a"), Image(pixels[1][None], name="b")
    for layers in ([flat, deep], [deep, flat]):
        opened = open_layers(layers)
        read = opened.at(opened.indices[0]).read(opened.views.grid.box)
        assert np.array_equal(read, [pixels["ab".index(layer.name)] for layer in layers])
        assert len(opened.indices) == 1
    series = Image(np.stack([pixels, pixels]), name="c")
    with pytest.raises(InputError, match="need the same time points and channels"):
        open_layers([flat, series])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_of_two_equal_layers_without_a_size_is_refused_until_it_has_one(rng, order):
    sized = Image(rng.random(SHAPE), name="sized", scale=(5, 1, 1), units="um")
    bare = Image(rng.random(SHAPE), name="bare")
    layers = [(sized, bare)[i] for i in order]
    with pytest.raises(InputError, match="'bare' states no voxel size, but 'sized', which has as many voxels, does"):
        open_layers(layers)
    (problem,) = grid_problems(layers[1], layers)
    assert problem.kind == "error"
    assert [fix.label for fix in problem.fixes] == ["Same voxels"]
    bare.scale, bare.units = sized.scale, sized.units
    assert grid_problems(layers[1], layers) == []
    assert open_layers(layers).views.grid.voxel_size_um == (5, 1, 1)


def test_views_of_other_types_have_contrast_of_their_own(rng):
    deep = rng.integers(0, 60000, (4, 8, 8)).astype(np.uint16)
    flat = rng.integers(0, 200, (4, 8, 8)).astype(np.uint8)
    views = RegisteredViews([View(deep, "0"), View(deep // 2, "90"), View(flat, "180")])
    first, second, third = (look["contrast_limits"] for _, look, _ in view_layers(views, sample="s"))
    assert first == second
    assert third[1] <= 255
    assert first[1] > 10_000
