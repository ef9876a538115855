"""HDF5 files as h5py writes them, in every place where volumes are opened."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import run
from napari_mvfusion.data.events import TileDone
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import FORMATS, format_of, open_stored, place_of
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe
from napari_mvfusion.io.psf_files import read_psf
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation import light_sheet_psf
from napari_mvfusion.simulation.bead_volumes import bead_volume

SHAPE = (9, 30, 31)
SIZE = (2.0, 0.5, 0.25)


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(90, SHAPE).astype(np.uint16)


def write(path: Path, name: str, values: np.ndarray, **attributes: object) -> Path:
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(name, data=values, chunks=True, compression="gzip")
        dataset.attrs.update(attributes)
    return path


def test_a_volume_is_read_lazily_with_its_voxel_size(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.h5", "t0/channel0", pixels, element_size_um=SIZE)
    for named in (path, f"{path}:/t0/channel0", f"{path}:t0", Path(f"{path}:/t0/channel0/")):
        volume, grid = open_volume(named)
        assert not isinstance(volume, np.ndarray)
        assert (volume.shape, volume.dtype, grid.voxel_size_um) == (SHAPE, np.uint16, SIZE)
        np.testing.assert_array_equal(volume[:], pixels)
    assert place_of(f"{path}:/t0/channel0") == path


@pytest.mark.parametrize(
    "index",
    [
        np.s_[2:5, 3:20, 30:],
        np.s_[-2:],
        np.s_[4],
        np.s_[..., 7],
        np.s_[1:8:3, :, -5:-1],
        np.s_[:, 2, 3:4],
        np.s_[0:0],
    ],
    ids=str,
)
def test_any_part_is_what_numpy_gives(tmp_path: Path, pixels: np.ndarray, index: object) -> None:
    volume, _ = open_volume(write(tmp_path / "a.h5", "data", pixels))
    np.testing.assert_array_equal(volume[index], pixels[index])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[index], pixels[index])


def test_of_several_datasets_one_must_be_named(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "two.h5", "left", pixels)
    write(path, "deep/right", pixels[::-1])
    write(path, "table", np.zeros((3, 2)))
    with pytest.raises(
        InputError, match=rf"several datasets: name one of them, as {path}:/deep/right or {path}:/left$"
    ):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(f"{path}:/deep")[0][:], pixels[::-1])
    with pytest.raises(InputError, match="holds nothing called '/middle'"):
        open_volume(f"{path}:/middle")
    with pytest.raises(InputError, match=r"nowhere\.h5 does not exist"):
        open_volume(f"{tmp_path}/nowhere.h5:/left")


def test_axes_before_z_are_those_that_are_said(tmp_path: Path, pixels: np.ndarray) -> None:
    series = np.stack([pixels, pixels + 1, pixels + 2])
    tags = '{"axes": [{"key": "t"}, {"key": "z"}, {"key": "y"}, {"key": "x"}]}'
    stored = open_stored(write(tmp_path / "tags.h5", "data", series, axistags=tags, element_size_um=SIZE))
    assert (stored.leading, stored.shape, stored.voxel_size_um) == ({"t": 3}, SHAPE, SIZE)
    np.testing.assert_array_equal(stored.volume(2)[3:5], series[2, 3:5])
    labelled = write(tmp_path / "labels.h5", "data", series)
    with h5py.File(labelled, "a") as file:
        for dimension, label in zip(file["data"].dims, "czyx", strict=True):
            dimension.label = label
    np.testing.assert_array_equal(open_volume(labelled, channel=1)[0][:], series[1])
    with pytest.raises(InputError, match="has 3 channels: choose one"):
        open_volume(labelled)
    with pytest.raises(InputError, match="does not say which axes are z, y and x"):
        open_volume(write(tmp_path / "unsaid.h5", "data", series))
    turned = '{"axes": [{"key": "x"}, {"key": "y"}, {"key": "z"}]}'
    with pytest.raises(InputError, match="z, y and x are needed, in this order"):
        open_volume(write(tmp_path / "turned.h5", "data", pixels, axistags=turned))
    alone = open_volume(write(tmp_path / "alone.h5", "data", pixels[None, None]))[0]
    np.testing.assert_array_equal(alone[:], pixels)


def test_what_is_hostile_or_damaged_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    good = write(tmp_path / "good.h5", "data", pixels)
    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file["out"] = h5py.ExternalLink(str(good), "/data")
    with pytest.raises(InputError, match="leads into another file"):
        open_volume(f"{path}:/out")
    with pytest.raises(InputError, match="holds no dataset"):
        open_volume(path)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/out")
        file["inside"] = pixels
        file["alias"] = h5py.SoftLink("/inside")
    with pytest.raises(InputError, match="leads into another file"):
        open_volume(f"{path}:/soft")
    np.testing.assert_array_equal(open_volume(f"{path}:/alias")[0], pixels)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(SHAPE, np.uint16)
        layout[:] = h5py.VirtualSource(str(good), "data", SHAPE)
        file.create_virtual_dataset("data", layout)
    with pytest.raises(InputError, match="keeps its pixels in other files"):
        open_volume(tmp_path / "virtual.h5")
    with h5py.File(tmp_path / "promise.h5", "w") as file:
        file.create_dataset("data", (10**6, 10**4, 10**4), np.uint16, chunks=(1, 64, 64))
    with pytest.raises(InputError, match=r"promises .* GiB of pixels and holds 0\.0 MiB"):
        open_volume(tmp_path / "promise.h5")
    with h5py.File(tmp_path / "plane.h5", "w") as file:
        data = file.create_dataset("data", (2, 2**13, 2**15), np.uint16, chunks=(1, 2**10, 2**10))
        data[:, : 2**10, : 2**10] = 1
    with pytest.raises(InputError, match=r"promises 1\.0 GiB of pixels and holds 4\.0 MiB"):
        open_volume(tmp_path / "plane.h5")
    with h5py.File(tmp_path / "chunk.h5", "w") as file:
        file.create_dataset("data", (2**10, 2**10, 2**10), np.uint16, chunks=(2**9, 2**10, 2**10), compression="gzip")
    with pytest.raises(InputError, match=r"chunks of 1\.0 GiB"):
        open_volume(tmp_path / "chunk.h5")
    content = good.read_bytes()
    for end in (0, 1, 8, 100, len(content) // 2):
        (tmp_path / "cut.h5").write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.h5"):
            open_volume(tmp_path / "cut.h5")


def test_a_large_chunk_is_decoded_once_for_all_its_boxes(tmp_path: Path, rng: np.random.Generator) -> None:
    """Its bytes are spoilt behind the back of the reader, who would notice if it decoded them again."""
    pixels = rng.integers(0, 99, (40, 200, 200)).astype(np.uint16)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=pixels, chunks=(20, 200, 200), compression="gzip")
        places = [data.id.get_chunk_info(number) for number in range(2)]
    volume, _ = open_volume(path)
    part = volume[2:4, 5:9, 7:30]
    np.testing.assert_array_equal(part, pixels[2:4, 5:9, 7:30])
    part[...] = 0
    before = path.stat()
    with path.open("r+b") as file:
        for place in places:
            file.seek(place.byte_offset)
            file.write(bytes(place.size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.testing.assert_array_equal(volume[1:9, :, ::3], pixels[1:9, :, ::3])
    np.testing.assert_array_equal(volume[3], pixels[3])
    with pytest.raises(InputError, match="is damaged"):
        volume[25]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(InputError, match="is damaged"):
        volume[3]


@pytest.mark.long
def test_a_stored_chunk_that_cannot_be_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    shape = (2, 1024, 1024)
    declared = 2 * int(np.prod(shape))
    stored = {"too long": bytes(2 * declared), "bomb": zlib.compress(bytes(600 * 2**20), 1)}
    words = {"too long": r"is stored in 8,388,608 bytes", "bomb": "unpacks to more than its 4,194,304 bytes"}
    for name, content in stored.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            data = file.create_dataset("data", shape, np.uint16, chunks=shape, compression="gzip")
            data.id.write_direct_chunk((0, 0, 0), content)
        with pytest.raises(InputError, match=words[name]):
            open_volume(tmp_path / f"{name}.h5")[0][0]
    with h5py.File(tmp_path / "twice.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(shape)
        made.set_deflate(4)
        made.set_deflate(4)
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, h5py.h5s.create_simple(shape), made)
    with pytest.raises(InputError, match="compressed twice over"):
        open_volume(tmp_path / "twice.h5")


def test_a_dataset_may_be_called_like_a_file(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.h5", "left.h5", pixels)
    np.testing.assert_array_equal(open_volume(f"{path}:/left.h5")[0][:], pixels)
    assert place_of(f"{path}:/left.h5") == path
    assert place_of(f"{tmp_path}/none.hdf5:/left.h5") == tmp_path / "none.hdf5"


@pytest.mark.parametrize("size", [(0.0, 1.0, 1.0), (1.0, np.nan, 1.0), (1.0, 2.0), "unknown", (1.0,) * 9], ids=str)
def test_a_voxel_size_that_cannot_be_is_said(tmp_path: Path, pixels: np.ndarray, size: object) -> None:
    path = write(tmp_path / "a.h5", "data", pixels)
    with h5py.File(path, "a") as file:
        file["data"].attrs["element_size_um"] = size
    views = open_views([path])
    assert views.grid.voxel_size_um == (1.0, 1.0, 1.0)
    assert any("element_size_um" in note and "is not used" in note for note in views.notes)
    assert any("element_size_um" in problem for problem in describe(path).samples[0].problems)
    assert open_views([path], voxel_size_um=SIZE).notes == ()


def test_words_and_pairs_of_numbers_are_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "complex.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(SHAPE, np.complex64)
    with pytest.raises(InputError, match="values of type complex64"):
        open_volume(f"{path}:/data")


@pytest.fixture
def folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    """Two views with their PSFs and the truth, by the scheme of names, all of them HDF5."""
    folder = tmp_path / "views"
    folder.mkdir()
    for angle in (0, 90):
        write(folder / f"fly_view_{angle}.h5", "data", pixels + angle, element_size_um=SIZE)
        psf = light_sheet_psf(angle, axial_fwhm=3, lateral_fwhm=1.5, shape=(7, 7, 7))
        write(folder / f"psf_{angle}.h5", "psf", psf.astype(np.float32), element_size_um=SIZE)
    write(folder / "fly_groundtruth.h5", "data", pixels, element_size_um=SIZE)
    return folder


def test_a_folder_of_them_is_a_sample(folder: Path) -> None:
    (sample,) = describe(folder).samples
    assert [view.name for view in sample.views] == ["0", "90"]
    assert all(view.psf_shape is not None for view in sample.views)
    assert (sample.has_truth, sample.voxel_size_um) == (True, SIZE)
    # Both views have one PSF, which is long along z.
    (said,) = sample.problems
    assert said.startswith("view '90' looks along y by its angle of 90 degrees, but its PSF is long along z")
    assert read_psf(folder / "psf_0.h5").voxel_size_um == SIZE


def test_the_command_line_fuses_measures_and_repeats_them(folder: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    out = tmp_path / "fused.zarr"
    assert "fly" in run("info", folder).stdout
    run("fuse", folder, "--method", "ebmd", "--iterations", "2", "-o", out)
    run("evaluate", out, "--truth", folder / "fly_groundtruth.h5", "--views", folder)
    again = tmp_path / "again.zarr"
    run("fuse", "--recipe", f"{out}.recipe.json", "-o", again)
    np.testing.assert_array_equal(open_volume(again)[0][:], open_volume(out)[0][:])
    # Datasets of one file, each a view.
    both = write(tmp_path / "both.h5", "left", pixels, element_size_um=SIZE)
    write(both, "right", pixels + 2, element_size_um=SIZE)
    run("fuse", f"{both}:/left", f"{both}:/right", "--method", "average", "-o", tmp_path / "mean.tif")
    np.testing.assert_allclose(np.asarray(open_volume(tmp_path / "mean.tif")[0][:]), pixels + 1.0)
    assert "31" in run("info", f"{both}:/left").stdout
    refused = run("fuse", f"{both}:/left", f"{both}:/right", "--method", "average", "-o", both, code=3)
    assert "both.h5" in refused.stderr


def test_the_command_line_writes_them_and_goes_on_where_it_was_stopped(folder: Path, tmp_path: Path) -> None:
    common = ["fuse", folder, "--method", "average", "--tile", "4,16,16"]
    run(*common, "-o", tmp_path / "whole.zarr")
    whole = np.asarray(open_volume(tmp_path / "whole.zarr")[0][:])
    out = tmp_path / "fused.h5"
    events = fuse_events(open_views(folder), make_method("average"), out=f"{out}:/left", tile=(4, 16, 16))
    while not isinstance(next(events), TileDone):
        pass
    events.close()
    assert (tmp_path / "fused.h5.partial").is_dir()
    for other in (out, f"{out}:/right"):
        refused = run(*common, "-o", other, "--resume", code=3).stderr
        assert f"writes {out}:/left" in " ".join(refused.split())
    said = run(*common, "-o", f"{out}:/left", "--resume").stdout
    assert said.splitlines() == [f"{out}:/left", f"{out}.recipe.json"]
    assert sorted(path.name for path in tmp_path.glob("fused*")) == ["fused.h5", "fused.h5.recipe.json"]
    volume, grid = open_volume(f"{out}:/left")
    np.testing.assert_array_equal(volume[:], whole)
    assert grid.voxel_size_um == SIZE
    recipe = json.loads((tmp_path / "fused.h5.recipe.json").read_text())
    assert read_recipe(out) == recipe
    assert run(*common, "-o", f"{out}:/left", "--resume").stdout.endswith("nothing is left to do\n")
    assert "exists already" in run(*common, "-o", out, code=3).stderr
    assert "is not in it" in run(*common, "-o", f"{out}:/right", "--resume", code=3).stderr


@pytest.mark.parametrize("named", ["own.h5", "own.h5:/fused", "own.h5:/raw/stuff"])
def test_what_else_a_file_holds_is_never_lost(folder: Path, tmp_path: Path, pixels: np.ndarray, named: str) -> None:
    write(write(tmp_path / "own.h5", "raw/stuff", pixels), "notes", pixels)
    before = (tmp_path / "own.h5").read_bytes()
    refused = run("fuse", folder, "--method", "average", "-o", tmp_path / named, "--overwrite", code=3).stderr
    assert "which would be lost" in refused
    assert (tmp_path / "own.h5").read_bytes() == before
    assert not (tmp_path / "own.h5.partial").exists()


def test_a_result_is_replaced_also_when_it_is_damaged(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused.h5"
    fuse = ["fuse", folder, "--method", "average", "-o", f"{out}:/left"]
    run(*fuse)
    whole = np.asarray(open_volume(f"{out}:/left")[0][:])
    run(*fuse, "--overwrite")
    out.write_bytes(out.read_bytes()[:100])
    run(*fuse, "--overwrite")
    np.testing.assert_array_equal(open_volume(f"{out}:/left")[0][:], whole)
    out.with_name("fused.h5.recipe.json").unlink()
    out.write_bytes(b"no HDF5 file")
    assert "choose another output" in run(*fuse, "--overwrite", code=3).stderr


def test_simulated_specimens_are_written_as_any_files(tmp_path: Path) -> None:
    run("simulate", tmp_path / "made", "--size", "32", "--angles", "0,180", "--format", "h5", "--beads")
    found = sorted(str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*.*"))
    assert found == [
        "beads/beads_0.h5",
        "beads/beads_180.h5",
        "embryo_groundtruth.h5",
        "embryo_view_0.h5",
        "embryo_view_180.h5",
        "psf_0.h5",
        "psf_180.h5",
    ]
    assert open_views(tmp_path / "made").names == ("0", "180")
    refused = run("simulate", tmp_path / "made.h5", "--size", "32", code=2)
    assert "name a folder, or a .zarr" in refused.stderr


def test_beads_in_them_give_a_psf(tmp_path: Path, rng: np.random.Generator) -> None:
    psf = light_sheet_psf(0.0, axial_fwhm=4, lateral_fwhm=2.5, shape=(15, 9, 9))
    made = bead_volume(psf, (80, 80, 80), rng, 12, doublets=0, debris=0)
    beads = write(tmp_path / "beads.h5", "data", made.volume.astype(np.uint16))
    for name in ("psf.tif", "psf.h5"):
        run("psf", "measure", beads, tmp_path / name)
    np.testing.assert_array_equal(read_psf(tmp_path / "psf.h5").values, read_psf(tmp_path / "psf.tif").values)
    before = beads.read_bytes()
    refused = run("psf", "measure", f"{beads}:/data", beads, "--overwrite", code=3)
    assert "never replaced" in refused.stderr
    assert beads.read_bytes() == before
    assert read_psf(tmp_path / "psf.tif").values.shape[0] > 3


def test_every_format_is_known_by_its_endings(tmp_path: Path) -> None:
    endings = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(endings) == len(set(endings))
    for known in FORMATS:
        for suffix in known.suffixes:
            path = tmp_path / f"x{suffix}"
            path.mkdir() if known.is_folder else path.touch()
            assert format_of(path) is known
    views = open_views(
        [write(tmp_path / "a.h5", "d", np.ones(SHAPE, np.uint8)), write(tmp_path / "b.h5", "d", np.ones(SHAPE))]
    )
    assert views.names == ("a", "b")


@pytest.mark.parametrize("value", ["hello", np.ones((3, 4, 5), np.complex64)], ids=["text", "complex"])
def test_what_is_no_number_is_said_to_be_none(tmp_path, value):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["pixels"] = value
    with pytest.raises(InputError, match=r"v\.h5:/pixels holds values of type (object|complex64): a view has numbers"):
        open_stored(tmp_path / "v.h5:/pixels")
