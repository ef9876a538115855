"""TIFF files as they come: sets of several files, time points and channels, damaged and harmful ones."""

import contextlib
import os
import random
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from faults.malformed import mutated_bytes
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.tiff.reader import open_stack
from napari_mvfusion.io.tiff.writer import write_tiff
from tiff_parts import GREY, SHAPE, ome_xml, write_part


@pytest.fixture
def volume(rng):
    return rng.integers(1, 60000, SHAPE).astype(np.uint16)


@pytest.mark.parametrize(
    "how", [{}, {"compression": "zlib"}, {"byteorder": ">"}], ids=["plain", "compressed", "big-endian"]
)
def test_each_file_of_a_set_opens_with_its_own_pixels(tmp_path, rng, how):
    volumes = [rng.integers(1, 60000, SHAPE).astype(np.uint16) for _ in range(3)]
    names = [f"view_{angle}.tif" for angle in (0, 90, 180)]
    xml = ome_xml([[(name, 0, SHAPE[0])] for name in names])
    for name, pixels in zip(names, volumes, strict=True):
        write_part(tmp_path / name, pixels, xml, **how)
    for number, (name, pixels) in enumerate(zip(names, volumes, strict=True)):
        data, grid = open_volume(tmp_path / name)
        assert np.array_equal(data[:], pixels)
        assert grid.voxel_size_um == (1.0 + number, 0.5, 0.5), "and with its own voxel size"
    views = open_views(tmp_path, voxel_size_um=(1, 1, 1))
    assert [np.array_equal(view.data[:], own) for view, own in zip(views.views, volumes, strict=True)] == [True] * 3


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}], ids=["plain", "compressed"])
@pytest.mark.parametrize("cut", [3, 2], ids=["even", "uneven"])
def test_a_volume_that_is_spread_over_files_opens_whole_whichever_is_named(tmp_path, volume, how, cut):
    xml = ome_xml([[("a.ome.tif", 0, cut), ("b.ome.tif", cut, SHAPE[0] - cut)]])
    write_part(tmp_path / "a.ome.tif", volume[:cut], xml, **how)
    write_part(tmp_path / "b.ome.tif", volume[cut:], xml, **how)
    for name in ("a.ome.tif", "b.ome.tif"):
        data, _ = open_volume(tmp_path / name)
        assert np.array_equal(data[:], volume)
        assert np.array_equal(data[1:5, 3, ::2], volume[1:5, 3, ::2])
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(InputError, match=r"a\.ome\.tif is truncated: planes are missing, or other files of its set"):
        open_volume(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("name", ["../b.tif", "/etc/passwd", "C:\\b.tif", "pipe"])
def test_a_set_that_names_files_elsewhere_is_refused(tmp_path, volume, name):
    os.mkfifo(tmp_path / "pipe")
    write_part(tmp_path / "a.tif", volume, ome_xml([[("a.tif", 0, 6)], [(name, 0, 6)]]))
    with pytest.raises(InputError, match=r"outside of its folder|is a pipe"):
        open_volume(tmp_path / "a.tif")


SERIES = {
    "ImageJ": {"imagej": True, "metadata": {"axes": "TZCYX", "finterval": 30.0}},
    "OME": {"ome": True, "metadata": {"axes": "TZCYX", "TimeIncrement": 0.5, "TimeIncrementUnit": "min"}},
    "OME, compressed": {
        "ome": True,
        "compression": "zlib",
        "metadata": {"axes": "TZCYX", "TimeIncrement": 0.5, "TimeIncrementUnit": "min"},
    },
}


@pytest.mark.parametrize("how", SERIES.values(), ids=SERIES)
def test_time_points_and_channels_are_choices(tmp_path, rng, how):
    series = rng.integers(0, 60000, (3, 6, 2, 14, 16)).astype(np.uint16)
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, series, **GREY, **how)
    stack = open_stack(path)
    assert dict(stack.leading) == {"t": 3, "c": 2}
    assert stack.time_step == pytest.approx(30)
    for t in range(3):
        for c in range(2):
            data = stack.volume(t, c)
            own = series[t, :, c]
            assert data.shape == SHAPE
            for index in (
                slice(None),
                3,
                -1,
                (slice(1, 4), 2),
                (slice(None, None, -2), slice(3, 5)),
                (Ellipsis, slice(2, 3)),
            ):
                assert np.array_equal(data[index], own[index])
    with pytest.raises(InputError, match=r"v\.tif has 3 time points: choose one with --timepoint 0 to 2"):
        open_stack(path).volume()
    with pytest.raises(InputError, match=r"v\.tif has 2 channels: choose one with --channel 0 to 1"):
        open_stack(path).volume(0)
    with pytest.raises(InputError, match="--timepoint 3 is not there"):
        open_stack(path).volume(3, 0)


def test_channels_are_asked_for_by_the_names_that_ome_gives_them(tmp_path):
    names = {"Channel": {"Name": ["GFP", "RFP"]}}
    for path in (tmp_path / "v.ome.tif", tmp_path / "one.ome.tif"):
        tifffile.imwrite(path, np.zeros((2, 3, 4, 5), np.uint8), **GREY, metadata={"axes": "CZYX", **names})
    with pytest.raises(InputError, match=r"has 2 channels \(GFP, RFP\): choose one with --channel 0 to 1"):
        open_stack(tmp_path / "v.ome.tif").volume()
    path.write_bytes(path.read_bytes().replace(b'Name="RFP"', b'Nome="RFP"').replace(b'Name="GFP"', b'Nome="GFP"'))
    assert open_stack(path).channel_names == ()


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ({"ome": True, "metadata": {"axes": "TZYX", "TimeIncrement": 2, "TimeIncrementUnit": "d"}}, 172_800),
        ({"ome": True, "metadata": {"axes": "TZYX", "TimeIncrement": 5, "TimeIncrementUnit": "reference frame"}}, 1),
        ({"imagej": True, "metadata": {"axes": "TZYX", "finterval": 5.0, "tunit": "min"}}, 300),
        ({"imagej": True, "metadata": {"axes": "TZYX", "finterval": 5.0, "tunit": "turns"}}, 1),
    ],
)
def test_a_time_step_in_a_unit_that_nobody_knows_is_not_one_in_seconds(tmp_path, how, seconds):
    tifffile.imwrite(tmp_path / "v.tif", np.ones((2, 3, 4, 5), np.uint16), **GREY, **how)
    assert open_stack(tmp_path / "v.tif").time_step == seconds


def test_a_box_of_a_mapped_file_needs_no_map_of_the_whole(tmp_path):
    """A file larger than the address space that is left can still be read plane by plane."""
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, shape=(400, 64, 64), dtype=np.uint16, **GREY)
    data, _ = open_volume(path)
    mapped = []
    real = np.memmap

    class Counted(np.memmap):
        def __new__(cls, *arguments, **options):
            mapped.append(np.prod(options["shape"]))
            return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "memmap", Counted)
        data[200:203, 5:9, 5:9]
    assert mapped == [3 * 64 * 64]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.float16, np.float64])
def test_a_view_may_be_of_any_real_type(tmp_path, rng, dtype):
    pixels = (rng.random(SHAPE) * 2).astype(dtype)
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"view_{angle}.tif", pixels, **GREY)
    views = open_views(tmp_path)
    assert np.array_equal(views.read(views.grid.box)[1], pixels.astype(np.float32))


def patched(path, **tags):
    """Change tags of every page of a file."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            for name, value in tags.items():
                page.tags[name].overwrite(value)


def bomb_of_planes(path):
    tifffile.imwrite(path, np.zeros((3, 16, 16), np.uint16), compression="zlib", rowsperstrip=16, **GREY)
    patched(path, ImageWidth=30000, ImageLength=30000, RowsPerStrip=30000)


def bomb_of_many_planes(path):
    tifffile.imwrite(
        path, np.zeros((40, 16, 16), np.uint16), compression="zlib", rowsperstrip=16, metadata=None, **GREY
    )
    patched(path, ImageWidth=8000, ImageLength=8000, RowsPerStrip=8000)


def bomb_of_a_plane(path):
    tifffile.imwrite(path, np.zeros((3, 16, 16), np.uint16), compression="zlib", rowsperstrip=16, **GREY)
    patched(path, ImageWidth=2**31 - 1, ImageLength=2**31 - 1)


def described(text, planes=2):
    def write(path):
        pixels = np.ones((planes, 14, 16), np.uint16)
        tifffile.imwrite(path, pixels, description=text, metadata=None, compression="zlib", **GREY)

    return write


_PIXELS = '<Pixels DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="14" SizeC="1" SizeT="1" '
BOMBS = {
    "planes of 1.7 GiB": (bomb_of_planes, "are decoded in one go"),
    "more than a file could hold": (bomb_of_many_planes, "unpack to"),
    "a plane without end": (bomb_of_a_plane, "it says that a plane has|are decoded in one go"),
    "OME: 10^9 planes": (described(f'<OME><Image>{_PIXELS}SizeZ="1000000000"/></Image></OME>'), "1,000,000,000 planes"),
    "OME: a count of 10^9": (
        described(f'<OME><Image>{_PIXELS}SizeZ="2"><TiffData PlaneCount="1000000000"/></Pixels></Image></OME>'),
        "speaks of plane 1,000,000,000",
    ),
    "ImageJ: 10^9 planes": (described("ImageJ=1.53t\nimages=1000000000\nslices=1000000000\n"), "1,000,000,000 planes"),
    "shaped: 10^9 planes": (described('{"shape": [1000000000, 14, 16]}'), "v.tif"),
    "not even XML": (described("<OME><Image></OME>"), "cannot be read as a TIFF file|v.tif"),
    "a size that is no number": (described(f'<OME><Image>{_PIXELS}SizeZ="many"/></Image></OME>'), "v.tif"),
}


@pytest.mark.parametrize("case", BOMBS.values(), ids=BOMBS)
def test_what_is_declared_is_weighed_before_it_is_decoded(tmp_path, case):
    write, words = case
    write(tmp_path / "v.tif")
    with contextlib.suppress(InputError):
        data, _ = open_volume(tmp_path / "v.tif")
        assert np.prod(data.shape) < 1e4, "what is opened after all is small"
        return
    with pytest.raises(InputError, match=words) as caught:
        open_volume(tmp_path / "v.tif")
    assert "\n" not in str(caught.value)


KINDS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "zlib": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw", "rowsperstrip": 3},
    "tiles": {"compression": "zstd", "tile": (16, 16)},
    "imagej": {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "um"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 2, "PhysicalSizeY": 1, "PhysicalSizeX": 1}},
}


@pytest.mark.parametrize("how", KINDS.values(), ids=KINDS)
def test_damaged_files_are_read_or_refused(tmp_path, volume, how):
    """Nothing but our own error, in one line, whatever bytes are changed."""
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, volume, **GREY, **how)
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(25):
            path.write_bytes(mutated_bytes(content, random.Random(seed), within=(None, 400)[seed % 2]))
            try:
                data, _ = open_volume(path)
                if np.prod(data.shape) < 1e6:
                    np.asarray(data[:])
            except InputError as error:
                message = str(error)
            else:
                message = ""
            assert "\n" not in message
            assert not message or "v.tif" in message


@pytest.mark.parametrize(
    "shape", [(1, 14, 16), (6, 1, 16), (6, 14, 1), (1, 14, 1), (1, 1, 16), (6, 1, 1), (1, 1, 1)], ids=str
)
@pytest.mark.parametrize("how", [{}, {"ome": True}], ids=["plain", "OME"])
def test_axes_of_one_voxel_keep_their_place(tmp_path, rng, shape, how):
    pixels = rng.integers(1, 60000, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "v.tif", pixels, metadata={"axes": "ZYX"}, **GREY, **how)
    assert np.array_equal(open_volume(tmp_path / "v.tif")[0][:], pixels)
    write_tiff(tmp_path / "out.tif", pixels, Grid(shape))
    assert np.array_equal(open_volume(tmp_path / "out.tif")[0][:], pixels)


def test_planes_that_ome_xml_does_not_tell_of_are_said_to_be_left_out(tmp_path, rng):
    path = tmp_path / "x.ome.tif"
    pixels = rng.integers(0, 999, (16, 20, 24), dtype=np.uint16)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    assert not open_stack(path).notes
    stated = path.read_bytes()
    fewer = stated.replace(b'SizeZ="16"', b'SizeZ="8" ').replace(b'PlaneCount="16"', b'PlaneCount="8" ')
    path.write_bytes(fewer)
    stack = open_stack(path)
    assert stack.notes == (f"{path} has 16 planes, and its OME-XML tells of 8: the others are left out",)
    np.testing.assert_array_equal(stack.volume()[:], pixels[:8])
    # One that is left out is said by what fuses it too.
    assert any("tells of 8" in remark for remark in open_views([path], no_data="none").remarks)


def test_coarser_copies_are_no_planes_that_are_left_out(tmp_path, rng):
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(rng.random((4, 32, 32), np.float32), subifds=1, metadata={"axes": "ZYX"})
        file.write(rng.random((4, 16, 16), np.float32), subfiletype=1)
    assert not open_stack(path).notes


@pytest.mark.parametrize(
    "how", [{"metadata": None}, {"ome": True}, {"compression": "zlib"}, {"bigtiff": True, "ome": True}]
)
def test_a_file_that_is_cut_in_half_is_called_truncated(tmp_path, rng, how):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, rng.random((16, 20, 24), np.float32), **how)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"x\.tif is truncated"):
        open_stack(path)


def test_planes_before_a_cut_are_taken_with_a_word(tmp_path, rng):
    path = tmp_path / "x.tif"
    pixels = rng.integers(0, 255, (6, 20, 24), dtype=np.uint8)
    # Pillow is libtiff: every plane is followed by its own directory, so that a cut leaves whole planes.
    pages = [Image.fromarray(plane) for plane in pixels]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    assert not open_stack(path).notes
    with tifffile.TiffFile(path) as file:
        starts = sorted(offset for page in file.pages for offset in (page.offset, *page.dataoffsets))
        end = next(at for at in starts if at > max(file.pages[3].offset, *file.pages[3].dataoffsets))
    path.write_bytes(path.read_bytes()[:end])
    stack = open_stack(path)
    assert "is truncated: its last plane leads to another beyond its end; the 4 planes" in stack.notes[0]
    np.testing.assert_array_equal(stack.volume()[:], pixels[:4])


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"tile": (32, 32)}], ids=str)
def test_a_file_that_lacks_its_last_tenth_is_called_truncated(tmp_path, rng, how):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, rng.integers(1, 999, (16, 64, 64)).astype(np.uint16), metadata={"axes": "ZYX"}, **how)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    with pytest.raises(
        InputError, match=r"x\.tif is truncated: its planes go on beyond its end; copy or export it again"
    ):
        open_stack(path)


def test_planes_of_a_stack_of_imagej_that_was_cut_off_are_counted(tmp_path, rng):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, rng.integers(1, 999, (16, 64, 64)).astype(np.uint16), imagej=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    with pytest.raises(
        InputError, match=r"x\.tif is truncated: it promises 16 planes and holds 14; copy or export it again"
    ):
        open_stack(path)
