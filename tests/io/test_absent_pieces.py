"""Chunks and blocks that files leave out: counted as the libraries that wrote them left them out, and said quietly."""

import h5py
import numpy as np
import pytest
import zarr

from bdv_projects import IDENTITY, Setup, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.events import Noted
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.io import absent_pieces
from napari_mvfusion.io.absent_pieces import about_absent
from napari_mvfusion.io.base import Absent, LazyVolume
from napari_mvfusion.io.bdv.n5 import N5Volume, open_n5
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.methods import Average

SHAPE = (12, 16, 20)
CHUNK = (6, 8, 10)
MANY = 10**6


@pytest.fixture
def pixels(rng):
    """Of 8 chunks, 3 are 0."""
    values = rng.integers(1, 60000, SHAPE).astype(np.uint16)
    values[:6, :8, :] = 0
    values[6:, 8:, 10:] = 0
    return values


def zarr_image(path, pixels, axes="zyx", chunks=CHUNK, zarr_format=3, **how):
    """An image as zarr writes it: without chunks of the fill value."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("0", data=pixels, chunks=chunks, **how)
    types = {"t": "time", "c": "channel"}
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    image = {
        "axes": [{"name": axis, "type": types.get(axis, "space")} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    if zarr_format == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [{**image, "version": "0.4"}]
    return path


def absent(path, **choice):
    volume = open_volume(path, **choice)[0]
    assert isinstance(volume, LazyVolume)
    return volume.absent(MANY)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_that_zarr_left_out_are_counted_and_those_that_it_wrote_are_not(tmp_path, pixels, zarr_format):
    path = zarr_image(tmp_path / "a.zarr", pixels, zarr_format=zarr_format)
    assert absent(path) == Absent(3, 8, 0.0)
    full = zarr_image(
        tmp_path / "b.zarr", pixels, zarr_format=zarr_format, config={"write_empty_chunks": True}, fill_value=7
    )
    assert absent(full) == Absent(0, 8, 7.0)
    for file in [each for each in (full / "0").rglob("*[0-9]") if each.is_file()]:
        file.unlink()
    assert absent(full) == Absent(8, 8, 7.0)
    assert (np.asarray(open_volume(full)[0]) == 7).all()


def test_only_the_chosen_volume_counts_and_shards_are_not_looked_into(tmp_path, pixels):
    series = np.stack([pixels, np.zeros_like(pixels), np.maximum(pixels, 1)])
    path = zarr_image(tmp_path / "t.zarr", series, "tzyx", (1, *CHUNK))
    assert [absent(path, timepoint=t) for t in range(3)] == [Absent(3, 8), Absent(8, 8), Absent(0, 8)]
    assert open_volume(path, timepoint=0)[0].absent(7) is None
    sharded = zarr_image(tmp_path / "s.zarr", pixels, chunks=(3, 4, 5), shards=CHUNK)
    assert absent(sharded) is None


def test_chunks_that_hdf5_never_wrote_are_counted(tmp_path, pixels):
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        part = file.create_dataset("part", SHAPE, np.uint16, chunks=CHUNK, fillvalue=3, compression="gzip")
        part[:6, :8, :10] = pixels[6:, :8, :10]
        part[6:, 8:, 10:] = 0  # HDF5 writes these
        file.create_dataset("nothing", SHAPE, np.uint16, chunks=CHUNK)
        file.create_dataset("whole", data=pixels, chunks=CHUNK)
        file.create_dataset("plain", data=pixels)
        series = file.create_dataset("series", (2, *SHAPE), np.uint16, chunks=(1, *CHUNK))
        series[1] = pixels
        for axis, label in zip(series.dims, "tzyx", strict=True):
            axis.label = label
    assert absent(f"{path}:/part") == Absent(6, 8, 3.0)
    assert absent(f"{path}:/nothing") == Absent(8, 8)
    assert absent(f"{path}:/whole") == absent(f"{path}:/series", timepoint=1) == Absent(0, 8)
    assert absent(f"{path}:/plain") == Absent(0, 1)
    assert absent(f"{path}:/series", timepoint=0) == Absent(8, 8)
    assert open_volume(f"{path}:/part")[0].absent(7) is None
    np.testing.assert_array_equal(np.asarray(open_volume(f"{path}:/part")[0])[6:, :8], 3)
    (said,) = describe(f"{path}:/part").samples[0].said
    assert said.startswith("only 2 of the 8 chunks of view 'part' are in its files, and the rest counts as 3")


def test_blocks_that_another_writer_of_n5_left_out_are_counted(tmp_path, pixels):
    z5py = pytest.importorskip("z5py")
    with z5py.File(str(tmp_path / "v.n5"), mode="w", use_zarr_format=False) as file:
        dataset = file.create_dataset("a/b", shape=SHAPE, chunks=CHUNK, dtype="uint16", compression="gzip")
        dataset[:, :8, :] = pixels[:, :8, :] + 1
    volume = N5Volume(open_n5(tmp_path / "v.n5" / "a" / "b"))
    assert volume.absent(MANY) == Absent(4, 8)
    assert volume.absent(7) is None
    assert (np.asarray(volume)[:, 8:] == 0).all()


def test_views_of_projects_say_what_they_lack_alone_and_blended(tmp_path, pixels):
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    parts = ({"angle": 0, "illumination": 0}, {"angle": 0, "illumination": 1}, {"angle": 1, "illumination": 0})
    setups = {n: Setup(size=SHAPE[::-1], parts=part) for n, part in enumerate(parts)}
    for number in setups:
        write_n5_view(tmp_path / "d.n5", number, 0, [pixels + (number == 2)], [[1, 1, 1]], block=CHUNK, skip_zeros=True)
    path = tmp_path / "dataset.xml"
    path.write_text(xml_of(loader, setups, {(0, number): [IDENTITY] for number in setups}))
    together, apart = (open_views(path, no_data="none", apart=each).views for each in (False, True))
    assert [view.data.absent(MANY) for view in together] == [Absent(6, 16), Absent(0, 8)]
    assert [view.data.absent(MANY) for view in apart] == [Absent(3, 8), Absent(3, 8), Absent(0, 8)]
    assert together[0].data.absent(15) is None
    *_, said = describe(path, apart=True).samples[0].said
    assert said.startswith("chunks that are not in the files count as 0: 3 of 8 of view '")
    assert said.count("3 of 8 of view") == 2


def test_a_run_and_info_say_it_without_a_warning(tmp_path, pixels):
    files = [zarr_image(tmp_path / f"{name}.zarr", pixels + add) for name, add in (("a", 0), ("b", 1))]
    views = open_views(files, no_data="none")
    assert not views.remarks
    said = "chunks that are not in the files count as 0: 3 of 8 of view 'a'"
    noted = [event.message for event in fuse_events(views, Average()) if isinstance(event, Noted)]
    assert said in noted
    shown = run("info", files[0])
    assert "3 of 8 of view 'channel 0'" in " ".join(shown.stdout.split())
    assert "chunks" not in shown.stderr
    assert "chunks" not in run("info", files[1]).stdout


def test_lines_are_few_and_short_however_many_views_lack_something(monkeypatch):
    class Lacking(LazyVolume):
        shape, dtype, files = SHAPE, np.dtype(np.uint16), ()

        def __init__(self, *found):
            self.found = Absent(*found)

        def absent(self, most):
            return self.found if self.found.of <= most else None

        def __getitem__(self, index):
            raise AssertionError("no pixel is read")

    many = [(f"v{n}", Lacking(1, 100)) for n in range(50)]
    (said,) = about_absent(many)
    assert said.endswith("1 of 100 of view 'v3' and 46 more views")
    none, one = about_absent([("a", Lacking(4, 4)), ("b", Lacking(3, 4)), ("c", np.zeros(SHAPE)), ("d", Lacking(0, 4))])
    assert none.startswith("none of the 4 chunks of view 'a' is in its files")
    assert one.startswith("only 1 of the 4 chunks of view 'b' is in its files")
    monkeypatch.setattr(absent_pieces, "MOST_PIECES", 250)
    assert about_absent(many) == [
        "chunks that are not in the files count as 0: 1 of 100 of view 'v0', 1 of 100 of view 'v1'"
    ]
