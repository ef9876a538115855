"""Layers that other plugins made: taken with scale, units, translation, affine, levels and time, or refused in words."""

import json

import numpy as np
import pytest
from multiview_stitcher import msi_utils, param_utils, spatial_image_utils
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QLabel
from views_person import in_front_of_the_views

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.layers.conversion import to_world_um
from napari_mvfusion.gui.layers.notes import KEY, annotate, can_be_view
from napari_mvfusion.gui.layers.opened import choose_voxels, open_layers
from napari_mvfusion.gui.panels.views.grids import resampled
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.psf import resample_psf

pytestmark = pytest.mark.usefixtures("plugin")


def stitcher_layer(msim, key, number):
    """A layer of a channel as napari-stitcher 0.1.4 makes it: levels of xarray, and beside them the affines of all times."""
    msim = msi_utils.multiscale_sel_coords(msim, {"c": msi_utils.get_sim_from_msim(msim).coords["c"][0]})
    sim = msi_utils.get_sim_from_msim(msim)
    spacing, origin = (
        of(sim) for of in (spatial_image_utils.get_spacing_from_sim, spatial_image_utils.get_origin_from_sim)
    )
    affines = msi_utils.get_transform_from_msim(msim, transform_key=key)
    first = affines.sel(t=sim.coords["t"][0]) if "t" in affines.dims else affines
    return Image(
        [sim],
        multiscale=True,
        name=f"tile_{number:03} :: 0",
        scale=[spacing[axis] for axis in "zyx"],
        translate=[origin[axis] for axis in "zyx"],
        affine=np.asarray(first),
        metadata={"full_affine_transform": affines},
    )


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_layers_of_napari_stitcher_fuse_where_they_were_registered(test_data):
    folder = test_data / "projects/multiview-stitcher"
    if not folder.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    read = msi_utils.multiscale_spatial_image_from_zarr
    layers = [stitcher_layer(read(folder / f"view{n}_msim.zarr"), "affine_registered", n) for n in (0, 1)]
    expected = json.loads((folder.parent / "expected.json").read_text())
    (known,) = (e for e in expected if e["project"] == "multiview-stitcher/view1_msim.zarr")
    opened = open_layers(layers)
    assert opened.leading == (1,)
    views = opened.at((0,))
    assert views.grid.voxel_size_um == (0.5, 0.5, 0.5)
    pixels = views.read(views.grid.box)
    for point in known["points"]:
        world = np.array(point["world_zyx_um"])
        np.testing.assert_allclose(to_world_um(layers[1])[:3] @ (*point["zyx"], 1), world)
        place = (world - views.grid.origin_um) / views.grid.voxel_size_um
        assert pixels[1][tuple(place.round().astype(int))] == point["value"]
    np.testing.assert_allclose(opened.frame.layer.data_to_world((0, 0, 0, 0))[1:], views.grid.origin_um)


def drifting(rng):
    """Two tiles over three time points, of which one drifts by a voxel a time point."""
    pixels = rng.random((3, 6, 8, 9)).astype(np.float32)
    layers = []
    for number, drift in enumerate((0.0, 2.0)):
        sim = spatial_image_utils.get_sim_from_array(
            pixels,
            dims=["t", "z", "y", "x"],
            scale={"z": 2.0, "y": 2.0, "x": 2.0},
            translation=dict.fromkeys("zyx", 0.0),
        )
        matrices = np.tile(np.eye(4), (3, 1, 1))
        matrices[:, 0, 3] = drift * np.arange(3)
        key = "affine_registered"
        spatial_image_utils.set_sim_affine(sim, param_utils.affine_to_xaffine(matrices[0], t_coords=range(3)), key)
        affines = param_utils.affine_to_xaffine(np.eye(4), t_coords=range(3)).copy(data=matrices)
        layer = stitcher_layer(msi_utils.get_msim_from_sim(sim, scale_factors=[]), key, number)
        layer.metadata = {"full_affine_transform": affines}
        layers.append(layer)
    return layers, pixels


def test_a_tile_that_drifts_is_fused_where_it_is_at_each_time_point(rng):
    layers, pixels = drifting(rng)
    opened = open_layers(layers)
    assert opened.views.grid == Grid((8, 8, 9), (2, 2, 2))
    for time in range(3):
        views = opened.at((time,))
        still, moved = views.read(views.grid.box)
        np.testing.assert_allclose(still[:6], pixels[time], rtol=1e-5)
        np.testing.assert_allclose(moved[time : time + 6], pixels[time], rtol=1e-5)
        assert views.coverage(views.grid.box)[1].sum() == pixels[0].size
    views_at_one = opened.at((1,)).views[1]
    # The plugin moves the layer with the slider, which changes nothing.
    layers[1].affine = np.asarray(layers[1].metadata["full_affine_transform"][2])
    np.testing.assert_allclose(open_layers(layers).at((1,)).views[1].affine, views_at_one.affine)


def test_a_copy_of_a_series_has_all_its_time_points(rng):
    layers, pixels = drifting(rng)
    copy = Image(*[resampled(layers[1], layers)[0]])
    assert copy.data.shape == (3, 8, 8, 9)
    for time in range(3):
        np.testing.assert_allclose(np.asarray(copy.data[time, time : time + 6]), pixels[time], rtol=1e-5)


def test_layers_in_nm_with_levels_and_an_affine_lie_in_micrometres(rng):
    pixels = rng.random((4, 6, 8), np.float32)
    shift = np.eye(4)
    shift[0, 3] = 3000
    layer = Image(
        [pixels, pixels[:, ::2, ::2]], multiscale=True, scale=(2000, 500, 250), affine=shift, units=("nm", "nm", "nm")
    )
    beside = Image(pixels, scale=(2000, 500, 250), units="nm", name="beside")
    opened = open_layers([layer, beside])
    assert opened.views.grid == Grid((37, 11, 8), (0.25, 0.25, 0.25), (0, 0, 0))
    np.testing.assert_allclose(
        opened.views.views[0].affine, [[2, 0, 0, 3], [0, 0.5, 0, 0], [0, 0, 0.25, 0], [0, 0, 0, 1]]
    )
    np.testing.assert_allclose(opened.frame.layer.scale, (250, 250, 250))
    assert [str(unit) for unit in opened.frame.layer.units] == ["nanometer"] * 3


@pytest.mark.parametrize("voxels", ["first", "isotropic", (1.0, 1.0, 1.0)])
def test_a_result_lies_on_the_voxels_that_were_chosen(rng, voxels):
    pixels = rng.random((6, 8, 8), np.float32)
    first = Image(pixels, scale=(2, 0.5, 0.5), translate=(1, 2, 3))
    second = Image(pixels, scale=(2, 0.5, 0.5), translate=(3, 2, 3), name="second")
    choose_voxels([first, second], voxels)
    frame = open_layers([first, second]).frame
    size = {"first": (2, 0.5, 0.5), "isotropic": (0.5, 0.5, 0.5)}.get(voxels, voxels)
    assert frame.grid.voxel_size_um == size
    np.testing.assert_allclose(to_world_um(frame.layer), frame.grid.affine)


def test_a_psf_follows_the_choice_of_voxels_and_comes_back(rng):
    psf = rng.random((5, 7, 9)).astype(np.float32)
    psf /= psf.sum()
    pixels = rng.random((6, 8, 8), np.float32)
    layers = [Image(pixels, scale=(1, 0.5, 0.5), units="um", name=name) for name in "ab"]
    annotate(layers[0], psf=psf)
    choose_voxels(layers, (0.5, 0.5, 0.5))
    found = open_layers(layers).views
    assert found.grid == Grid((11, 8, 8), (0.5, 0.5, 0.5))
    np.testing.assert_allclose(found.views[0].psf, resample_psf(psf, np.diag([2.0, 1, 1])), atol=1e-6)
    choose_voxels(layers, "isotropic")
    assert open_layers(layers).views.views[0].psf is psf


def test_what_is_no_volume_is_refused_in_words(model, qtbot, rng):
    person = in_front_of_the_views(model, qtbot)
    model.add_labels(np.zeros((4, 5, 6), int), name="cells")
    model.add_image(rng.random((4, 5, 6, 3)), rgb=True, name="photo")
    model.add_image(rng.random((5, 6)), name="plane")
    person.settle()
    said = person.panel.findChild(QLabel, "empty").text()
    for words in (
        "'cells' holds labels, and no brightness.",
        "'photo' is in colours: split them first (right-click the layer, Split RGB).",
        "'plane' is flat: a view is a volume (z, y, x).",
    ):
        assert words in said


def test_a_layer_without_a_size_stays_without_one(rng):
    layers = [Image(rng.random((4, 5, 6)), name=name) for name in "ab"]
    layers[1].translate = (2, 0, 0)
    frame = open_layers(layers).frame
    assert frame.grid == Grid((6, 5, 6), known=(False, False, False))
    assert not any(frame.grid.known)
    assert not any(
        open_layers([Image(frame.layer.data, **frame.place, metadata=frame.layer.metadata)]).views.grid.known
    )
    assert KEY in frame.layer.metadata


@pytest.fixture
def model():
    return ViewerModel()


def test_the_zarrs_of_multiview_stitcher_open_as_layers_where_they_were_registered(test_data):
    folder = test_data / "projects/multiview-stitcher"
    if not folder.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    viewer = ViewerModel()
    for number in (0, 1):
        viewer.open(folder / f"view{number}_msim.zarr", plugin="napari-mvfusion")
    views = open_layers(list(viewer.layers)).views
    assert views.grid == open_views([folder / f"view{number}_msim.zarr" for number in (0, 1)]).grid
    np.testing.assert_allclose(views.views[1].affine[:3] @ (5, 7, 11, 1), (46.5, 25.0, 43.0))
    viewer.layers.clear()
    viewer.open(folder, plugin="napari-mvfusion")
    again = open_layers([layer for layer in viewer.layers if can_be_view(layer)])
    assert again.views.grid == views.grid
    assert Inputs(**again.inputs).open().grid == views.grid
