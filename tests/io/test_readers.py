"""Readers: real files of every kind, lazily, and in words what is wrong with one."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import left_out, list_tags, open_truth, open_views, open_volume, psf_files, read_recipe
from napari_mvfusion.io.saved_views import write_views_folder

SHAPE = (12, 14, 16)


@pytest.fixture
def volume(rng):
    return rng.integers(0, 60000, SHAPE).astype(np.uint16)


@pytest.fixture
def psf():
    offsets = np.indices((5, 5, 5)) - 2
    kernel = np.exp(-(offsets[0] ** 2) / 4 - (offsets[1] ** 2 + offsets[2] ** 2) / 2)
    return (kernel / kernel.sum()).astype(np.float32)


WRITERS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "compressed": {"compression": "zlib"},
    "lzw strips": {"compression": "lzw", "rowsperstrip": 3},
    "tiles": {"tile": (16, 16)},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
}


@pytest.mark.parametrize("how", WRITERS.values(), ids=WRITERS)
def test_every_kind_of_tiff_gives_the_same_pixels_lazily(volume, tmp_path, how):
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, volume, photometric="minisblack", **how)
    data, grid = open_volume(path)
    assert not isinstance(data, np.ndarray)
    assert grid.shape == SHAPE
    assert data.dtype == np.uint16
    assert data.dtype.isnative
    box = Box((3, 2, 1), (9, 13, 12))
    assert (data[box.slices] == volume[box.slices]).all()
    assert (data[5] == volume[5]).all()
    assert (np.asarray(data[:]) == volume).all()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {
                "ome": True,
                "metadata": {"axes": "ZYX", "PhysicalSizeZ": 2, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25},
            },
            (2, 0.5, 0.25),
        ),
        (
            {
                "ome": True,
                "metadata": {"axes": "ZYX"}
                | {f"PhysicalSize{a}": 500 for a in "ZYX"}
                | {f"PhysicalSize{a}Unit": "nm" for a in "ZYX"},
            },
            (0.5, 0.5, 0.5),
        ),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "um"}},
            (2, 0.5, 0.25),
        ),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "micron"}},
            (2, 0.5, 0.25),
        ),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, (1, 1, 1)),
        ({"resolution": (300, 300)}, (1, 1, 1)),
    ],
)
def test_the_voxel_size_comes_from_the_metadata(volume, tmp_path, how, expected):
    tifffile.imwrite(tmp_path / "v.tif", volume, photometric="minisblack", **how)
    assert open_volume(tmp_path / "v.tif")[1].voxel_size_um == pytest.approx(expected)


def make_folder(folder, rng, psf, tags=("fly",), angles=(0, 90, 180, 270)):
    volumes = {}
    folder.mkdir(exist_ok=True)
    for tag in tags:
        for angle in angles:
            volumes[tag, angle] = rng.random(SHAPE, np.float32)
            tifffile.imwrite(folder / f"{tag}_view_{angle:g}.tif", volumes[tag, angle])
        tifffile.imwrite(folder / f"{tag}_groundtruth.tif", rng.random(SHAPE, np.float32))
    for angle in angles:
        tifffile.imwrite(folder / f"psf_{angle:g}.tif", psf)
    return volumes


def test_a_folder_of_the_scheme_opens_with_its_psfs_in_the_order_of_the_angles(tmp_path, rng, psf):
    volumes = make_folder(tmp_path / "f", rng, psf, angles=(0, 22.5, 90, 180, 270, -45))
    views = open_views(tmp_path / "f")
    assert views.names == ("-45", "0", "22.5", "90", "180", "270")
    for view in views.views:
        assert (np.asarray(view.data[:]) == volumes["fly", view.angle]).all()
        assert np.abs(view.psf.sum() - 1) < 1e-5
        assert view.source.endswith(f"fly_view_{view.name}.tif")
    assert open_truth(tmp_path / "f").shape == SHAPE
    assert sorted(psf_files(tmp_path / "f")) == [-45, 0, 22.5, 90, 180, 270]


def test_several_tags_and_odd_names(tmp_path, rng, psf):
    folder = tmp_path / "f"
    make_folder(folder, rng, psf, tags=("fly", "a_view_of_fish"), angles=(0, 90))
    (folder / "fly_view_0.tif").rename(folder / "fly_VIEW_0.TIFF")
    (folder / "notes.txt").write_text("hello")
    tifffile.imwrite(folder / "fly_psf_90.tif", psf[1:-1, 1:-1, 1:-1], photometric="minisblack")
    assert set(list_tags(folder)) == {"fly", "a_view_of_fish"}
    with pytest.raises(InputError, match="several samples: name one of the tags 'a_view_of_fish', 'fly'"):
        open_views(folder)
    views = open_views(folder, tag="fly", clean_psfs=False)
    assert views.views[0].psf.shape == (5, 5, 5)
    assert views.views[1].psf.shape == (3, 3, 3), "a PSF of the sample itself comes first"
    with pytest.raises(InputError, match="no sample 'frog'"):
        open_views(folder, tag="frog")


def test_the_measured_psfs_open_as_a_folder(test_data):
    for name in ("quad_view", "two_view"):
        for path in psf_files(test_data / "psf" / name).values():
            assert path.is_file()


def test_a_view_without_a_psf_opens_and_a_psf_without_a_view_is_reported(tmp_path, rng, psf):
    folder = tmp_path / "f"
    make_folder(folder, rng, psf, angles=(0, 90))
    (folder / "psf_90.tif").rename(folder / "psf_45.tif")
    views = open_views(folder)
    assert views.views[0].psf is not None
    assert views.views[1].psf is None
    found = describe(folder)
    assert found.problems == ("psf_45.tif has no view at 45 degrees",)
    (said,) = found.samples[0].problems
    assert said.startswith("view '90' has no PSF: average and CBIF need none; to deblur, measure one from beads")
    assert "mvfusion psf measure" in said
    (folder / "psf_0.tif").unlink()
    (said,) = describe(folder).samples[0].problems
    assert said.startswith("views '0', '90' have no PSF")
    assert found.samples[0].has_truth


def test_files_named_by_the_user(tmp_path, volume, psf):
    for name in ("left", "right"):
        tifffile.imwrite(tmp_path / f"{name}.tif", volume)
        tifffile.imwrite(tmp_path / f"{name}_psf.tif", psf)
    files = [tmp_path / "left.tif", tmp_path / "right.tif"]
    views = open_views(files, psfs=[tmp_path / "left_psf.tif", tmp_path / "right_psf.tif"], voxel_size_um=(2, 1, 1))
    assert views.names == ("left", "right")
    assert views.grid.voxel_size_um == (2, 1, 1)
    with pytest.raises(InputError, match="2 views and 1 PSFs"):
        open_views(files, psfs=[tmp_path / "left_psf.tif"])


def test_views_written_as_one_ome_zarr_come_back_exactly(tmp_path, rng, psf):
    grid = Grid(SHAPE, (2.0, 0.5, 0.25), (1.0, 2.0, 3.0))
    views = RegisteredViews(
        [
            View(rng.random(SHAPE, np.float32), str(a), psf=psf * (1 + a), angle=float(a), offset=float(a))
            for a in (0, 90)
        ],
        grid,
    )
    truth = rng.random(SHAPE, np.float32)
    write_views_zarr(tmp_path / "v.zarr", views, truth=truth)
    back = open_views(tmp_path / "v.zarr")
    assert back.grid == grid
    for one, two in zip(views.views, back.views, strict=True):
        assert (one.name, one.angle, one.weight, one.offset) == (two.name, two.angle, two.weight, two.offset)
        assert (np.asarray(two.data[:]) == one.data).all()
        assert (two.psf == one.psf).all()
    assert (open_truth(tmp_path / "v.zarr")[:] == truth).all()


def test_an_ome_zarr_of_another_program_opens(tmp_path, rng):
    """OME-Zarr 0.4 (zarr 2), channels as views, nanometres, made with zarr alone after the specification."""
    group = zarr.create_group(str(tmp_path / "v.zarr"), zarr_format=2)
    pixels = rng.integers(0, 100, (1, 2, *SHAPE)).astype(np.uint16)
    group.create_array("full", data=pixels, chunks=(1, 1, 8, 8, 8))
    space = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *space],
            "datasets": [
                {
                    "path": "full",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 1, 2000, 500, 250]},
                        {"type": "translation", "translation": [0, 0, 1000, 0, 0]},
                    ],
                }
            ],
        }
    ]
    group.attrs["omero"] = {"channels": [{"label": "left"}, {"label": "right"}]}
    views = open_views(tmp_path / "v.zarr")
    assert views.names == ("left", "right")
    assert views.grid == Grid(SHAPE, (2.0, 0.5, 0.25), (1.0, 0.0, 0.0))
    assert (views.read(views.grid.box) == pixels[0].astype(np.float32)).all()
    with pytest.raises(InputError, match="has 2 channels"):
        open_volume(tmp_path / "v.zarr")


def test_a_folder_of_ome_zarr_views(tmp_path, rng, psf):
    volumes = {}
    for angle in (0, 90):
        volumes[angle] = rng.random(SHAPE, np.float32)
        write_zarr(tmp_path / f"fly_view_{angle}.zarr", volumes[angle], Grid(SHAPE, (2.0, 1.0, 1.0)))
        tifffile.imwrite(tmp_path / f"psf_{angle}.tif", psf)
    views = open_views(tmp_path)
    assert views.grid.voxel_size_um == (2, 1, 1)
    assert (views.read(views.grid.box)[1] == volumes[90]).all()


def write_text(path):
    path.write_text("this is no picture")


def write_nothing(path):
    path.touch()


def write_truncated(path):
    tifffile.imwrite(path, np.ones(SHAPE, np.uint16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_truncated_imagej(path):
    tifffile.imwrite(path, np.ones(SHAPE, np.uint16), imagej=True, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes()[:-2000])


def write_truncated_ome(path):
    xml = tifffile.OmeXml()
    xml.addimage("uint16", SHAPE, (SHAPE[0], 1, 1, *SHAPE[1:], 1), axes="ZYX")
    pages = np.ones((SHAPE[0] // 2, *SHAPE[1:]), np.uint16)
    tifffile.imwrite(path, pages, description=xml.tostring().encode(), metadata=None, photometric="minisblack")


def write_plane(path):
    tifffile.imwrite(path, np.ones((14, 16), np.uint16))


def write_colour(path):
    tifffile.imwrite(path, np.ones((12, 14, 16, 3), np.uint8), photometric="rgb")


def write_times(path):
    tifffile.imwrite(path, np.ones((3, *SHAPE), np.uint16), imagej=True, metadata={"axes": "TZYX"})


def write_zeros(path):
    path.write_bytes(bytes(4096))


def write_mislabelled(path):
    tifffile.imwrite(path, np.ones(SHAPE, np.uint16), imagej=True, metadata={"axes": "TYX"})


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["pixels"] = np.ones(SHAPE)


def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("v.tif", b"pixels")


def write_ome_xml(path):
    path.write_text('<?xml version="1.0"?><OME/>')


def write_entities(path):
    evil = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><OME>&a;</OME>'
    tifffile.imwrite(path, np.ones(SHAPE, np.uint16), description=evil, metadata=None)


BAD_FILES = {
    "text": (write_text, r"is no TIFF file \(it begins with '.+'\): name another"),
    "zeros": (write_zeros, "is damaged: it begins with zeros; copy or export it again"),
    "HDF5": (write_hdf5, r"is no TIFF file: it is HDF5: give it a name that ends in \.h5"),
    "zip": (write_zip, r"is no TIFF file: it is a zip file: unpack it, or"),
    "OME-XML": (write_ome_xml, r"is no TIFF file: it is XML: name the files that it describes, or save it as TIFF"),
    "zero bytes": (write_nothing, r"is empty \(0 bytes\)"),
    "truncated": (write_truncated, "copy or export it again"),
    "truncated ImageJ": (write_truncated_imagej, "copy or export it again"),
    "truncated OME": (write_truncated_ome, "truncated"),
    "one plane": (write_plane, "needs three axes"),
    "colour": (write_colour, "3 colour samples"),
    "time points": (write_times, "3 time points"),
    "planes labelled as time": (write_mislabelled, "if these are planes, label the axis Z"),
    "XML entities": (write_entities, "XML entities"),
}


@pytest.mark.parametrize("case", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, rng, psf, case):
    write, words = case
    folder = tmp_path / "f"
    make_folder(folder, rng, psf, angles=(0, 90))
    (folder / "fly_view_90.tif").unlink()
    write(folder / "fly_view_90.tif")
    with pytest.raises(InputError, match=words) as caught:
        open_views(folder)
    assert "fly_view_90.tif" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "fly_view_90.tif" in describe(folder).samples[0].problems[0]


def test_a_damaged_compressed_plane_is_named_when_it_is_read(tmp_path, rng):
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, rng.integers(0, 60000, SHAPE).astype(np.uint16), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[7].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[place : place + 40] = b"\x00" * 40
    path.write_bytes(raw)
    data, _ = open_volume(path)
    assert data[3].shape == SHAPE[1:]
    with pytest.raises(InputError, match=r"v\.tif is damaged: plane 7"):
        data[:]


def test_unequal_views_name_both_files_and_shapes(tmp_path, rng, psf):
    make_folder(tmp_path / "f", rng, psf, angles=(0, 90))
    tifffile.imwrite(tmp_path / "f" / "fly_view_90.tif", np.ones((12, 14, 15), np.float32))
    with pytest.raises(
        InputError, match=r"fly_view_90.tif has shape \(12, 14, 15\), but .*fly_view_0.tif \(12, 14, 16\)"
    ):
        open_views(tmp_path / "f")


def test_views_that_disagree_on_the_voxel_size_are_named(tmp_path, volume):
    for angle, size in ((0, 1.0), (90, 2.0)):
        metadata = {"axes": "ZYX"} | {f"PhysicalSize{a}": size for a in "ZYX"}
        tifffile.imwrite(tmp_path / f"view_{angle}.tif", volume, ome=True, metadata=metadata)
    with pytest.raises(InputError, match=r"view_90\.tif has voxels of"):
        open_views(tmp_path)
    assert open_views(tmp_path, voxel_size_um=(1, 1, 1)).grid.voxel_size_um == (1, 1, 1)


def test_no_views_says_what_names_are_expected_and_what_is_there(tmp_path):
    (tmp_path / "stack.png").touch()
    with pytest.raises(InputError, match=r"embryo_view_0\.tif.*found stack\.png"):
        open_views(tmp_path)
    (tmp_path / "stack.tif").touch()
    with pytest.raises(InputError, match=r"holds no views that can be opened: .*stack\.tif is empty \(0 bytes\)"):
        open_views(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        open_views(tmp_path / "missing")


def test_two_files_for_one_view_are_refused(tmp_path, rng, psf):
    make_folder(tmp_path / "f", rng, psf, angles=(0, 90))
    shutil.copy(tmp_path / "f" / "fly_view_90.tif", tmp_path / "f" / "fly_view_90.0.tif")
    with pytest.raises(InputError, match="are the same view"):
        open_views(tmp_path / "f")


def broken_metadata(path):
    (path / "zarr.json").write_text("{")


def missing_level(path):
    shutil.rmtree(path / "0")


def no_multiscales(path):
    group = zarr.open_group(str(path), mode="r+")
    del group.attrs["ome"]


def psf_outside(path):
    group = zarr.open_group(str(path), mode="r+")
    entries = group.attrs["mvfusion"]
    entries["views"][0]["psf"] = "../../secret"
    group.attrs["mvfusion"] = entries


@pytest.mark.parametrize("spoil", [broken_metadata, missing_level, no_multiscales, psf_outside])
def test_a_broken_zarr_is_named_at_once(tmp_path, rng, psf, spoil):
    views = RegisteredViews([View(rng.random(SHAPE, np.float32), "0", psf=psf)])
    write_views_zarr(tmp_path / "v.zarr", views)
    spoil(tmp_path / "v.zarr")
    with pytest.raises(InputError, match=r"v\.zarr"):
        open_views(tmp_path / "v.zarr")


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path, rng):
    write_zarr(tmp_path / "v.zarr", rng.random(SHAPE, np.float32), Grid(SHAPE))
    chunk = next((tmp_path / "v.zarr" / "0" / "c").rglob("0"))
    while chunk.is_dir():
        chunk = next(chunk.iterdir())
    # Its first byte is the version of the compression. As long as it was: the library reads beyond a shorter one.
    chunk.write_bytes(b"\xff" + chunk.read_bytes()[1:])
    data, _ = open_volume(tmp_path / "v.zarr")
    with pytest.raises(InputError, match=r"v\.zarr is damaged: a chunk"):
        data[:]


def test_a_folder_that_is_no_zarr_is_told_so(tmp_path):
    (tmp_path / "v.zarr").mkdir()
    with pytest.raises(InputError, match=r"is no OME-Zarr: it has no zarr.json"):
        open_views(tmp_path / "v.zarr")


LAZY = """
import resource, sys
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.io.opening import open_views
views = open_views([sys.argv[1]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = views.read(Box((500, 0, 0), (501, 1024, 1024)))
assert block.max() == 7
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_one_plane_of_a_large_file_does_not_read_the_rest(tmp_path):
    """A sparse file of 2 GiB: reading one plane takes a few megabytes."""
    path = tmp_path / "large.tif"
    pixels = tifffile.memmap(path, shape=(1024, 1024, 1024), dtype="uint16", photometric="minisblack", bigtiff=True)
    pixels[500] = 7
    pixels.flush()
    del pixels
    done = subprocess.run([sys.executable, "-c", LAZY, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40 * 1024, "kilobytes"
    assert Path(path).stat().st_size > 2**31


def test_a_folder_that_was_written_opens_again(tmp_path, rng, psf):
    views = RegisteredViews(
        [View(rng.random(SHAPE, np.float32), f"{a}", psf=psf, angle=float(a)) for a in (0, 90)],
        Grid(SHAPE, (2.0, 1.0, 1.0)),
    )
    write_views_folder(tmp_path / "out", views, "fish", truth=np.ones(SHAPE, np.float32))
    back = open_views(tmp_path / "out", clean_psfs=False)
    assert back.grid == views.grid
    for one, two in zip(views.views, back.views, strict=True):
        assert (np.asarray(two.data[:]) == one.data).all()
        assert (two.psf == one.psf).all()
    assert read_recipe(tmp_path / "out" / "fish_view_0.tif") is None


@pytest.mark.parametrize(
    "name", ["s_view_270.ome.tif", "s_view_270.OME.TIFF", "S_VIEW_270.TIF".replace("S", "s", 1), "s_view_270.tiff"]
)
def test_all_endings_of_tiff_belong_to_the_scheme(tmp_path, volume, name):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"s_view_{angle}.tif", volume)
    tifffile.imwrite(tmp_path / name, volume[::-1], metadata={"axes": "ZYX"})
    views = open_views(tmp_path)
    assert views.names == ("0", "90", "270")
    assert np.array_equal(views.views[2].data[:], volume[::-1])


def test_what_the_system_leaves_beside_files_is_no_view(tmp_path, volume):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"s_view_{angle}.tif", volume)
        (tmp_path / f"._s_view_{angle}.tif").write_bytes(b"\0\5\26\7")
    (tmp_path / ".DS_Store").touch()
    assert open_views(tmp_path).names == ("0", "90")
    assert left_out(tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("s_view_270 (copy).tif", "view"),
        ("s_view270.tif", "view"),
        ("s view 270.tif", "view"),
        ("s_view_270.tif.gz", "view"),
        ("s_view_270.vsi", "view"),
        ("s_view_-270°.tif", "view"),
        ("View-270.h5", "view"),
        ("s_view_angle=270.tif", "view"),
        ("psf270.tif", "PSF"),
        ("s_psf_270.tif.bak", "PSF"),
        ("PSFs_0-270.tif", "PSF"),
    ],
)
def test_what_looks_like_a_view_and_is_not_taken_is_named(tmp_path, volume, name, word):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"s_view_{angle}.tif", volume)
    (tmp_path / name).touch()
    (message,) = left_out(tmp_path)
    assert message.startswith(f"{name} is left out: it looks like a {word}")
    assert describe(tmp_path).problems == (message,)
    assert open_views(tmp_path).names == ("0", "90")


@pytest.mark.parametrize(
    "name", ["notes.txt", "fused.tif", "overview.tif", "view_0.recipe.json", "interview 3.mp3", "preview0.tif"]
)
def test_what_is_something_else_is_left_alone(tmp_path, volume, name):
    tifffile.imwrite(tmp_path / "s_view_0.tif", volume)
    (tmp_path / name).touch()
    assert left_out(tmp_path) == ()


def test_a_folder_whose_name_is_too_long_is_refused_in_words():
    with pytest.raises(InputError, match="longer than the name of a file can be"):
        psf_files("n" * 5000)
