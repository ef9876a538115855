"""Writers: exact round trips, metadata that others can read, and nothing lost when writing fails."""

import json
import subprocess

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import zarr
from ngff_zarr import from_ngff_zarr
from ome_types import from_tiff

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.formats import open_stored, write_volume, writer_of, writers
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import create_zarr, finish_zarr, write_zarr
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import Average

SHAPE = (70, 90, 130)
GRID = Grid(SHAPE, (2.0, 0.5, 0.25), (10.0, -20.0, 30.0))
ENDINGS = [known.suffixes[0] for known in writers()]
RECIPE = {"format": "mvfusion-recipe", "method": {"name": "ebmd"}, "text": 'µ <&> "quotes"'}


@pytest.fixture
def volume(rng):
    return rng.normal(0, 100, SHAPE).astype(np.float32)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, ending):
    (tmp_path / "avg.h5").write_bytes(b"kept")
    for out in (tmp_path / f"avg.h5/x{ending}", tmp_path / f"avg.h5/y/x{ending}"):
        with pytest.raises(OutputError, match=r"avg\.h5 is a file, in which no other file can lie: choose another"):
            write_volume(out, np.zeros((4, 5, 6), np.float32), Grid((4, 5, 6)))
    assert (tmp_path / "avg.h5").read_bytes() == b"kept"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["float32", "uint16", "float64"])
def test_pixels_grid_and_recipe_come_back_exactly(tmp_path, rng, ending, name):
    data = (rng.random(SHAPE) * 60000).astype(name)
    path = tmp_path / f"v{ending}"
    write_volume(path, data, GRID, recipe=RECIPE)
    back, grid = open_volume(path)
    assert back.dtype == data.dtype
    assert (np.asarray(back[:]) == data).all()
    assert grid == GRID
    assert read_recipe(path) == RECIPE
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "no partial files stay behind"


@pytest.mark.parametrize("ending", ENDINGS)
def test_lazy_volumes_are_written_too(tmp_path, volume, ending):
    path = tmp_path / f"v{ending}"
    write_volume(path, da.from_array(volume, chunks=33), GRID)
    assert (np.asarray(open_volume(path)[0][:]) == volume).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_series_keeps_its_axes_and_the_time_between_its_volumes(tmp_path, rng, ending):
    shape = (2, 3, 5, 6, 7)
    values = rng.integers(0, 9, shape).astype(np.uint16)
    axes = [LeadingAxis("t", 2, 1.5), LeadingAxis("c", 3)]
    write_volume(tmp_path / f"v{ending}", values, Grid(shape[2:], (2.0, 1.0, 0.5)), leading=axes)
    stored = open_stored(tmp_path / f"v{ending}")
    assert (dict(stored.leading), stored.time_step) == ({"t": 2, "c": 3}, 1.5)
    np.testing.assert_array_equal(stored.volume(1, 2)[:], values[1, 2])


def test_pixels_that_are_all_alike_are_opened_again_however_well_they_are_compressed(tmp_path, monkeypatch):
    """Readers refuse files that promise far more than they hold."""
    monkeypatch.setattr("napari_mvfusion.io.hdf5.reader._SMALL", 2**20)
    shape = (128, 128, 128)
    write_volume(tmp_path / "v.h5", np.zeros(shape, np.float32), Grid(shape))
    assert (tmp_path / "v.h5").stat().st_size < 2**23 / 100
    assert (open_volume(tmp_path / "v.h5")[0][100:102] == 0).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_types_that_a_format_has_not_are_kept_as_said_or_refused(tmp_path, ending):
    known = writer_of(f"v{ending}")
    for name in ("bool", "int8", "uint64", "float16", "float32"):
        values = np.arange(24).reshape(2, 3, 4).astype(name)
        write_volume(tmp_path / f"{name}{ending}", values, Grid((2, 3, 4)))
        back = open_volume(tmp_path / f"{name}{ending}")[0]
        assert back.dtype == known.kept_as(name)
        np.testing.assert_array_equal(np.asarray(back[:]), values)
    with pytest.raises(OutputError, match="real numbers are needed"):
        write_volume(tmp_path / f"v{ending}", np.zeros((2, 3, 4), np.complex64), Grid((2, 3, 4)))


def test_an_hdf5_file_is_read_by_another_program_with_its_voxel_size_and_recipe(tmp_path, volume):
    """Oracle: h5py, and the attribute that Fiji, ilastik and BigDataViewer read."""
    write_volume(f"{tmp_path}/v.h5:/left/pixels", volume, GRID, recipe=RECIPE)
    with h5py.File(tmp_path / "v.h5") as file:
        dataset = file["left/pixels"]
        np.testing.assert_array_equal(dataset[:], volume)
        assert tuple(dataset.attrs["element_size_um"]) == GRID.voxel_size_um
        assert [dimension.label for dimension in dataset.dims] == ["z", "y", "x"]
        assert dataset.chunks == (64, 64, 64)
        assert json.loads(file["left/pixels.recipe.json"][()]) == RECIPE
    assert open_volume(tmp_path / "v.h5")[1] == GRID, "the only dataset need not be named"


def test_a_recipe_of_any_length_fits_into_an_hdf5_file_and_a_damaged_one_is_said(tmp_path, volume):
    long = {"views": ["x" * 1000] * 200}
    write_volume(tmp_path / "v.h5", volume, GRID, recipe=long)
    assert read_recipe(tmp_path / "v.h5") == long
    with h5py.File(tmp_path / "v.h5", "a") as file:
        del file["volume.recipe.json"]
        file["volume.recipe.json"] = np.bytes_(b'{"views": [')
    with pytest.raises(InputError, match=r"v\.h5 cannot be read as an HDF5 file"):
        read_recipe(tmp_path / "v.h5")


def test_an_hdf5_file_is_not_replaced_for_one_dataset_where_it_holds_others(tmp_path, volume):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["mine"], file["left"] = volume, volume
    with pytest.raises(OutputError, match=r"also holds /mine.*choose another one"):
        write_volume(f"{tmp_path}/v.h5:/left", volume, GRID, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        write_volume(f"{tmp_path}/v.h5:/right", volume, GRID)
    with h5py.File(tmp_path / "v.h5") as file:
        assert sorted(file) == ["left", "mine"]


def test_the_ome_tiff_is_what_the_standard_says(tmp_path, volume):
    write_tiff(tmp_path / "v.ome.tif", volume, GRID, recipe=RECIPE)
    with tifffile.TiffFile(tmp_path / "v.ome.tif") as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "ZYX"
        assert tiff.series[0].shape == SHAPE
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == (2.0, 0.5, 0.25)
    assert pixels["PhysicalSizeZUnit"] == "µm"


def test_other_programs_read_where_every_plane_of_an_ome_tiff_lies(tmp_path, volume):
    """Oracle: ome-types, which checks the file against the schema."""
    grid = Grid((3, 90, 131), (2.0, 0.5, 0.25), (10.1, -20.0, 30.0))
    leading = (LeadingAxis("t", 2, 1.5), LeadingAxis("c", 2))
    write_tiff(tmp_path / "v.ome.tif", np.broadcast_to(volume[:3, :, :1], (2, 2, *grid.shape)), grid, leading=leading)
    (image,) = from_tiff(tmp_path / "v.ome.tif").images
    planes = image.pixels.planes
    assert len({(plane.the_t, plane.the_c, plane.the_z) for plane in planes}) == 2 * 2 * 3
    for plane in planes:
        stated = (plane.position_z, plane.position_y, plane.position_x)
        assert stated == pytest.approx((10.1 + 2 * plane.the_z, -20, 30), rel=1e-12)
        assert {plane.position_z_unit.value, plane.position_y_unit.value, plane.position_x_unit.value} == {"µm"}
    assert open_volume(tmp_path / "v.ome.tif", timepoint=1, channel=1)[1] == grid


def test_an_ome_tiff_states_no_place_along_an_axis_whose_voxel_size_is_not_known(tmp_path, volume):
    grid = Grid(SHAPE, (2.0, 0.5, 0.25), (10.0, -20.0, 30.0), known=(False, True, True))
    write_tiff(tmp_path / "v.ome.tif", volume, grid)
    plane = from_tiff(tmp_path / "v.ome.tif").images[0].pixels.planes[1]
    assert (plane.position_z, plane.position_y, plane.position_x) == (None, -20.0, 30.0)
    assert open_stored(tmp_path / "v.ome.tif").origin_um == grid.origin_um


def test_the_ome_zarr_is_read_by_another_program_with_its_scales(tmp_path, volume):
    """Oracle: ngff-zarr reads the levels and where they lie."""
    write_zarr(tmp_path / "v.zarr", volume, GRID)
    image = from_ngff_zarr(str(tmp_path / "v.zarr"), validate=False)
    first, second = image.images[0], image.images[1]
    assert (np.asarray(first.data) == volume).all()
    assert first.scale == {"z": 2.0, "y": 0.5, "x": 0.25}
    assert first.translation == {"z": 10.0, "y": -20.0, "x": 30.0}
    assert first.axes_units == {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
    assert second.scale == {"z": 4.0, "y": 1.0, "x": 0.5}
    assert second.translation == {"z": 11.0, "y": -19.75, "x": 30.125}


def test_coarse_levels_are_means_of_the_voxels_they_cover(tmp_path, volume):
    write_zarr(tmp_path / "v.zarr", volume, GRID)
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="r")
    expected = volume.astype(np.float64).reshape(35, 2, 45, 2, 65, 2).mean(axis=(1, 3, 5))
    assert group["1"].shape == expected.shape
    assert np.abs(group["1"][:] - expected).max() < 1e-4
    # 65 is odd: its last coarse voxel is the mean of what there is.
    last = expected[:, :, 64:].mean(axis=2)
    assert group["2"].shape == (35, 45, 33)
    assert np.abs(group["2"][:, :, 32] - last).max() < 1e-4
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    assert [entry["path"] for entry in ome["multiscales"][0]["datasets"]] == ["0", "1", "2"]


def test_a_zarr_filled_by_tiles_becomes_an_image_and_finishing_twice_is_harmless(tmp_path, volume):
    array = create_zarr(tmp_path / "v.zarr", GRID)
    array[:] = volume
    for _ in range(2):
        finish_zarr(tmp_path / "v.zarr", recipe=RECIPE)
    assert open_volume(tmp_path / "v.zarr")[1] == GRID
    assert read_recipe(tmp_path / "v.zarr") == RECIPE
    with pytest.raises(OutputError, match="exists already"):
        create_zarr(tmp_path / "v.zarr", GRID)


@pytest.mark.parametrize("ending", ENDINGS)
def test_floats_are_rounded_into_integers_and_never_wrap_around(tmp_path, volume, ending):
    path = tmp_path / f"v{ending}"
    write_volume(path, np.abs(volume), GRID, dtype="uint16")
    assert (np.asarray(open_volume(path)[0][:]) == np.rint(np.abs(volume))).all()
    for wrong, words in ((volume, "do not fit into uint16"), (np.abs(volume) + 65500, "do not fit into uint16")):
        with pytest.raises(OutputError, match=words):
            write_volume(tmp_path / f"wrong{path.suffix}", wrong, GRID, dtype="uint16")
    wrong = volume.copy()
    wrong[69, 0, 0] = np.nan
    with pytest.raises(OutputError, match="NaN or infinite"):
        write_volume(tmp_path / f"wrong{path.suffix}", wrong, GRID)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "a write that fails leaves nothing behind"


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_overwritten_unasked_and_the_old_one_stays_until_the_new_one_is_complete(tmp_path, volume, ending):
    path = tmp_path / f"v{ending}"
    write_volume(path, volume, GRID)
    with pytest.raises(OutputError, match="exists already"):
        write_volume(path, volume + 1, GRID)
    wrong = volume.copy()
    wrong[69, 0, 0] = np.inf
    with pytest.raises(OutputError):
        write_volume(path, wrong, GRID, overwrite=True)
    assert (np.asarray(open_volume(path)[0][:]) == volume).all()
    write_volume(path, volume + 1, GRID, overwrite=True)
    assert (np.asarray(open_volume(path)[0][:]) == volume + 1).all()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_keeps_the_old_file_and_leaves_no_rubbish(tmp_path, volume, ending):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4500k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        path = disk / f"v{ending}"
        write_volume(path, volume, GRID)
        with pytest.raises(OutputError, match=r"disk is full while writing .*, then run the command again$"):
            write_volume(path, volume + 1, GRID, overwrite=True)
        assert (np.asarray(open_volume(path)[0][:]) == volume).all()
        assert [entry.name for entry in disk.iterdir()] == [path.name]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_folder_or_a_wrong_shape_is_said(tmp_path, volume, ending):
    with pytest.raises(OutputError, match="does not exist"):
        write_volume(tmp_path / "none" / f"v{ending}", volume, GRID)
    with pytest.raises(OutputError, match="make them equal"):
        write_volume(tmp_path / f"v{ending}", volume[:9], GRID)


def test_views_that_a_format_cannot_hold_are_refused(rng, tmp_path):
    data = rng.random((8, 8, 8), np.float32)
    turned = RegisteredViews([View(data, "a", angle=0.0, affine=np.eye(4))], Grid((8, 8, 8)))
    nameless = RegisteredViews([View(data, "a")])
    with pytest.raises(OutputError, match="resample it first"):
        write_views_zarr(tmp_path / "v.zarr", turned)
    with pytest.raises(OutputError, match="needs an angle"):
        write_views_folder(tmp_path / "f", nameless, "x")


def test_large_tiffs_are_bigtiffs(tmp_path, monkeypatch, volume):
    monkeypatch.setattr("napari_mvfusion.io.tiff.writer._CLASSIC_LIMIT", 1000)
    write_tiff(tmp_path / "v.tif", volume, GRID)
    with tifffile.TiffFile(tmp_path / "v.tif") as tiff:
        assert tiff.is_bigtiff
    assert (np.asarray(open_volume(tmp_path / "v.tif")[0][:]) == volume).all()


class Counted:
    """A lazy volume that counts what is read of it at once, and how often each voxel is."""

    def __init__(self, values, chunks):
        self.values, self.shape, self.dtype, self.chunks = values, values.shape, values.dtype, chunks
        self.most = 0
        self.times = np.zeros(values.shape, int)

    def __getitem__(self, key):
        found = self.values[key]
        self.most = max(self.most, found.size)
        self.times[key] += 1
        return found


@pytest.mark.parametrize("chunks", [None, (16, 16, 16), (5, 7, 9), (64, 64, 64), ((40, 30), (66,), (75,))])
def test_a_tiff_is_written_in_bounded_memory_and_each_voxel_is_read_once(tmp_path, monkeypatch, volume, chunks):
    monkeypatch.setattr("napari_mvfusion.io.streaming._SLAB_VOXELS", 16 * 16 * 75)
    lazy = Counted(volume, chunks)
    write_tiff(tmp_path / "v.tif", lazy, GRID)
    assert (tifffile.imread(tmp_path / "v.tif") == volume).all()
    assert (lazy.times == 1).all()
    assert lazy.most <= 2 * 16 * 16 * 75


def test_a_series_in_a_zarr_is_written_volume_by_volume(tmp_path, rng):
    values = rng.random((3, *GRID.shape), np.float32)
    lazy = Counted(values, None)
    write_tiff(tmp_path / "v.tif", lazy, GRID, leading=[LeadingAxis("t", 3)])
    assert (tifffile.imread(tmp_path / "v.tif") == values).all()
    assert lazy.most <= values[0].size


def name_inside(path):
    """What the image is called in its metadata."""
    return zarr.open_group(str(path), mode="r").attrs["ome"]["multiscales"][0]["name"]


def test_an_ome_zarr_is_called_inside_as_it_is_outside(tmp_path, volume):
    write_zarr(tmp_path / "good.zarr", volume, GRID)
    views = RegisteredViews([View(volume, "0"), View(volume, "90")], GRID)
    fuse(views, Average(), out=tmp_path / "fused.zarr", device="cpu")
    assert [name_inside(path) for path in sorted(tmp_path.iterdir()) if path.suffix == ".zarr"] == [
        "fused.zarr",
        "good.zarr",
    ]
