"""OME-Zarrs as they come: damaged metadata, pipes among the chunks, and sizes that are meant to harm."""

import json
import os
import random
import re
import shutil
import tracemalloc
import zlib

import numcodecs
import numpy as np
import pytest
import zarr
from zarr import codecs

from faults.malformed import mutated_json
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.reader import open_image
from napari_mvfusion.io.ome_zarr.unpacking import unpacked_bytes
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe
from napari_mvfusion.io.streaming import LeadingAxis

SHAPE = (6, 7, 8)


@pytest.fixture
def views_zarr(tmp_path, rng):
    psf = np.zeros((3, 3, 3), np.float32)
    psf[1, 1, 1] = 1
    views = [View(rng.random(SHAPE, np.float32), name, psf=psf, angle=float(name)) for name in ("0", "90")]
    path = tmp_path / "v.zarr"
    write_views_zarr(path, RegisteredViews(views))
    return path


def change(path, edit):
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def set_at(*keys, value):
    def edit(values):
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return edit


_SCALES = ("attributes", "ome", "multiscales")
DAMAGE = {
    "scales as a number": ("zarr.json", set_at(*_SCALES, value=7)),
    "no scales": ("zarr.json", set_at(*_SCALES, value=[])),
    "attributes as a list": ("zarr.json", set_at("attributes", value=[1])),
    "ome as text": ("zarr.json", set_at("attributes", "ome", value="x")),
    "axes without names": ("zarr.json", set_at(*_SCALES, 0, "axes", value=[{}, {}, {}, {}])),
    "axes twice": ("zarr.json", set_at(*_SCALES, 0, "axes", value=[{"name": a} for a in "zzyx"])),
    "an axis that is a number": ("zarr.json", set_at(*_SCALES, 0, "axes", value=[{"name": a} for a in (1, 2, 3, 4)])),
    "no level": ("zarr.json", set_at(*_SCALES, 0, "datasets", value=[])),
    "a level that is a number": ("zarr.json", set_at(*_SCALES, 0, "datasets", 0, "path", value=7)),
    "a level that is the image": ("zarr.json", set_at(*_SCALES, 0, "datasets", 0, "path", value="")),
    "a scale of text": (
        "zarr.json",
        set_at(*_SCALES, 0, "datasets", 0, "coordinateTransformations", value=[{"type": "scale", "scale": ["a"] * 4}]),
    ),
    "a scale of nothing": (
        "zarr.json",
        set_at(
            *_SCALES, 0, "datasets", 0, "coordinateTransformations", value=[{"type": "scale", "scale": [0, 0, 0, 0]}]
        ),
    ),
    "views as a number": ("zarr.json", set_at("attributes", "mvfusion", value={"views": 2})),
    "views without names": ("zarr.json", set_at("attributes", "mvfusion", value={"views": [{}, {}]})),
    "notes as text": ("zarr.json", set_at("attributes", "mvfusion", value="x")),
    "an angle of text": (
        "zarr.json",
        set_at("attributes", "mvfusion", "views", value=[{"name": "a", "angle": "left"}, {"name": "b"}]),
    ),
    "a shape of nothing": ("0/zarr.json", set_at("shape", value=[2, 0, 7, 8])),
    "a negative shape": ("0/zarr.json", set_at("shape", value=[2, -6, 7, 8])),
    "a type that is none": ("0/zarr.json", set_at("data_type", value="picture")),
    "complex pixels": ("0/zarr.json", set_at("data_type", value="complex64")),
    "no codecs": ("0/zarr.json", set_at("codecs", value=[])),
    "10^9 planes": ("0/zarr.json", set_at("shape", value=[2, 10**9, 7, 8])),
    "10^15 pixels": ("0/zarr.json", set_at("shape", value=[2, 10**5, 10**5, 10**5])),
    "chunks of no size": ("0/zarr.json", set_at("chunk_grid", "configuration", "chunk_shape", value=[0, 1, 1, 1])),
    "chunks of 16 GiB": (
        "0/zarr.json",
        set_at("chunk_grid", "configuration", "chunk_shape", value=[1, 1024, 2048, 2048]),
    ),
}


@pytest.mark.parametrize("case", DAMAGE.values(), ids=DAMAGE)
def test_damaged_metadata_is_named_in_one_line(views_zarr, case):
    name, edit = case
    change(views_zarr / name, edit)
    with pytest.raises(InputError, match=r"v\.zarr") as caught:
        open_views(views_zarr)
    assert "\n" not in str(caught.value)
    described = describe(views_zarr)
    assert "v.zarr" in described.samples[0].problems[0]


def test_chunks_of_no_size_are_damage_in_their_file(views_zarr):
    change(views_zarr / "0" / "zarr.json", set_at("chunk_grid", "configuration", "chunk_shape", value=[1, 0, 1, 1]))
    with pytest.raises(InputError, match=r"v\.zarr is damaged: 0/zarr\.json in it says that chunks have 1 x 0 x 1 x 1"):
        open_views(views_zarr)


NOT_READ = {
    "codec": ("0/zarr.json", set_at("codecs", value=[{"name": "bytes"}, {"name": "evil"}]), "not known here .*'evil'"),
    "type": ("0/zarr.json", set_at("data_type", value="bfloat16"), "not known here .*'bfloat16'"),
    "up": ("zarr.json", set_at(*_SCALES, 0, "datasets", 0, "path", value="../x/0"), r"a level outside .*\(\.\./x/0\)"),
    "self": ("zarr.json", set_at(*_SCALES, 0, "datasets", 0, "path", value="."), r"names itself as its level \('\.'\)"),
    "root": ("zarr.json", set_at(*_SCALES, 0, "datasets", 0, "path", value="/x/0"), r"a level outside .*\(/x/0\)"),
}


@pytest.mark.parametrize("case", NOT_READ.values(), ids=NOT_READ)
def test_what_is_not_read_is_not_called_damaged(views_zarr, case):
    name, edit, words = case
    change(views_zarr / name, edit)
    with pytest.raises(InputError, match=words) as caught:
        open_views(views_zarr)
    assert "damaged" not in str(caught.value)
    assert "copy it again" not in str(caught.value)


def test_complex_pixels_are_no_damage(tmp_path):
    zarr.create_array(tmp_path / "v.zarr", data=np.ones(SHAPE, np.complex64))
    with pytest.raises(InputError, match=r"v\.zarr holds values of type complex64: a view has numbers"):
        open_volume(tmp_path / "v.zarr")


@pytest.mark.parametrize("version", ["99", [1], "0.66"])
def test_a_version_that_nobody_knows_is_said(tmp_path, rng, version):
    path = tmp_path / "v.zarr"
    write_zarr(path, rng.random(SHAPE, np.float32), Grid(SHAPE))
    for known in ("0.1", "0.5", "0.6.dev3", "0.5.2"):
        change(path / "zarr.json", set_at("attributes", "ome", "version", value=known))
        assert not open_views(path, no_data="none").remarks
    change(path / "zarr.json", set_at("attributes", "ome", "version", value=version))
    for source in (path, [path]):
        (said,) = open_views(source, no_data="none").remarks
        assert f"is OME-Zarr of version '{version}', which is not known here" in said


def test_a_damaged_chunk_is_named_by_its_voxels(tmp_path, rng):
    path = tmp_path / "v.zarr"
    write_zarr(path, rng.random(SHAPE, np.float32), Grid(SHAPE))
    file = next(f for f in (path / "0" / "c").rglob("*") if f.is_file())
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(InputError, match=r"a chunk in its voxels z 2, y 0 to 6, x 5 to 7 cannot be read"):
        open_volume(path)[0][2, :, -3:]


def test_many_chunks_are_refused(tmp_path):
    group = zarr.create_group(tmp_path / "v.zarr", zarr_format=3)
    group.create_array("0", shape=(1000, 1000, 1000), chunks=(1, 1, 1), dtype="uint8")
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    group.attrs["ome"] = {
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    }
    with pytest.raises(InputError, match=r"has 1,000,000,000 chunks of 1 x 1 x 1 pixels"):
        open_volume(tmp_path / "v.zarr")


def test_a_psf_inside_that_is_no_psf_by_its_size_is_not_read(views_zarr):
    attributes = json.loads((views_zarr / "zarr.json").read_text())["attributes"]
    psf = views_zarr / attributes["mvfusion"]["views"][0]["psf"]
    change(psf / "zarr.json", set_at("shape", value=[999, 999, 999]))
    with pytest.raises(InputError, match=r"a PSF may have 8\.4 million"):
        open_views(views_zarr)


@pytest.mark.parametrize("place", ["zarr.json", "0/zarr.json", "chunk"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path, rng, place):
    path = tmp_path / "v.zarr"
    write_zarr(path, rng.random(SHAPE, np.float32), Grid(SHAPE))
    file = next(f for f in (path / "0" / "c").rglob("*") if f.is_file()) if place == "chunk" else path / place
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match=r"is a pipe, socket or device|is no OME-Zarr"):
        open_volume(path)[0][:]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.symlink_to(".git/annex/xx"), r"is a link to \.git/annex/xx, which does not exist"),
        (lambda file: file.symlink_to(file), "is a link that leads back to itself"),
        (lambda file: file.mkdir(), "is a folder, where a file is needed: copy it again"),
    ],
)
def test_a_chunk_that_is_there_and_cannot_be_read_is_no_chunk_of_zeros(tmp_path, rng, make, words):
    path = tmp_path / "v.zarr"
    write_zarr(path, rng.random(SHAPE, np.float32), Grid(SHAPE))
    file = next(f for f in (path / "0" / "c").rglob("*") if f.is_file())
    file.unlink()
    assert (open_volume(path)[0][:] == 0).all()  # nothing of this name: as where a chunk is all zeros
    make(file)
    with pytest.raises(InputError, match=f"{re.escape(str(file))} {words}"):
        open_volume(path)[0][:]


def test_a_recipe_that_is_none_is_left_out(tmp_path, rng):
    write_zarr(tmp_path / "v.zarr", rng.random(SHAPE, np.float32), Grid(SHAPE), recipe={"a": 1})
    assert read_recipe(tmp_path / "v.zarr") == {"a": 1}
    for value in ("x", {"recipe": 7}):
        change(tmp_path / "v.zarr" / "zarr.json", set_at("attributes", "mvfusion", value=value))
        assert read_recipe(tmp_path / "v.zarr") is None


@pytest.mark.long
def test_mutated_metadata_is_read_or_refused(views_zarr):
    """Nothing but our own error, in one line, whatever the metadata says."""
    for name in ("zarr.json", "0/zarr.json"):
        good = (views_zarr / name).read_text()
        for seed in range(60):
            (views_zarr / name).write_text(json.dumps(mutated_json(json.loads(good), random.Random(seed))))
            message = ""
            try:
                views = open_views(views_zarr)
                if views.grid.box.size < 1e5:
                    views.read(views.grid.box)
            except InputError as error:
                message = str(error)
            assert "\n" not in message
        (views_zarr / name).write_text(good)


OLD = {
    "blosc": numcodecs.Blosc(),
    "bz2": numcodecs.BZ2(),
    "gzip": numcodecs.GZip(),
    "lz4": numcodecs.LZ4(),
    "lzma": numcodecs.LZMA(),
    "zlib": numcodecs.Zlib(),
    "zstd": numcodecs.Zstd(),
}


def new_codec(name):
    """The same of the third format."""
    core = {"blosc": codecs.BloscCodec, "gzip": codecs.GzipCodec, "zstd": codecs.ZstdCodec}
    if name in core:
        return core[name]()
    others = pytest.importorskip("zarr.codecs.numcodecs")
    return getattr(others, {"zlib": "Zlib"}.get(name, name.upper()))()


def crc32c(data):
    """The checksum of an index of shards."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return (value ^ 0xFFFFFFFF).to_bytes(4, "little")


def image_of(path, pixels, zarr_format, **how):
    """An OME-Zarr with these pixels."""
    group = zarr.create_group(path, zarr_format=zarr_format)
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    steps = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    group.attrs["multiscales"] = [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}], "version": "0.4"}
    ]
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **how)[:] = pixels
    return path


def zeros_of(codec, size):
    """Zeros, as many streams or blocks one after the other where the codec reads that as one."""
    if codec in ("gzip", "bz2", "lzma"):
        return bytes(OLD[codec].encode(np.zeros(2**24, np.uint8))) * (size // 2**24)
    if codec == "zlib":
        made = zlib.compressobj(1)
        first = made.compress(bytes(2**20)) + made.flush(zlib.Z_FULL_FLUSH)
        block = made.compress(bytes(2**20)) + made.flush(zlib.Z_FULL_FLUSH)
        return first + block * (size // 2**20 - 1)
    if codec == "zstd":
        # A frame that does not say its size, of blocks that are one byte, many times.
        block = ((2**17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
        last = ((2**17) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
        return b"\x28\xb5\x2f\xfd\x00\x58" + block * (size // 2**17 - 1) + last
    return bytes(OLD[codec].encode(np.zeros(min(size, 2**30), np.uint8)))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("codec", OLD)
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_a_chunk_that_unpacks_to_more_than_its_pixels_is_refused_before_it_is(tmp_path, rng, codec, zarr_format):
    pixels = rng.integers(0, 2**16, (8, 64, 64)).astype(np.uint16)
    compressor = OLD[codec] if zarr_format == 2 else new_codec(codec)
    path = image_of(tmp_path / "v.zarr", pixels, zarr_format, chunks=(4, 64, 64), compressors=[compressor])
    np.testing.assert_array_equal(open_volume(path)[0][:], pixels)
    chunk = path / "0" / ("0.0.0" if zarr_format == 2 else "c/0/0/0")
    assert chunk.is_file()
    for size in (2**27, 2**29):
        bomb = zeros_of(codec, size)
        chunk.write_bytes(bomb)
        tracemalloc.start()
        with pytest.raises(
            InputError, match=r"v\.zarr.* (unpacks to [0-9,]+ bytes or more, and its|has [0-9,]+ bytes, and its) pixels"
        ):
            open_volume(path)[0][:]
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()


@pytest.mark.parametrize("codec", OLD)
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_a_chunk_in_a_shard_is_looked_at_too(tmp_path, rng, codec):
    pixels = rng.integers(0, 2**16, (8, 64, 64)).astype(np.uint16)
    how = {"chunks": (4, 64, 64), "shards": (8, 64, 64), "compressors": [new_codec(codec), codecs.Crc32cCodec()]}
    path = image_of(tmp_path / "v.zarr", pixels, 3, **how)
    volume = open_volume(path)[0]
    np.testing.assert_array_equal(volume[:], pixels)
    np.testing.assert_array_equal(volume[:3, 1:2], pixels[:3, 1:2])
    bomb = zeros_of(codec, 2**26) + bytes(4)
    index = np.array([[0, len(bomb)], [2**64 - 1, 2**64 - 1]], "<u8").tobytes()
    chunk = path / "0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(bomb + index + crc32c(index))
    for part in (slice(None), slice(0, 3)):
        with pytest.raises(InputError, match=r"unpacks to [0-9,]+ bytes or more|has [0-9,]+ bytes, and its pixels"):
            volume[part]


def test_what_is_compressed_twice_over_is_refused(tmp_path, rng):
    pixels = rng.integers(0, 2**16, (8, 8, 8)).astype(np.uint16)
    twice = image_of(tmp_path / "a.zarr", pixels, 3, compressors=[codecs.GzipCodec(), codecs.ZstdCodec()])
    hidden = image_of(tmp_path / "b.zarr", pixels, 2, filters=[numcodecs.Zlib()], compressors=[numcodecs.Zstd()])
    raw = numcodecs.LZMA(format=3, filters=[{"id": 0x21, "dict_size": 2**16}])
    untold = image_of(tmp_path / "c.zarr", pixels, 2, compressors=[raw])
    for path, words in ((twice, "compressed twice over"), (hidden, "compressed twice over"), (untold, "raw LZMA")):
        with pytest.raises(InputError, match=rf"{path.name} is {words}|{path.name} is compressed as {words}"):
            open_volume(path)


def test_shards_are_read_and_a_file_larger_than_its_pixels_is_not(tmp_path, rng):
    path = tmp_path / "v.zarr"
    pixels = rng.integers(0, 2**16, (8, 8, 8)).astype(np.uint16)
    write_zarr(path, pixels, Grid((8, 8, 8)))
    shutil.rmtree(path / "0")
    array = zarr.create_array(path / "0", shape=(8, 8, 8), chunks=(2, 4, 4), shards=(8, 8, 8), dtype="u2")
    array[:] = pixels
    volume = open_volume(path)[0]
    np.testing.assert_array_equal(volume[:], pixels)
    np.testing.assert_array_equal(volume[3:5, 1:2], pixels[3:5, 1:2])
    chunk = path / "0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes() + bytes(2**20))
    with pytest.raises(InputError, match="bytes, and its pixels 1,024; copy it again"):
        volume[:]


def test_streams_that_are_damaged_are_left_to_their_codec():
    for codec in OLD:
        assert unpacked_bytes(codec, np.zeros(0, np.uint8), 10) is None
        if codec not in ("blosc", "lz4"):
            assert unpacked_bytes(codec, np.frombuffer(b"no stream at all", np.uint8), 10) is None
            whole = np.frombuffer(bytes(OLD[codec].encode(np.arange(99, dtype=np.uint8))), np.uint8)
            assert unpacked_bytes(codec, whole, 1000) == 99


def bare_array(path):
    zarr.create_array(path, shape=(2, *SHAPE), chunks=(2, *SHAPE), dtype="u2")[:] = 1


def xarray_store(path):
    group = zarr.create_group(path)
    group.create_array("signal", shape=SHAPE, dtype="u2", dimension_names=("z", "y", "x"))
    group.create_array("z", shape=SHAPE[:1], dtype="f4", dimension_names=("z",))


def group_of_arrays(path):
    zarr.create_group(path).create_array("raw", shape=SHAPE, dtype="u2")


def several_images(path):
    zarr.create_group(path)
    for name in ("left", "right"):
        write_zarr(path / name, np.ones(SHAPE, np.float32), Grid(SHAPE))


def plate(path):
    zarr.create_group(path).attrs["ome"] = {"plate": {"wells": [{"path": "A/1"}]}}


def without_multiscales(path):
    write_zarr(path, np.ones(SHAPE, np.float32), Grid(SHAPE))
    change(path / "zarr.json", lambda values: values["attributes"]["ome"].pop("multiscales"))


def well(path):
    # By its name it would be its own image.
    zarr.create_group(path).attrs["ome"] = {"well": {"images": [{"path": "."}, {"path": "0"}]}}


def without_axes(path):
    group = zarr.create_group(path)
    group.create_array("0", shape=SHAPE, dtype="u2")
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": [{"path": "0"}]}]}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            well,
            "is a well of a plate, and none of its images is there: copy it again, or name one, as PLATE.zarr/A/1/0",
        ),
        (
            without_multiscales,
            r"has no multiscales entry .*: save it again, or name one of its arrays, as .*v\.zarr/0$",
        ),
        (without_axes, "has no axes: a volume needs z, y and x"),
        (bare_array, "is a bare zarr array of 4 axes, and does not say which they are: save it as OME-Zarr"),
        (group_of_arrays, r"is a group of zarr arrays, and no OME-Zarr: name one of its arrays, as .*v\.zarr/raw$"),
        (xarray_store, r"is an xarray store, and no OME-Zarr: name one of its arrays, as .*v\.zarr/signal$"),
        (several_images, r"holds several images: name one of them, as .*v\.zarr/left or .*v\.zarr/right"),
        (
            plate,
            "is a plate, and none of its wells is there: copy it again, or name one of its images, as PLATE.zarr/A/1/0",
        ),
    ],
)
def test_a_zarr_that_is_no_image_is_called_what_it_is(tmp_path, make, words):
    make(tmp_path / "v.zarr")
    for attempt in (open_volume, open_views):
        with pytest.raises(InputError, match=rf"v\.zarr {words}") as caught:
            attempt(tmp_path / "v.zarr")
        assert "Error" not in str(caught.value)
    (sample,) = describe(tmp_path / "v.zarr").samples
    assert not sample.readable


@pytest.mark.parametrize(("axes", "order"), [(None, "zyx"), ("xyz", "xyz"), ("TZYX", "tzyx")])
def test_a_bare_array_opens_where_its_axes_are_clear(tmp_path, rng, axes, order):
    sizes = dict(zip("tzyx", (1, *SHAPE), strict=True))
    pixels = rng.integers(0, 99, [sizes[axis] for axis in order]).astype(np.uint16)
    zarr.create_array(tmp_path / "v.zarr", data=pixels, dimension_names=axes)
    (view,) = open_views([tmp_path / "v.zarr"], no_data="none").views
    expected = pixels if order == "zyx" else pixels.T if order == "xyz" else pixels[0]
    np.testing.assert_array_equal(np.asarray(view.data), expected)
    np.testing.assert_array_equal(view.data[1:3, 2, 4:], expected[1:3, 2, 4:])
    assert describe([tmp_path / "v.zarr"]).samples[0].voxel_size_um is None


def test_axes_go_by_their_type_in_any_order(tmp_path, rng):
    pixels = rng.integers(0, 99, (5, 2, 3, 4, 6)).astype(np.uint16)
    group = zarr.create_group(tmp_path / "v.zarr")
    group.create_array("0", data=pixels)
    axes = [("width", "space"), ("T", "time"), ("wave", "channel"), ("depth", "space"), ("y", "space")]
    scale = {"type": "scale", "scale": [0.5, 0.25, 1, 2, 0.25]}
    units = {"space": {"unit": "nanometer"}, "time": {"unit": "day"}}
    shown = [{"name": name, "type": kind} | units.get(kind, {}) for name, kind in axes]
    image = {"axes": shown, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    stored = open_stored(tmp_path / "v.zarr")
    # Those that are not called z, y and x are what is left of these, in this order.
    assert (stored.leading, stored.shape) == ({"t": 2, "c": 3}, (5, 6, 4))
    np.testing.assert_allclose(stored.size_um, (0.0005, 0.00025, 0.002))
    assert stored.time_step == 21600.0
    np.testing.assert_array_equal(np.asarray(stored.volume(1, 2)), pixels[:, 1, 2].transpose(0, 2, 1))


def test_one_channel_of_an_image_is_chosen(tmp_path, rng):
    pixels = rng.integers(0, 99, (2, 3, 4, 5, 6)).astype(np.uint16)
    axes = [LeadingAxis("t", 2, 1.0), LeadingAxis("c", 3, 1.0)]
    write_zarr(tmp_path / "v.zarr", pixels, Grid((4, 5, 6)), leading=axes)
    (view,) = open_views(tmp_path / "v.zarr", timepoint=1, channel=2, no_data="none").views
    np.testing.assert_array_equal(np.asarray(view.data), pixels[1, 2])
    with pytest.raises(InputError, match=r"v\.zarr has 3 channels: --channel 3 is not there"):
        open_views(tmp_path / "v.zarr", timepoint=1, channel=3)


def test_a_folder_of_images_is_told_apart_by_their_names(tmp_path, rng):
    for angle in (0, 90):
        grid = Grid((8, 16, 16), (1.0, 1.0, 1.0), (0.0, float(angle > 0), 0.0))
        write_zarr(tmp_path / f"spim_angle_{angle}.ome.zarr", rng.random((8, 16, 16), np.float32), grid)
    views = open_views(tmp_path, no_data="none")
    assert (views.names, views.grid.shape) == (("0", "90"), (8, 17, 16))
    (tmp_path / "spim_angle_90.ome.zarr").rename(tmp_path / "right.ome.zarr")
    with pytest.raises(InputError, match=r"right\.ome\.zarr seems to be a view, but its name says no angle"):
        open_views(tmp_path)


def test_series_of_images_are_named_in_their_order(tmp_path):
    zarr.create_group(tmp_path / "v.zarr").attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for name in ("a", "b", "OME"):
        write_zarr(tmp_path / "v.zarr" / name, np.ones(SHAPE, np.float32), Grid(SHAPE))
    zarr.create_group(tmp_path / "v.zarr" / "OME", overwrite=True).attrs["ome"] = {"series": ["b", "a", "../c"]}
    with pytest.raises(InputError, match=r"holds several images: name one of them, as .*v\.zarr/b or .*v\.zarr/a$"):
        open_volume(tmp_path / "v.zarr")


def uint16_image(path, zarr_format=3, **how):
    group = zarr.create_group(path, zarr_format=zarr_format)
    pixels = np.arange(8 * 16 * 16, dtype=np.uint16).reshape(8, 16, 16)
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(4, 8, 8), **how)[:] = pixels
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    scale = {"type": "scale", "scale": [1, 1, 1]}
    scales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]
    ome = {"version": "0.5" if zarr_format == 3 else "0.4", "multiscales": scales}
    group.attrs.update({"ome": ome} if zarr_format == 3 else {"multiscales": [scales[0] | {"version": "0.4"}]})
    return pixels


@pytest.mark.parametrize(("zarr_format", "name"), [(2, ".zarray"), (3, "zarr.json")])
@pytest.mark.parametrize("value", [-1, 70_000, 1.5, "x", "NaN", [1, 2]])
def test_a_fill_value_that_does_not_fit_the_pixels_is_no_damage_and_named(tmp_path, zarr_format, name, value):
    path = tmp_path / "v.zarr"
    uint16_image(path, zarr_format)
    change(path / "0" / name, set_at("fill_value", value=value))
    with pytest.raises(InputError) as refused:
        open_image(path)
    said = f"{path / '0' / name} gives pixels that were never written the value {json.dumps(value)} (fill_value), which"
    assert str(refused.value) == f"{said} uint16 cannot hold: correct it, 0 is usual"


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ([0, 8, 8], "says that the chunks in its shards have 0 x 8 x 8 pixels, and none can have less than 1"),
        ([-4, 8, 8], "have -4 x 8 x 8 pixels"),
        ([3, 8, 8], "says that shards of 8 x 16 x 16 pixels hold chunks of 3 x 8 x 8, which do not fill them"),
        ([8, 8], "hold chunks of 8 x 8, which do not fill them"),
        (["a", 8, 8], "names no sizes of the chunks in its shards"),
    ],
)
def test_chunks_that_fit_no_shard_are_named(tmp_path, inner, words):
    path = tmp_path / "v.zarr"
    uint16_image(path, shards=(8, 16, 16))
    change(path / "0/zarr.json", set_at("codecs", 0, "configuration", "chunk_shape", value=inner))
    with pytest.raises(InputError) as refused:
        open_image(path)
    assert str(refused.value).startswith(str(path / "0/zarr.json"))
    assert words in str(refused.value)
    assert "Error" not in str(refused.value)


def test_a_level_behind_a_link_is_read_and_where_it_leads_is_told(tmp_path):
    """As facilities keep large data: the image here, its pixels on another disk."""
    path, far = tmp_path / "v.zarr", tmp_path / "disk" / "pixels"
    pixels = uint16_image(path)
    far.parent.mkdir()
    (path / "0").rename(far)
    (path / "0").symlink_to(far)
    (told,) = open_stored(path).notes
    assert told == f"{path} keeps its pixels behind a link, in {far}"
    (sample,) = describe(path).samples
    assert told in sample.said
    assert told not in sample.problems
    np.testing.assert_array_equal(open_views(path).views[0].data[:], pixels)
    # One that stays inside is nobody's business.
    (path / "0").unlink()
    far.rename(path / "data")
    (path / "0").symlink_to("data")
    assert open_stored(path).notes == ()


@pytest.mark.parametrize("case", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_without_the_words_of_the_language(views_zarr, case):
    name, edit = case
    change(views_zarr / name, edit)
    with pytest.raises(InputError) as caught:
        open_views(views_zarr)
    assert not any(word in str(caught.value) for word in ("KeyError", "TypeError", "AttributeError", "IndexError"))


def test_levels_of_a_series_have_its_axes_and_views_are_no_series(tmp_path, views_zarr, rng):
    data = rng.random((2, 8, 90, 40), np.float32)
    write_zarr(tmp_path / "movie.zarr", data, Grid(data.shape[1:]), leading=[LeadingAxis("t", 2, 30.0)])
    image = open_image(tmp_path / "movie.zarr")
    fine, *coarse = image.levels()
    assert image.is_series
    assert len(coarse) == len(image.attributes["ome"]["multiscales"][0]["datasets"]) - 1 > 0
    np.testing.assert_array_equal(fine[:], data)
    assert {level.shape[0] for level in coarse} == {2}
    assert not open_image(views_zarr).is_series
