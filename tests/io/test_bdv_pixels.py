"""Pixels of projects, in every kind of storage, against what independent readers give."""

import bz2
import contextlib
import json
import lzma
import struct
import tracemalloc

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from bdv_projects import IDENTITY, Setup, gzip_n5, write_n5, write_n5_view, xml_of
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.n5 import N5Dataset, N5Volume, open_n5
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.methods import make_method

SHAPE = (6, 7, 8)
HDF5 = '<ImageLoader format="bdv.hdf5"><hdf5 type="relative">d.h5</hdf5>{}</ImageLoader>'


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 60_000, SHAPE, np.uint16)


def opened(folder, loader, setups=(0,), timepoints=(0,), **choice):
    """Views of a project with these setups, each at its own angle, on one grid."""
    listed = {n: Setup(parts={"angle": n}) for n in setups}
    places = {(t, n): [IDENTITY] for t in timepoints for n in setups}
    path = folder / "dataset.xml"
    path.write_text(xml_of(loader, listed, places, timepoints=timepoints))
    return open_views(path, no_data="none", **choice)


def pixels_of(views, number=0):
    return np.asarray(views.views[number].data[:])


def lz4_blocks(raw, size=100):
    """What Java's LZ4BlockOutputStream writes."""
    found = b""
    for start in range(0, len(raw), size):
        piece = raw[start : start + size]
        packed = imagecodecs.lz4_encode(piece)
        stored, token = (packed, 0x20) if len(packed) < len(piece) else (piece, 0x10)
        found += struct.pack("<8sBIII", b"LZ4Block", token, len(stored), len(piece), 0) + stored
    return found + struct.pack("<8sBIII", b"LZ4Block", 0x10, 0, 0, 0)


CODECS = {
    "raw": lambda raw: raw,
    "gzip": gzip_n5()["pack"],
    "zlib": imagecodecs.zlib_encode,
    "zstd": imagecodecs.zstd_encode,
    "lz4": lz4_blocks,
    "blosc": lambda raw: imagecodecs.blosc_encode(raw, typesize=2),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("codec", CODECS)
def test_n5_blocks_are_read_whatever_packs_them(tmp_path, pixels, codec):
    pixels[:2] = 7  # something to pack
    settings = {"type": "gzip", "useZlib": True} if codec == "zlib" else {"type": codec}
    write_n5(tmp_path / "a", pixels, (4, 3, 5), compression=settings, pack=CODECS[codec])
    np.testing.assert_array_equal(N5Volume(open_n5(tmp_path / "a"))[:], pixels)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64", "uint32"])
def test_n5_pixels_of_every_type_are_read_as_they_were_written(tmp_path, rng, dtype):
    pixels = (rng.random(SHAPE) * 200).astype(dtype)
    write_n5(tmp_path / "a", pixels, **gzip_n5())
    volume = N5Volume(open_n5(tmp_path / "a"))
    assert volume.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume[:], pixels)


@pytest.mark.parametrize("whole", [False, True])
def test_any_part_of_an_n5_volume_is_what_numpy_gives(tmp_path, pixels, whole):
    pixels[4:, :, :5] = 0
    write_n5(tmp_path / "a", pixels, (4, 3, 5), skip_zeros=True, whole=whole)
    assert not (tmp_path / "a" / "0" / "0" / "1").exists()
    volume = N5Volume(open_n5(tmp_path / "a"))
    for index in (
        np.s_[:],
        np.s_[1:5, 2:7, 3:8],
        np.s_[3],
        np.s_[-1, ::2],
        np.s_[..., -3],
        np.s_[::-1, 5:1:-2, 1],
        np.s_[2:2],
        np.s_[5:, 6:, 7:],
    ):
        np.testing.assert_array_equal(volume[index], pixels[index])


def test_only_the_blocks_of_a_box_are_read(tmp_path, pixels, monkeypatch):
    write_n5(tmp_path / "a", pixels, (2, 2, 2))
    read = []
    known = N5Dataset.read_block
    monkeypatch.setattr(N5Dataset, "read_block", lambda self, place: (read.append(tuple(place)), known(self, place))[1])
    volume = N5Volume(open_n5(tmp_path / "a"))
    assert read == []
    np.testing.assert_array_equal(volume[2:4, 2:3, 4:7], pixels[2:4, 2:3, 4:7])
    assert read == [(1, 1, 2), (1, 1, 3)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-9], "is cut off"),
        (lambda raw: raw[:5], "is a damaged block"),
        (lambda raw: struct.pack(">HH3I", 0, 3, 2**31, 1, 1) + raw[16:], "has 1 x 1 x 2147483648 pixels"),
        (lambda raw: struct.pack(">HH3I", 0, 3, 1, 4, 4) + raw[16:48], "it has 4 x 4 x 1 pixels, and 4 x 4 x 4 belong"),
        (lambda raw: raw + bytes(2), "holds more than 128 bytes"),
        (lambda raw: struct.pack(">HH", 0, 2) + raw[4:], r"mode 0, 2 axes"),
        (lambda raw: b"", "is empty"),
    ],
)
def test_a_damaged_block_is_named(tmp_path, pixels, damage, words):
    write_n5(tmp_path / "a", pixels)
    block = tmp_path / "a" / "1" / "0" / "0"
    block.write_bytes(damage(block.read_bytes()))
    volume = N5Volume(open_n5(tmp_path / "a"))
    with pytest.raises(InputError, match=words) as raised:
        volume[:]
    assert str(block) in str(raised.value)
    # What does not need it is there.
    np.testing.assert_array_equal(volume[:, :, :4], pixels[:, :, :4])


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec not in ("raw", "zlib")])
def test_a_block_that_holds_more_than_its_pixels_is_not_unpacked_further(tmp_path, pixels, codec):
    write_n5(tmp_path / "a", pixels, compression={"type": codec}, pack=CODECS[codec])
    block = tmp_path / "a" / "0" / "0" / "0"
    huge = bytes(20_000_000)
    packed = lz4_blocks(huge, 10_000_000) if codec == "lz4" else CODECS[codec](huge)
    block.write_bytes(struct.pack(">HH3I", 0, 3, 4, 4, 4) + packed)
    volume = N5Volume(open_n5(tmp_path / "a"))
    tracemalloc.start()
    # Streams are read as far as their pixels go, and what says its size beforehand is refused.
    with contextlib.suppress(InputError):
        assert not volume[:4, :4, :4].any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # the window of xz alone takes 8 MB


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dimensions": [8, 7]}, "a view has three"),
        ({"dimensions": [8, 7, 2**40]}, "is damaged: it says that it has"),
        ({"dataType": "object"}, "holds values of type object"),
        ({"blockSize": [0, 1, 1]}, "is damaged: it says that its blocks have 0 x 1 x 1 pixels"),
        ({"blockSize": [2**20] * 3, "dimensions": [2**13] * 3}, "which are too large"),
        ({"compression": {"type": "jpeg"}}, "is packed with 'jpeg'"),
        ({"dimensions": None}, "cannot be understood"),
    ],
)
def test_attributes_that_cannot_be_are_refused(tmp_path, pixels, change, words):
    write_n5(tmp_path / "a", pixels)
    file = tmp_path / "a" / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=words):
        open_n5(tmp_path / "a")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_views_in_n5_are_fused_block_by_block_as_arrays_are(tmp_path, rng):
    stored = [rng.integers(0, 1000, (20, 22, 24), np.uint16) for _ in range(2)]
    for number, each in enumerate(stored):
        write_n5_view(tmp_path / "d.n5", number, 0, [each], [[1, 1, 1]], block=(8, 8, 8), **gzip_n5())
    listed = {n: Setup(size=(24, 22, 20), parts={"angle": n}) for n in (0, 1)}
    (tmp_path / "dataset.xml").write_text(
        xml_of(
            '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>',
            listed,
            {(0, n): [IDENTITY] for n in (0, 1)},
        )
    )
    views = open_views(tmp_path / "dataset.xml", no_data="none")
    assert all(view.affine is None for view in views.views)
    fused = fuse(views, make_method("average"), tile=(8, 8, 8), device="cpu")
    np.testing.assert_allclose(np.asarray(fused.data), np.mean(stored, axis=0), rtol=1e-5, atol=1e-3)


def test_a_box_of_a_turned_view_takes_the_memory_of_the_box_whatever_the_size_of_the_view(tmp_path, rng):
    """Else runs from N5 would not stay within the bound that is said of them, which counts tiles."""
    peaks = {}
    turn = np.array([[1, 0, 0, 0], [0, 1, -1, 0], [0, 1, 1, 0]], float) / np.array([[1], [np.sqrt(2)], [np.sqrt(2)]])
    for size in (48, 144):
        folder = tmp_path / str(size)
        pixels = rng.integers(0, 1000, (size,) * 3).astype(np.uint16)
        write_n5_view(folder / "d.n5", 0, 0, [pixels], [[1, 1, 1]], block=(24, 24, 24), **gzip_n5())
        loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
        (folder / "dataset.xml").write_text(xml_of(loader, {0: Setup(size=(size,) * 3)}, {(0, 0): [turn]}))
        views = open_views(folder / "dataset.xml", no_data="none", grid=(1.0, 1.0, 1.0))
        middle = triple(n // 2 - 12 for n in views.grid.shape)
        box = Box(middle, triple(n + 24 for n in middle))
        assert views.read(box).any()
        tracemalloc.start()
        views.read(box)
        peaks[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[144] < 1.2 * peaks[48]
    assert peaks[144] < pixels.nbytes / 2


def write_hdf5_view(file, timepoint, setup, levels, resolutions, *, stated=None):
    """A view as BigDataViewer writes it, of one file or partition; resolutions in (x, y, z)."""
    group = file.require_group(f"s{setup:02d}")
    if "resolutions" not in group:
        group["resolutions"] = np.array(resolutions, float)
        group["subdivisions"] = np.full((len(levels), 3), 4, np.int32)
    if stated is not None:
        group.attrs["dataType"] = stated
    for number, pixels in enumerate(levels):
        file[f"t{timepoint:05d}/s{setup:02d}/{number}/cells"] = pixels


@pytest.mark.parametrize(
    ("stored", "stated", "wanted"),
    [
        ("int16", None, "uint16"),
        ("int16", "uint16", "uint16"),
        ("int16", "int16", "int16"),
        ("uint16", None, "uint16"),
        ("float32", "float32", "float32"),
    ],
)
def test_pixels_of_hdf5_are_of_the_type_that_is_meant(tmp_path, pixels, stored, stated, wanted):
    kept = pixels.view("int16") if stored == "int16" else pixels.astype(stored)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        write_hdf5_view(file, 0, 0, [kept], [[1, 1, 1]], stated=stated)
    views = opened(tmp_path, HDF5.format(""))
    assert str(views.views[0].data.dtype) == wanted
    np.testing.assert_array_equal(pixels_of(views), pixels if wanted == "uint16" else kept)
    assert str(np.asarray(views.views[0].data[1:3, 2, ::2]).dtype) == wanted


@pytest.mark.parametrize("listed", [True, False], ids=["partitions are listed", "links alone"])
def test_a_project_that_is_split_over_files_is_one(tmp_path, pixels, listed):
    (tmp_path / "parts").mkdir()
    partitions = ""
    with h5py.File(tmp_path / "d.h5", "w") as main:
        for time in (0, 1):
            name = f"parts/d-{time:02d}.h5"
            with h5py.File(tmp_path / name, "w") as part:
                # In its own file, the time point has another number.
                for setup in (0, 1):
                    write_hdf5_view(part, 0, setup, [pixels + 10 * time + setup], [[1, 1, 1]])
            partitions += (
                f'<partition><path type="relative">{name}</path><timepoints>{time}</timepoints>'
                "<timepointsMapped>0</timepointsMapped><setups>0 1</setups></partition>"
            )
            for setup in (0, 1):
                main[f"t{time:05d}/s{setup:02d}"] = h5py.ExternalLink(name, f"t00000/s{setup:02d}")
                if f"s{setup:02d}" not in main:
                    main[f"s{setup:02d}"] = h5py.ExternalLink(name, f"s{setup:02d}")
    loader = HDF5.format(partitions if listed else "")
    for time in (0, 1):
        views = opened(tmp_path, loader, (0, 1), (0, 1), timepoint=time)
        for setup in (0, 1):
            np.testing.assert_array_equal(pixels_of(views, setup), pixels + 10 * time + setup)
            with h5py.File(tmp_path / "d.h5") as main:
                np.testing.assert_array_equal(main[f"t{time:05d}/s{setup:02d}/0/cells"][:], pixels_of(views, setup))


def test_links_that_lead_out_of_a_project_or_round_in_circles_are_refused(tmp_path, pixels):
    (tmp_path / "p").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        write_hdf5_view(file, 0, 0, [pixels], [[1, 1, 1]])
    with h5py.File(tmp_path / "p" / "d.h5", "w") as file:
        file["t00000"] = h5py.ExternalLink("../secret.h5", "t00000")
        file["s00"] = h5py.ExternalLink("../secret.h5", "s00")
    with pytest.raises(InputError, match="outside of its own folder, which is not followed unasked"):
        opened(tmp_path / "p", HDF5.format(""))
    np.testing.assert_array_equal(pixels_of(opened(tmp_path / "p", HDF5.format(""), outside=True)), pixels)
    with h5py.File(tmp_path / "p" / "d.h5", "w") as file:
        file["s00"] = h5py.ExternalLink("e.h5", "s00")
    with h5py.File(tmp_path / "p" / "e.h5", "w") as file:
        file["s00"] = h5py.ExternalLink("d.h5", "s00")
    with pytest.raises(InputError, match="from one file to another without end"):
        opened(tmp_path / "p", HDF5.format(""))


def test_hdf5_levels_and_what_is_wrong_with_a_file(tmp_path, pixels):
    half = pixels[::2, ::2, ::2].copy()
    with h5py.File(tmp_path / "d.h5", "w") as file:
        write_hdf5_view(file, 0, 0, [pixels, half], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(pixels_of(opened(tmp_path, HDF5.format(""), level=1)), half)
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["t00000/s00/0"]
    with pytest.raises(InputError, match=r"holds no '/t00000/s00/0/cells', the pixels of setup 0 at time point 0"):
        opened(tmp_path, HDF5.format(""))
    whole = (tmp_path / "d.h5").read_bytes()
    (tmp_path / "d.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"d\.h5 cannot be read as an HDF5 file"):
        opened(tmp_path, HDF5.format(""))
    (tmp_path / "d.h5").unlink()
    with pytest.raises(
        InputError, match=r"d\.h5 does not exist: it holds the pixels of setup 0 at time point 0; put it where the"
    ):
        opened(tmp_path, HDF5.format(""))


def write_image(path, array, axes):
    """An OME-Zarr of one level, whose scale and unit say nothing of the recording, as those of BigStitcher."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=array, chunks=(1,) * (array.ndim - 3) + (4, 4, 4))
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": axis, "type": "space" if axis in "zyx" else "time"} for axis in axes],
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * array.ndim}]}],
        }
    ]


ZARR = '<ImageLoader format="bdv.multimg.zarr"{}><zarr type="relative">d.zarr</zarr><zgroups>{}</zgroups></ImageLoader>'


@pytest.mark.parametrize(
    ("version", "entry", "shape"),
    [
        (' version="1.0"', '<zgroup setup="0" timepoint="0"><path>a.zarr</path></zgroup>', (1, 1)),
        ("", '<zgroup setup="0" tp="0" path="a.zarr"/>', (1, 1)),
        (' version="2.0"', '<zgroup setup="0" tp="0" path="a.zarr"/>', ()),
        (' version="3.0"', '<zgroup setup="0" tp="0" path="a.zarr" indicies="[]"/>', (1, 1)),
        (' version="3.0"', '<zgroup setup="0" tp="0" path="a.zarr" indicies="1 2"/>', (3, 2)),
        (' version="4.0"', '<zgroup setup="0" tp="0" path="a.zarr" indicies="1 2"/>', (3, 2)),
    ],
)
def test_zarr_projects_of_every_version_are_read(tmp_path, rng, version, entry, shape):
    array = rng.integers(0, 1000, (*shape, *SHAPE), np.uint16)
    write_image(tmp_path / "d.zarr" / "a.zarr", array, "tczyx"[3 - len(shape) :] if shape == () else "tczyx")
    views = opened(tmp_path, ZARR.format(version, entry))
    # Indices are of c and t; the array is (t, c, z, y, x).
    wanted = array if shape == () else array[2, 1] if shape == (3, 2) else array[0, 0]
    np.testing.assert_array_equal(pixels_of(views), wanted)
    assert views.grid.voxel_size_um == (1, 1, 1)


@pytest.mark.parametrize(
    ("entry", "shape", "words"),
    [
        ('<zgroup setup="0" tp="0" path="a.zarr"/>', (3, 2), "does not say which of 3 x 2 volumes"),
        ('<zgroup setup="0" tp="0" path="a.zarr" indicies="2 0"/>', (3, 2), r"wants volume \(0, 2\)"),
        ('<zgroup setup="1" tp="0" path="a.zarr"/>', (1, 1), "names no pixels for setup 0 at time point 0"),
        ('<zgroup setup="0" tp="x" path="a.zarr"/>', (1, 1), "has no place"),
        ('<zgroup setup="0" tp="0" path="b.zarr"/>', (1, 1), r"b\.zarr does not exist"),
        ('<zgroup setup="0" tp="0" path="../../a.zarr"/>', (1, 1), "outside of its own folder"),
    ],
)
def test_zarr_projects_that_do_not_fit_their_images_are_refused(tmp_path, rng, entry, shape, words):
    write_image(tmp_path / "p" / "d.zarr" / "a.zarr", rng.integers(0, 9, (*shape, *SHAPE), np.uint16), "tczyx")
    with pytest.raises(InputError, match=words):
        opened(tmp_path / "p", ZARR.format(' version="3.0"', entry))


FILES = '<ImageLoader format="{}"><ZGrouped>{}</ZGrouped><files>{}</files></ImageLoader>'


def mapping(file, timepoint=0, channel=0, series=0):
    return (
        f'<FileMapping view_setup="0" timepoint="{timepoint}" series="{series}" channel="{channel}">'
        f'<file type="relative">{file}</file></FileMapping>'
    )


@pytest.mark.parametrize("kind", ["spimreconstruction.filemap2", "spimreconstruction.filelist"])
def test_a_file_map_names_channels_of_files(tmp_path, rng, kind):
    array = rng.integers(0, 1000, (SHAPE[0], 2, *SHAPE[1:]), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    views = opened(tmp_path, FILES.format(kind, "false", mapping("a.tif", channel=1)))
    np.testing.assert_array_equal(pixels_of(views), tifffile.imread(tmp_path / "a.tif")[:, 1])
    with pytest.raises(InputError, match=r"a\.tif has no channel 2 at time point 0"):
        opened(tmp_path, FILES.format(kind, "false", mapping("a.tif", channel=2)))


@pytest.mark.parametrize("group", ["00,01,02,03,04,05", "00-05", "00-02,03-05:1"])
def test_a_file_map_names_planes_that_are_files(tmp_path, pixels, group):
    for number, plane in enumerate(pixels):
        tifffile.imwrite(tmp_path / f"z{number:02d}.tif", plane)
    loader = FILES.format("spimreconstruction.filemap2", "true", mapping(f"z&lt;{group}&gt;.tif"))
    np.testing.assert_array_equal(pixels_of(opened(tmp_path, loader)), pixels)
    tifffile.imwrite(tmp_path / "z03.tif", pixels[0, :2])
    with pytest.raises(InputError, match=r"z03\.tif has 2 x 8 pixels"):
        opened(tmp_path, loader)


def test_a_file_map_names_images_of_files(tmp_path, rng):
    arrays = [rng.integers(0, 1000, SHAPE, np.uint16) for _ in range(2)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for array in arrays:
            file.write(array, metadata={"axes": "ZYX"})
    for number, array in enumerate(arrays):
        loader = FILES.format("spimreconstruction.filemap2", "false", mapping("a.ome.tif", series=number))
        np.testing.assert_array_equal(pixels_of(opened(tmp_path, loader)), array)


def test_time_points_lie_in_one_file_or_in_a_file_each(tmp_path, rng):
    array = rng.integers(0, 1000, (2, *SHAPE), np.uint16)
    tifffile.imwrite(tmp_path / "both.tif", array, imagej=True, metadata={"axes": "TZYX"})
    for time in (0, 1):
        tifffile.imwrite(tmp_path / f"t{time}.tif", array[time], imagej=True, metadata={"axes": "ZYX"})
    for files in (("both.tif", "both.tif"), ("t0.tif", "t1.tif")):
        listed = "".join(mapping(file, timepoint=time) for time, file in enumerate(files))
        loader = FILES.format("spimreconstruction.filemap2", "false", listed)
        for time in (0, 1):
            views = opened(tmp_path, loader, timepoints=(0, 1), timepoint=time)
            np.testing.assert_array_equal(pixels_of(views), array[time])


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (
            FILES.format("spimreconstruction.filemap2", "true", mapping("z&lt;00,01&gt;.tif")),
            r"z00\.tif does not exist, and is a plane of setup 0",
        ),
        (
            FILES.format("spimreconstruction.filemap2", "true", mapping("z&lt;0,1&gt;_c&lt;0,1&gt;.tif")),
            "names files of more than planes alone",
        ),
        (
            FILES.format("spimreconstruction.filemap2", "true", mapping("z&lt;0-999999999&gt;.tif")),
            "names no planes that could be counted",
        ),
        (FILES.format("spimreconstruction.filemap2", "false", mapping("a.czi")), "which only Bio-Formats reads"),
        (FILES.format("spimreconstruction.filemap2", "false", mapping("a.tif", series=3)), r"a\.tif:3 is not there"),
        (FILES.format("spimreconstruction.filemap2", "false", mapping("gone.tif")), r"gone\.tif does not exist"),
        (FILES.format("spimreconstruction.filemap2", "false", ""), "names no file for setup 0 at time point 0"),
    ],
)
def test_files_that_are_not_read_are_named_with_what_to_do(tmp_path, pixels, loader, words):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(InputError, match=words):
        opened(tmp_path, loader)


STACK = (
    '<ImageLoader format="spimreconstruction.stack.{}"><imagedirectory type="relative">raw</imagedirectory>'
    "<filePattern>{}</filePattern><layoutTimepoints>{}</layoutTimepoints><layoutChannels>0</layoutChannels>"
    "<layoutIlluminations>0</layoutIlluminations><layoutAngles>1</layoutAngles></ImageLoader>"
)


@pytest.mark.parametrize(
    ("kind", "pattern", "file"),
    [
        ("ij", "spim_TL{ttt}_Angle{a}.tif", "spim_TL004_Angle45.tif"),
        ("loci", "spim_TL{t}_Angle{aaa}.tif", "spim_TL4_Angle045.tif"),
        ("loci", "spim_TL{ttt}_Angle{a}.tif", "spim_TL4_Angle45.tif"),
    ],
)
def test_names_of_stacks_follow_from_a_pattern(tmp_path, pixels, kind, pattern, file):
    (tmp_path / "raw").mkdir()
    tifffile.imwrite(tmp_path / "raw" / file, pixels, imagej=True, metadata={"axes": "ZYX"})
    path = tmp_path / "dataset.xml"
    setups = {3: Setup(parts={"angle": 2})}
    names = {"angle": {2: "45"}}
    path.write_text(xml_of(STACK.format(kind, pattern, 1), setups, {(4, 3): [IDENTITY]}, timepoints=(4,), names=names))
    np.testing.assert_array_equal(pixels_of(open_views(path, no_data="none")), pixels)


def test_a_stack_may_hold_all_time_points(tmp_path, rng):
    (tmp_path / "raw").mkdir()
    array = rng.integers(0, 1000, (3, *SHAPE), np.uint16)
    tifffile.imwrite(tmp_path / "raw" / "a0.tif", array, imagej=True, metadata={"axes": "TZYX"})
    views = opened(tmp_path, STACK.format("ij", "a{a}.tif", 2), timepoints=(0, 1, 2), timepoint=2)
    np.testing.assert_array_equal(pixels_of(views), array[2])


def test_a_view_of_another_size_than_its_project_says_is_refused(tmp_path, pixels):
    write_n5_view(tmp_path / "d.n5", 0, 0, [pixels[:5]], [[1, 1, 1]])
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    with pytest.raises(InputError, match=r"has 6 x 7 x 8 pixels \(z, y, x\), and its file has 5 x 7 x 8"):
        opened(tmp_path, loader)


def test_only_what_is_read_of_a_view_is_looked_at(tmp_path, rng):
    """A tile of a turned view needs a part of its pixels alone."""
    pixels = rng.integers(0, 1000, (16, 16, 16), np.uint16)
    write_n5_view(tmp_path / "d.n5", 0, 0, [pixels], [[1, 1, 1]], block=(4, 4, 4))
    turn = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 15]], float)
    (tmp_path / "dataset.xml").write_text(
        xml_of(
            '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>',
            {0: Setup(size=(16, 16, 16))},
            {(0, 0): [turn]},
        )
    )
    views = open_views(tmp_path / "dataset.xml", no_data="none")
    for block in (tmp_path / "d.n5" / "setup0" / "timepoint0" / "s0").glob("3/*/*"):
        block.write_bytes(b"damaged")
    # z of the world goes against x of the pixels, x along z: the far blocks along x lie at its first planes.
    wanted = np.transpose(pixels[:, :, ::-1], (2, 1, 0))
    box = Box((8, 0, 0), (12, 4, 4))
    np.testing.assert_allclose(views.read(box)[0], wanted[box.slices], rtol=1e-6)
    with pytest.raises(InputError, match="is a damaged block"):
        views.read(Box((0, 0, 0), (4, 4, 4)))
