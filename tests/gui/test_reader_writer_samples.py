"""The hooks of the manifest, called by napari itself: reader, writers, sample data."""

import shutil

import numpy as np
import pytest
import tifffile
from app_model.expressions import parse_expression
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import read, write

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.gui.entrances import embryo, nuclei
from napari_mvfusion.gui.layers.notes import KEY, can_be_view
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.gui.writer import write_ome_tiff, write_ome_zarr
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe
from napari_mvfusion.io.streaming import LeadingAxis
from tiff_parts import SHAPE, ome_xml

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def viewer():
    return ViewerModel()


def test_a_folder_opens_with_psfs_and_voxel_size_and_its_first_sample_visible(viewer, views_folder, small_views):
    layers = viewer.open(views_folder, plugin="napari-mvfusion")
    assert [(layer.name, layer.visible) for layer in layers] == [
        ("a view 0", True),
        ("a view 180", True),
        ("a ground truth", False),
        ("b view 0", False),
        ("b view 180", False),
    ]
    for layer, view in zip(layers, small_views.views.views, strict=False):
        np.testing.assert_array_equal(np.asarray(layer.data), view.data)
        np.testing.assert_allclose(layer.scale, 0.5)
        np.testing.assert_allclose(layer.translate, (1, 2, 3))
        assert layer.axis_labels == ("z", "y", "x")
        np.testing.assert_allclose(layer.metadata[KEY]["psf"].sum(), 1, atol=1e-5)
        assert not isinstance(layer.data, np.ndarray), "pixels are read when they are shown"
    assert [can_be_view(layer) for layer in layers] == [True, True, False, True, True]


def test_layers_of_a_folder_are_the_views_of_the_core_and_say_how_to_open_them(viewer, views_folder):
    layers = viewer.open(views_folder, plugin="napari-mvfusion")
    opened = open_layers(layers[3:])
    core = open_views(views_folder, tag="b")
    assert opened.views.names == core.names
    assert opened.views.grid == core.grid
    np.testing.assert_array_equal(opened.views.read(core.grid.box), core.read(core.grid.box))
    assert opened.inputs["tag"] == "b"


def test_an_ome_zarr_of_views_opens_with_its_psfs(viewer, tmp_path, small_views):
    write_views_zarr(tmp_path / "worm.zarr", small_views.views, truth=small_views.truth)
    layers = viewer.open(tmp_path / "worm.zarr", plugin="napari-mvfusion")
    assert [layer.name for layer in layers] == ["worm view 0", "worm view 180", "worm ground truth"]
    np.testing.assert_array_equal(layers[1].metadata[KEY]["psf"], small_views.views.views[1].psf)
    np.testing.assert_array_equal(np.asarray(layers[1].data), small_views.views.views[1].data)


def test_channels_of_an_ome_zarr_keep_their_times(viewer, tmp_path, rng):
    pixels = rng.integers(0, 99, (2, 3, 4, 5, 6)).astype(np.uint16)
    axes = [LeadingAxis("t", 2, 30.0), LeadingAxis("c", 3, 1.0)]
    write_zarr(tmp_path / "movie.zarr", pixels, Grid((4, 5, 6)), leading=axes)
    layers = viewer.open(tmp_path / "movie.zarr", plugin="napari-mvfusion")
    assert len(layers) == 3
    for number, layer in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(layer.data), pixels[:, number])
        assert layer.scale[0] == 30.0


def test_views_of_multiview_stitcher_and_in_zips_open(viewer, tmp_path, test_data, small_views):
    (layer,) = viewer.open(test_data / "projects/multiview-stitcher/view0_msim.zarr", plugin="napari-mvfusion")
    assert (layer.data.shape, tuple(layer.scale)) == ((32, 40, 48), (2.0, 0.5, 0.5))
    write_views_zarr(tmp_path / "worm.zarr", small_views.views)
    shutil.make_archive(str(tmp_path / "worm.zarr"), "zip", tmp_path / "worm.zarr")
    layers = viewer.open(tmp_path / "worm.zarr.zip", plugin="napari-mvfusion")
    assert [layer.name for layer in layers] == [f"worm view {name}" for name in small_views.views.names]


def test_a_fused_ome_zarr_opens_as_one_volume_with_all_levels_and_its_recipe(viewer, tmp_path, rng, small_views):
    volume = rng.random((40, 130, 70)).astype(np.float32)
    grid = type(small_views.views.grid)(volume.shape, (2.0, 1.0, 1.0))
    write_zarr(tmp_path / "fused.zarr", volume, grid, recipe={"format": "mvfusion-recipe"})
    (layer,) = viewer.open(tmp_path / "fused.zarr", plugin="napari-mvfusion")
    assert layer.multiscale
    assert layer.data[0].shape == volume.shape
    assert layer.data[-1].shape[1] < volume.shape[1]
    np.testing.assert_array_equal(np.asarray(layer.data[0]), volume)
    np.testing.assert_allclose(layer.scale, (2, 1, 1))
    assert layer.metadata[KEY] == {"role": "fused", "recipe": {"format": "mvfusion-recipe"}}


def test_only_what_can_be_read_is_claimed(tmp_path, views_folder, rng):
    assert get_reader(str(views_folder)) is not None
    assert get_reader([str(views_folder)]) is not None
    assert get_reader([str(views_folder), str(views_folder)]) is None
    assert get_reader(str(tmp_path / "missing")) is None
    (tmp_path / "photos").mkdir()
    tifffile.imwrite(tmp_path / "photos" / "holiday.tif", rng.random((4, 5)), photometric="minisblack")
    tifffile.imwrite(tmp_path / "photos" / "psf_0.tif", rng.random((3, 3, 3)), photometric="minisblack")
    assert get_reader(str(tmp_path / "photos")) is None
    assert get_reader(str(tmp_path / "photos" / "holiday.tif")) is None
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    assert get_reader(str(tmp_path / "broken.zarr")) is None


def test_a_damaged_sample_does_not_hide_the_others(viewer, views_folder):
    damaged = views_folder / "b_view_180.tif"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    said = []
    notification_manager.notification_ready.connect(said.append)
    layers = viewer.open(views_folder, plugin="napari-mvfusion")
    notification_manager.notification_ready.disconnect(said.append)
    assert "b_view_180.tif" in said[0].message
    assert [layer.name for layer in layers] == ["a view 0", "a view 180", "a ground truth"]


@pytest.mark.parametrize("name", ["saved.tif", "saved.ome.tif", "saved.zarr"])
def test_a_layer_is_saved_with_its_place_and_recipe(viewer, tmp_path, rng, name):
    volume = rng.random((9, 10, 11)).astype(np.float32)
    layer = viewer.add_image(
        volume,
        scale=(2, 0.5, 0.5),
        translate=(3, 2, 1),
        units="um",
        metadata={KEY: {"role": "fused", "recipe": {"format": "mvfusion-recipe"}}},
    )
    assert layer.save(str(tmp_path / name), plugin="napari-mvfusion") == [str(tmp_path / name)]
    data, grid = open_volume(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(data[:]), volume)
    assert grid.voxel_size_um == pytest.approx((2, 0.5, 0.5))
    assert grid.origin_um == pytest.approx((3, 2, 1))
    assert read_recipe(tmp_path / name) == {"format": "mvfusion-recipe"}


def test_pictures_and_colours_are_left_to_napari_whichever_writer_it_asks(tmp_path, rng):
    colours, flat = rng.integers(0, 255, (8, 9, 3)).astype(np.uint8), rng.integers(0, 255, (8, 9)).astype(np.uint8)
    for name, pixels, meta in (("colours.tif", colours, {"rgb": True}), ("flat.tiff", flat, {})):
        assert write_ome_tiff(str(tmp_path / name), pixels, meta) == [str(tmp_path / name)]
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), pixels)
    with pytest.raises(ValueError, match="is no volume"):
        write_ome_tiff(str(tmp_path / "flat.ome.tif"), flat, {})


def test_saving_never_replaces_a_folder(viewer, tmp_path, rng):
    layer = viewer.add_image(rng.random((4, 5, 6)))
    (tmp_path / "old.zarr").mkdir()
    with pytest.raises(OSError, match=r"old\.zarr exists already"):
        write(str(tmp_path / "old.zarr"), [layer.as_layer_data_tuple()], plugin_name="napari-mvfusion")


@pytest.mark.parametrize(
    ("key", "make", "angles"), [("embryo", embryo, (0, 90, 180, 270)), ("nuclei", nuclei, (0, 180))]
)
def test_samples_open_ready_to_be_fused(viewer, key, make, angles):
    layers = viewer.open_sample("napari-mvfusion", key)
    views = [layer for layer in layers if can_be_view(layer)]
    assert tuple(layer.metadata[KEY]["angle"] for layer in views) == angles
    assert layers[-1].metadata[KEY]["role"] == "truth"
    opened = open_layers(views).views
    assert all(view.psf is not None for view in opened.views)
    assert make()[0][0] is views[0].data, "made once a session"
    assert [str(unit) for unit in layers[0].units] == ["micrometer"] * 3


def test_the_reader_hook_agrees_with_npe2(views_folder):
    assert len(read([str(views_folder)], stack=False, plugin_name="napari-mvfusion")) == 5


@pytest.mark.parametrize("ending", [".zarr", ".ome.tif"])
def test_a_series_is_saved_with_its_steps_and_recipe(viewer, tmp_path, rng, ending):
    data = rng.random((2, 3, 8, 70, 9), np.float32)
    look = {"scale": (0.5, 1, 3, 2, 1), "translate": (0, 0, 5, 6, 7), "axis_labels": ("t", "c", "z", "y", "x")}
    layer = viewer.add_image(
        data, **look, units=("min", "pixel", "um", "um", "um"), metadata={KEY: {"role": "fused", "recipe": {"a": 1}}}
    )
    path = tmp_path / f"movie{ending}"
    assert viewer.layers.save(str(path), plugin="napari-mvfusion") == [str(path)]
    if ending != ".zarr":
        with tifffile.TiffFile(path) as tiff:
            assert tiff.series[0].axes == "TCZYX"
            np.testing.assert_array_equal(tiff.asarray(), data)
            assert 'TimeIncrement="30.0"' in tiff.ome_metadata
        return
    (back,) = viewer.open(path, plugin="napari-mvfusion")
    np.testing.assert_array_equal(back.data[0], data)
    assert back.axis_labels == layer.axis_labels
    np.testing.assert_allclose(back.scale, (30, 1, 3, 2, 1))
    np.testing.assert_allclose(back.translate, layer.translate)
    assert [str(unit) for unit in back.units] == ["second", "pixel", *["micrometer"] * 3]
    assert back.metadata[KEY] == {"role": "fused", "recipe": {"a": 1}}
    np.testing.assert_allclose(np.asarray(back.data[1])[1, 2, :, 0], data[1, 2, :, :2].mean(axis=1), rtol=1e-5)


def test_a_turned_layer_is_saved_as_it_is_and_the_user_is_told(viewer, tmp_path, rng):
    layer = viewer.add_image(rng.random((4, 5, 6)), rotate=30, scale=(2, 1, 1))
    said = []
    notification_manager.notification_ready.connect(said.append)
    viewer.layers.save(str(tmp_path / "turned.zarr"), plugin="napari-mvfusion")
    notification_manager.notification_ready.disconnect(said.append)
    assert "turned or sheared, which the file cannot say" in said[0].message
    (back,) = viewer.open(tmp_path / "turned.zarr", plugin="napari-mvfusion")
    np.testing.assert_array_equal(back.data, layer.data)
    np.testing.assert_allclose(back.scale, (2, 1, 1))


@pytest.mark.parametrize("leading", [(), (3,)])
def test_an_ome_tiff_comes_back_with_scale_units_and_recipe(viewer, tmp_path, rng, leading):
    pixels = rng.random((*leading, 5, 6, 7), np.float32)
    names = ("t", "z", "y", "x")[-pixels.ndim :]
    layer = viewer.add_image(
        pixels,
        name="fused",
        scale=(30.0, 2.0, 0.5, 0.25)[-pixels.ndim :],
        translate=(0.0, 1.0, 2.0, 3.0)[-pixels.ndim :],
        units=("s", "um", "um", "um")[-pixels.ndim :],
        axis_labels=names,
        metadata={KEY: {"role": "fused", "recipe": {"format": "mvfusion-recipe"}}},
    )
    path = str(tmp_path / "result.ome.tif")
    assert write(path, [layer.as_layer_data_tuple()], plugin_name="napari-mvfusion") == [path]
    (back,) = viewer.open(path, plugin="napari-mvfusion")
    assert back.name == "result"
    assert np.array_equal(np.asarray(back.data), pixels)
    np.testing.assert_allclose(back.scale, layer.scale)
    np.testing.assert_allclose(back.translate, layer.translate)
    assert (back.units, back.axis_labels) == (layer.units, layer.axis_labels)
    assert back.metadata[KEY] == layer.metadata[KEY]


def test_a_tiff_of_times_and_channels_opens_as_one_layer_and_without_a_size_in_pixels(viewer, tmp_path, rng):
    pixels = rng.integers(0, 9, (2, 4, 3, 6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "s.ome.tif", pixels, metadata={"axes": "TZCYX"}, photometric="minisblack")
    (layer,) = viewer.open(tmp_path / "s.ome.tif", plugin="napari-mvfusion")
    assert np.array_equal(np.asarray(layer.data), pixels.transpose(0, 2, 1, 3, 4))
    assert layer.axis_labels == ("t", "c", "z", "y", "x")
    assert {str(unit) for unit in layer.units[-3:]} == {"pixel"}


@pytest.mark.parametrize(
    ("dtype", "kept"), [(np.int64, "float64"), (np.float16, "float32"), (bool, "uint8"), ("i4", "int32")]
)
def test_pixels_that_ome_does_not_know_are_saved_as_the_next_type(viewer, tmp_path, rng, dtype, kept):
    pixels = rng.integers(0, 2, (3, 4, 5)).astype(dtype)
    layer = viewer.add_image(pixels)
    write(str(tmp_path / "a.ome.tif"), [layer.as_layer_data_tuple()], plugin_name="napari-mvfusion")
    back = tifffile.imread(tmp_path / "a.ome.tif")
    assert back.dtype == kept
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize("ending", [".ome.tif", ".zarr"])
def test_positions_and_times_together_are_refused_in_words(viewer, tmp_path, rng, ending):
    layer = viewer.add_image(rng.random((2, 2, 3, 4, 5)), axis_labels=("position", "t", "z", "y", "x"))
    with pytest.raises(InputError, match="save one position alone"):
        write(str(tmp_path / f"a{ending}"), [layer.as_layer_data_tuple()], plugin_name="napari-mvfusion")
    assert not [path for path in tmp_path.iterdir() if "a." in path.name]


def test_a_name_without_an_ending_gets_one(viewer, tmp_path, rng):
    layer = viewer.add_image(rng.random((3, 4, 5), np.float32))
    data, meta, _ = layer.as_layer_data_tuple()
    assert write_ome_tiff(str(tmp_path / "a"), data, meta) == [str(tmp_path / "a.ome.tif")]
    assert write_ome_zarr(str(tmp_path / "a"), data, meta) == [str(tmp_path / "a.zarr")]
    with pytest.raises(OutputError, match=r"a\.ome\.tif exists already"):
        write_ome_tiff(str(tmp_path / "a"), data, meta)


def test_a_folder_of_booleans_opens(viewer, tmp_path, rng):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"view_{angle}.tif", rng.random((4, 5, 6)) > 0.5, photometric="minisblack")
    layers = viewer.open(tmp_path, plugin="napari-mvfusion")
    assert [layer.contrast_limits for layer in layers] == [[0, 1], [0, 1]]


def test_what_looks_like_a_view_and_is_not_taken_is_shown(viewer, tmp_path, rng):
    for name in ("view_0.tif", "view_90.tif", "view180.tif"):
        tifffile.imwrite(tmp_path / name, rng.random((4, 5, 6), np.float32), photometric="minisblack")
    notification_manager.records.clear()
    assert len(viewer.open(tmp_path, plugin="napari-mvfusion")) == 2
    assert any("view180.tif is left out" in record.message for record in notification_manager.records)


def test_the_command_palette_offers_only_what_works_without_arguments(npe2pm, plugin):
    """Readers and writers are commands too, but napari calls what its palette offers with nothing."""
    (manifest,) = npe2pm.iter_manifests()
    found = manifest.contributions
    with_arguments = {one.command for one in (*found.readers, *found.writers)}
    assert with_arguments
    for command in found.commands:
        offered = command.enablement is None or parse_expression(command.enablement).eval({})
        assert offered == (command.id not in with_arguments), command.title


def test_the_companion_of_a_set_opens_as_its_images(viewer, tmp_path, rng):
    volume = rng.integers(0, 60000, SHAPE).astype(np.uint16)
    xml = ome_xml([[("a.ome.tif", 0, 6)], [("b.ome.tif", 0, 6)]])
    (tmp_path / "fish.companion.ome").write_text(xml)
    for number, name in enumerate(("a.ome.tif", "b.ome.tif")):
        tifffile.imwrite(tmp_path / name, volume + number, metadata=None, photometric="minisblack")
    layers = viewer.open(tmp_path / "fish.companion.ome", plugin="napari-mvfusion")
    for number, layer in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(layer.data), volume + number)
        np.testing.assert_allclose(layer.scale, (1 + number, 0.5, 0.5))
