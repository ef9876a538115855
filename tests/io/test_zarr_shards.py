"""Many chunks become few files, which hold the same pixels, whoever reads them."""

import hashlib
import json

import dask.array as da
import ngff_zarr
import numpy as np
import pytest
import zarr

from napari_mvfusion.data.geometry import Box, Grid, triple
from napari_mvfusion.io.formats import growing_format
from napari_mvfusion.io.ome_zarr.shards import crc32c, is_sharded, shard_shape
from napari_mvfusion.io.ome_zarr.writer import damaged_level, write_zarr
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.io.streaming import LeadingAxis

CHUNK = (4, 4, 4)
# 9 x 9 x 8 chunks, of which those at the far borders are cut.
GRID = Grid((34, 35, 32), (2.0, 0.5, 0.5), (3.0, 4.0, 5.0))
RECIPE = {"method": "test"}
# As thin as few voxels can be in so many chunks of a file.
THIN = Grid((2, 2048, 1088))


def files_of(path):
    return [each for each in path.rglob("*") if each.is_file() and each.name != "zarr.json"]


def grown(folder, pixels, grid=GRID, chunk=CHUNK):
    """A volume that was filled tile by tile and finished."""
    growing = growing_format().grow(folder / "tiles.zarr", grid, chunk, name="v.zarr", known=None)
    for z in range(0, grid.shape[0], 8):
        box = Box((z, 0, 0), triple((min(z + 8, grid.shape[0]), *grid.shape[1:])))
        growing.write(box, pixels[box.slices])
    growing.finish(folder / "v.zarr", RECIPE)
    return folder / "v.zarr"


@pytest.fixture
def pixels(rng):
    values = rng.random(GRID.shape).astype(np.float32)
    # A shard of which only some chunks are stored, and one of which none is.
    values[:16, :16, :20] = 0
    return values


def test_a_grown_volume_of_many_chunks_is_in_few_files_with_its_levels(tmp_path, pixels):
    path = grown(tmp_path, pixels)
    level = zarr.open_array(path / "0", mode="r")
    assert (level.chunks, level.shards) == (CHUNK, (16, 16, 16))
    assert np.array_equal(level[:], pixels)
    assert len(files_of(path / "0")) == 3 * 3 * 2 - 1, "nothing is stored of a shard of zeros"
    assert damaged_level(path) is None
    volume, grid = open_volume(path)
    assert np.array_equal(np.asarray(volume[3:20, 5:30, 7:25]), pixels[3:20, 5:30, 7:25])
    assert grid == GRID
    assert read_recipe(path) == RECIPE


def test_its_chunks_are_those_that_zarr_would_have_written(tmp_path, pixels):
    """The file of a shard, byte by byte: zarr itself writes the chunks of one in another order."""
    path = grown(tmp_path, pixels)
    level = zarr.open_array(path / "0", mode="r")
    alike = zarr.create_array(
        tmp_path / "alike.zarr",
        shape=level.shape,
        dtype=level.dtype,
        chunks=level.chunks,
        shards=level.shards,
        compressors=level.compressors,
    )
    alike[:] = pixels
    for file in files_of(path / "0"):
        ours, theirs = file.read_bytes(), (tmp_path / "alike.zarr" / file.relative_to(path / "0")).read_bytes()
        assert len(ours) == len(theirs)
        assert chunks_in(ours) == chunks_in(theirs)


def chunks_in(shard):
    """Digests of the stored chunks of a shard of 64, in their order; "" for one that is not stored."""
    index = np.frombuffer(shard[-(64 * 16 + 4) : -4], "<u8").reshape(64, 2).tolist()
    return [hashlib.sha256(shard[at : at + size]).hexdigest() if at < 2**63 else "" for at, size in index]


def test_finishing_twice_is_harmless(tmp_path, pixels):
    grown(tmp_path, pixels)
    known = hashlib.sha256((tmp_path / "tiles.zarr" / "0" / "zarr.json").read_bytes()).hexdigest()
    again = growing_format().grow(tmp_path / "tiles.zarr", GRID, CHUNK, name="v.zarr", known=known)
    again.finish(tmp_path / "v.zarr", RECIPE)
    assert np.array_equal(zarr.open_array(tmp_path / "v.zarr" / "0", mode="r")[:], pixels)


def test_a_volume_of_few_chunks_stays_as_it_was(tmp_path, rng):
    pixels = rng.random((32, 32, 32)).astype(np.float32)
    path = grown(tmp_path, pixels, Grid(pixels.shape))
    assert zarr.open_array(path / "0", mode="r").shards is None
    assert len(files_of(path / "0")) == 512
    assert not (tmp_path / "tiles.zarr").exists(), "nothing is written twice"


def test_a_large_volume_has_fewer_than_a_thousand_files():
    shape, files = (2048, 2048, 2048), 0
    assert is_sharded(shape, (64, 64, 64))
    while max(shape) > 64:
        files += int(np.prod([-(-n // s) for n, s in zip(shape, shard_shape(shape, (64, 64, 64)), strict=True)]))
        shape = triple(n // 2 for n in shape)
    assert files < 1000


@pytest.mark.parametrize("times", [1, 2])
def test_others_read_what_is_written_in_one_go(tmp_path, rng, times):
    leading = [LeadingAxis("t", times)] if times > 1 else []
    pixels = rng.integers(1, 100, (*([times] if leading else []), *THIN.shape)).astype(np.uint16)
    write_zarr(tmp_path / "v.zarr", pixels, THIN, leading=leading)
    assert len(files_of(tmp_path / "v.zarr" / "0")) == times * 8 * 5
    assert np.array_equal(da.from_zarr(str(tmp_path / "v.zarr" / "0")).compute(), pixels)
    levels = ngff_zarr.from_ngff_zarr(tmp_path / "v.zarr", validate=True)
    assert np.array_equal(levels.images[0].data.compute(), pixels)
    assert levels.images[1].data.shape[-3:] == (2, 1024, 544)
    assert damaged_level(tmp_path / "v.zarr") is None


def test_levels_of_shards_are_made_of_the_finer_ones(tmp_path, pixels):
    path = grown(tmp_path, pixels)
    described = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert [each["path"] for each in described] == ["0"], "no side is longer than 64 voxels"
    thin = grown(tmp_path / "thin", np.ones(THIN.shape, np.float32), THIN, (2, 64, 64))
    group = zarr.open_group(thin, mode="r")
    assert group["1"].shards == (2, 256, 256)
    assert (group["1"][:] == 1).all()
    assert group["5"].shards is None, "one chunk is all of it"


def test_the_checksum_is_that_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
