"""Imaris files: volumes without their padding, in the place that their extent says."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import run
from microscope_files import letters, write_ims
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.formats import open_stored, place_of
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.volume_choice import SeveralImagesError

SHAPE = (5, 18, 21)
LOW, HIGH = (10.0, -3.0, 7.0), (20.0, 6.0, 17.5)


@pytest.fixture
def series(rng: np.random.Generator) -> np.ndarray:
    """Two time points of three channels."""
    return rng.integers(0, 999, (2, 3, *SHAPE)).astype(np.uint16)


def test_the_extent_says_how_large_voxels_are_and_where_they_lie(tmp_path: Path, series: np.ndarray) -> None:
    path = write_ims(tmp_path / "a.ims", [series[:1, :1]], low=LOW, high=HIGH)
    volume, grid = open_volume(path)
    assert grid.voxel_size_um == pytest.approx((2.0, 0.5, 0.5))
    # The extent begins at the outer face of the first voxel.
    assert grid.origin_um == pytest.approx((11.0, -2.75, 7.25))
    assert all(grid.known)
    with h5py.File(path) as file:
        padded = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"].shape
    assert padded == (8, 32, 32) != volume.shape == SHAPE
    np.testing.assert_array_equal(volume[:], series[0, 0])
    for index in (np.s_[2:, 3:9, -4:], np.s_[-1], np.s_[..., 20]):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[index], series[0, 0][index])
    assert isinstance(volume, LazyVolume)
    assert volume.files == (path,)


def test_time_points_and_channels_are_choices_with_their_names_and_steps(tmp_path: Path, series: np.ndarray) -> None:
    times = ("2020-02-29 23:59:50.000", "2020-03-01 00:00:20.500")
    path = write_ims(tmp_path / "a.ims", [series], channels=("GFP", "", "RFP"), times=times)
    stored = open_stored(path)
    assert (dict(stored.leading), stored.time_step) == ({"t": 2, "c": 3}, 30.5)
    assert stored.channel_names == ("GFP", "", "RFP")
    np.testing.assert_array_equal(stored.volume(1, 2)[:], series[1, 2])
    with pytest.raises(InputError, match=r"3 channels \(GFP, , RFP\): choose one with --channel 0 to 2"):
        stored.volume(0)


def test_several_images_are_named_by_number(tmp_path: Path, series: np.ndarray) -> None:
    path = write_ims(tmp_path / "two.ims", [series[:1, :1]])
    write_ims(path, [series[:1, 1:2]], image=1, high=(5.0, 36.0, 42.0))
    with pytest.raises(SeveralImagesError, match=r"two\.ims:0 \('DataSet'\) or .*two\.ims:1 \('DataSet1'\)") as several:
        open_stored(path)
    assert several.value.names == (Path(f"{path}:0"), Path(f"{path}:1"))
    volume, grid = open_volume(f"{path}:1")
    np.testing.assert_array_equal(volume[:], series[0, 1])
    assert grid.voxel_size_um == (1.0, 2.0, 2.0)
    assert place_of(f"{path}:1") == path
    with pytest.raises(InputError, match=r"holds 2 images, counted from 0: .*two\.ims:2 is not there"):
        open_stored(f"{path}:2")


def test_views_lie_where_their_extents_say(tmp_path: Path, series: np.ndarray) -> None:
    for angle, start in ((0, 0.0), (90, 2.0)):
        low, high = (0.0, 0.0, start), (5.0, 18.0, 21.0 + start)
        write_ims(tmp_path / f"spim_view_{angle}.ims", [series[:1, :1]], low=low, high=high)
    views = open_views([tmp_path / "spim_view_0.ims", tmp_path / "spim_view_90.ims"])
    assert views.grid.shape == (5, 18, 23)
    np.testing.assert_allclose(views.read(views.grid.box)[1, ..., 2:], series[0, 0])


@pytest.mark.window
def test_napari_shows_its_levels(tmp_path: Path, series: np.ndarray) -> None:
    coarse = series[..., ::2, ::2]
    path = write_ims(tmp_path / "a.ims", [series, coarse], low=LOW, high=HIGH)
    read = get_reader(str(path))
    assert read is not None
    ((data, look, _),) = read(str(path))
    assert [level.shape for level in data] == [series.shape, coarse.shape]
    np.testing.assert_array_equal(data[1].compute(), coarse)
    assert look["multiscale"]
    assert look["scale"][2:] == pytest.approx((2.0, 0.5, 0.5))
    assert look["axis_labels"] == ("t", "c", "z", "y", "x")


def test_units_that_are_no_micrometres_are_converted_or_said(tmp_path: Path, series: np.ndarray) -> None:
    volume = [series[:1, :1]]
    in_nm = write_ims(tmp_path / "nm.ims", volume, high=(5e3, 18e3, 21e3), unit="nm")
    assert open_stored(in_nm).size_um == pytest.approx((1.0, 1.0, 1.0))
    unsaid = write_ims(tmp_path / "unsaid.ims", volume, high=(5.0, 18.0, 21.0), unit=None)
    assert open_stored(unsaid).size_um == pytest.approx((1.0, 1.0, 1.0))
    odd = open_stored(write_ims(tmp_path / "odd.ims", volume, high=(5.0, 18.0, 21.0), unit="voxels"))
    assert odd.size_um is None
    assert odd.grid.known == (False, False, False)
    assert "'voxels', which is no known length" in odd.notes[0]
    flat = open_stored(write_ims(tmp_path / "flat.ims", volume, high=(0.0, 18.0, 21.0)))
    assert flat.voxel_size_um == (None, 1.0, 1.0)
    assert flat.origin_um is None
    assert "extent along z that cannot be one" in flat.notes[0]


def test_what_is_damaged_or_hostile_is_refused_in_a_line(tmp_path: Path, series: np.ndarray) -> None:
    good = write_ims(tmp_path / "good.ims", [series])
    content = good.read_bytes()
    place = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"

    def refused(change: object, match: str, name: str = "bad.ims") -> None:
        (tmp_path / name).write_bytes(content)
        with h5py.File(tmp_path / name, "a") as file:
            change(file)
        with pytest.raises(InputError, match=match) as said:
            open_stored(tmp_path / name).volume(0, 0)
        assert "\n" not in str(said.value)

    def linked(file: h5py.File) -> None:
        del file[f"{place}/Data"]
        file[f"{place}/Data"] = h5py.ExternalLink("good.ims", f"/{place}/Data")

    def promised(file: h5py.File) -> None:
        del file[f"{place}/Data"]
        file.create_dataset(f"{place}/Data", (10**5, 10**4, 10**4), np.uint16, chunks=(1, 64, 64))

    def without_time(file: h5py.File) -> None:
        file.move("DataSet/ResolutionLevel 0/TimePoint 1", "DataSet/ResolutionLevel 0/TimePoint 7")

    refused(linked, "leads into another file")
    refused(promised, r"promises .* GiB of pixels")
    refused(without_time, "lacks 'TimePoint 1'")
    refused(lambda file: file[place].attrs.create("ImageSizeX", letters("99")), r"has \(5, 18, 99\) voxels")
    refused(lambda file: file[place].attrs.create("ImageSizeX", letters("many")), r"has \(5, 18, 0\) voxels")
    refused(lambda file: file.pop("DataSet"), "holds no 'DataSet'")
    other = "DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"
    (tmp_path / "uneven.ims").write_bytes(content)
    with h5py.File(tmp_path / "uneven.ims", "a") as file:
        file[other].attrs["ImageSizeX"] = letters("20")
    with pytest.raises(InputError, match="volumes of different shapes"):
        open_stored(tmp_path / "uneven.ims").volume(1, 1)
    for end in (0, 1, 8, 100, len(content) // 2):
        (tmp_path / "cut.ims").write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.ims"):
            open_stored(tmp_path / "cut.ims")


def test_the_command_line_says_what_there_is_and_fuses_it(tmp_path: Path, series: np.ndarray) -> None:
    views = [write_ims(tmp_path / f"{angle}.ims", [series[:, :1]], low=LOW, high=HIGH) for angle in (0, 90)]
    told = run("info", views[0])
    assert "voxels of 2 x 0.5 x 0.5 um" in told.stdout
    assert "has 2 time points" in told.stderr + told.stdout
    out = tmp_path / "fused.tif"
    run("fuse", *views, "--timepoint", "1", "--method", "average", "--grid", "first", "-o", out)
    np.testing.assert_allclose(open_volume(out)[0][:], series[1, 0], rtol=1e-5)
