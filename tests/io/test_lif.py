"""LIF files: series by number, in any order of axes, read without the rest."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from microscope_files import LifSeries, write_lif
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.formats import open_stored, place_of
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.volume_choice import SeveralImagesError

SHAPE = (4, 12, 16)
SPACING = {"z": 2e-6, "y": 0.5e-6, "x": 0.25e-6, "t": 7.5}


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(90, SHAPE).astype(np.uint16)


def test_a_series_is_read_lazily_with_its_voxel_size(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_lif(tmp_path / "a.lif", [LifSeries("fish", pixels, "zyx", SPACING)])
    volume, grid = open_volume(path)
    assert isinstance(volume, LazyVolume)
    assert (volume.shape, volume.dtype, grid.voxel_size_um) == (SHAPE, np.uint16, (2.0, 0.5, 0.25))
    for index in (np.s_[:], np.s_[1:3, 2:9, -4:], np.s_[-1], np.s_[..., 7], np.s_[::-2, ::3], np.s_[0:0]):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[index], pixels[index])
    assert volume.files == (path,)


@pytest.mark.parametrize("axes", ["tczyx", "tzcyx", "yctzx"])
def test_pixels_of_any_order_are_those_that_liffile_reads(tmp_path: Path, rng: np.random.Generator, axes: str) -> None:
    """Oracle: liffile, which takes a series into memory."""
    import liffile

    sizes = {"t": 2, "c": 3, "z": 4, "y": 12, "x": 16}
    kept = rng.integers(0, 2**16, [sizes[axis] for axis in axes]).astype(np.uint16)
    series = LifSeries("fish", kept, axes, SPACING, ("Green", "Red", "Gray"))
    path = write_lif(tmp_path / "a.lif", [series])
    theirs = liffile.imread(path)
    with liffile.LifFile(path) as opened:
        order = [opened.images[0].dims.index(axis) for axis in "TCZYX"]
    stored = open_stored(path)
    assert (dict(stored.leading), stored.time_step) == ({"t": 2, "c": 3}, 7.5)
    assert stored.channel_names == ("Green", "Red", "Gray")
    assert stored.size_um == (2.0, 0.5, 0.25)
    for t, c in np.ndindex(2, 3):
        np.testing.assert_array_equal(stored.volume(t, c)[:], theirs.transpose(order)[t, c])


def test_several_series_are_named_by_number_and_by_what_they_are_called(tmp_path: Path, pixels: np.ndarray) -> None:
    one, two = (LifSeries(name, pixels + n, "zyx", SPACING) for n, name in enumerate(("left", "right")))
    path = write_lif(tmp_path / "a.lif", [one, two])
    with pytest.raises(
        SeveralImagesError, match=r"a\.lif:0 \('left', 4 x 12 x 16\) or .*a\.lif:1 \('right', "
    ) as several:
        open_stored(path)
    assert several.value.names == (Path(f"{path}:0"), Path(f"{path}:1"))
    np.testing.assert_array_equal(open_volume(f"{path}:1")[0][:], pixels + 1)
    assert place_of(f"{path}:1") == path
    views = open_views({"0": f"{path}:0", "90": f"{path}:1"})
    np.testing.assert_array_equal(views.read(views.grid.box)[1], pixels + 1)
    out = tmp_path / "fused.tif"
    run("fuse", "--view", f"0={path}:0", "--view", f"90={path}:1", "--method", "average", "-o", out)
    np.testing.assert_allclose(open_volume(out)[0][:], pixels + 0.5, rtol=1e-6)
    assert "voxels of 2 x 0.5 x 0.25 um" in run("info", f"{path}:1").stdout


def test_a_series_that_lost_bytes_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    """What follows moves up into it, so that its end is still in the file."""
    path = write_lif(tmp_path / "a.lif", [LifSeries(name, pixels, "zyx", SPACING) for name in ("left", "right")])
    whole = path.read_bytes()
    start = whole.index(pixels.tobytes()) + 100
    path.write_bytes(whole[:start] + whole[start + 50 :])
    with pytest.raises(InputError, match="no block begins where the pixels of 'left' end, so bytes of it are lost"):
        open_stored(f"{path}:0")
    with pytest.raises(InputError, match=r"a\.lif cannot be read as a LIF file"):
        open_stored(f"{path}:1")
    path.write_bytes(whole + b"more")
    assert open_stored(f"{path}:0").volume()[0, 0, 0] == pixels[0, 0, 0]
    with pytest.raises(InputError, match="no block begins where the pixels of 'right' end"):
        open_stored(f"{path}:1")


def test_series_of_one_name_are_said_not_lost_without_a_word(tmp_path: Path, pixels: np.ndarray) -> None:
    stored = open_stored(
        write_lif(tmp_path / "a.lif", [LifSeries("fish", pixels + n, "zyx", SPACING) for n in range(2)])
    )
    assert "holds 2 images, of which 1 are told apart by their names: rename the others in LAS X" in stored.notes[0]


def test_places_of_the_stage_are_no_places_of_views(tmp_path: Path, pixels: np.ndarray) -> None:
    setting = (
        '<Attachment Name="HardwareSetting"><ATLConfocalSettingDefinition StagePosX="3e-3" StagePosY="2e-3" '
        'ZPosition="1e-3" /></Attachment>'
    )
    stored = open_stored(write_lif(tmp_path / "a.lif", [LifSeries("fish", pixels, "zyx", SPACING, more=setting)]))
    assert stored.stage_um == pytest.approx((1e3, 2e3, 3e3))
    assert stored.origin_um is None


def test_sizes_that_are_not_said_are_not_known(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_lif(tmp_path / "a.lif", [LifSeries("fish", pixels, "zyx", {"y": 1e-6, "x": -1e-6})])
    assert open_stored(path).voxel_size_um == (None, 1.0, 1.0)
    path = write_lif(tmp_path / "b.lif", [LifSeries("fish", pixels, "zyx", {"z": 2.0, "y": 1.0, "x": 1.0}, unit="px")])
    assert open_stored(path).grid.known == (False, False, False)


@pytest.mark.window
def test_napari_shows_all_series(tmp_path: Path, pixels: np.ndarray) -> None:
    one, two = (LifSeries(name, pixels + n, "zyx", SPACING) for n, name in enumerate(("left", "right")))
    path = write_lif(tmp_path / "a.lif", [one, two])
    read = get_reader(str(path))
    assert read is not None
    layers = read(str(path))
    assert [look["name"] for _, look, _ in layers] == ["a 0", "a 1"]
    np.testing.assert_array_equal(layers[1][0].compute(), pixels + 1)


@pytest.mark.window
def test_napari_shows_what_can_be_shown_of_a_file(tmp_path: Path, pixels: np.ndarray) -> None:
    waves = LifSeries("waves", pixels, "lyx", SPACING)
    path = write_lif(tmp_path / "a.lif", [waves, LifSeries("fish", pixels, "zyx", SPACING)])
    read = get_reader(str(path))
    assert read is not None
    assert [look["name"] for _, look, _ in read(str(path))] == ["a 1"]
    path = write_lif(tmp_path / "waves.lif", [waves, LifSeries("more", pixels, "lyx", SPACING)])
    read = get_reader(str(path))
    assert read is not None
    with pytest.raises(InputError, match="has 4 wavelengths"):
        read(str(path))


def test_without_its_library_a_file_says_what_to_install(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lif(tmp_path / "a.lif", [LifSeries("fish", pixels, "zyx", SPACING)])
    monkeypatch.setitem(sys.modules, "liffile", None)
    with pytest.raises(
        InputError, match=r'not installed, so .*a\.lif cannot be opened: pip install "napari-mvfusion\[lif\]"'
    ):
        open_stored(path)
    assert 'pip install "napari-mvfusion[lif]"' in run("info", path, code=2).stderr
    assert get_reader(str(path)) is None


def test_what_is_no_grey_volume_is_refused_in_a_line(tmp_path: Path, rng: np.random.Generator) -> None:
    def refused(series: LifSeries, match: str) -> None:
        path = write_lif(tmp_path / "bad.lif", [series])
        with pytest.raises(InputError, match=match) as said:
            open_stored(path)
        assert "\n" not in str(said.value)

    values = rng.integers(0, 99, (2, 3, 8, 9)).astype(np.uint8)
    refused(LifSeries("a", values, "lzyx", SPACING), "has 2 wavelengths")
    refused(LifSeries("a", values, "mzyx", SPACING), "has 2 tiles: .* or the merged image")
    refused(LifSeries("a", values[0, 0], "tx", SPACING), "is a scan along t and x")
    interleaved = np.ascontiguousarray(np.moveaxis(values[0], 0, -1))
    refused(LifSeries("a", interleaved, "yxc", SPACING, ("R", "G", "B")), "has colour samples")
    refused(LifSeries("a", values[0], "zyx", SPACING, ()), "has no channel")


def test_what_is_damaged_or_hostile_is_refused_in_a_line(tmp_path: Path, pixels: np.ndarray) -> None:
    series = LifSeries("fish", pixels, "zyx", SPACING)
    content = write_lif(tmp_path / "good.lif", [series]).read_bytes()
    for end in (0, 1, 8, 13, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.lif").write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.lif") as said:
            open_stored(tmp_path / "cut.lif")
        assert "\n" not in str(said.value)
    (tmp_path / "other.lif").write_bytes(b"P" + content[1:])
    with pytest.raises(InputError, match="is no LIF file"):
        open_stored(tmp_path / "other.lif")
    long = content.replace('NumberOfElements="4"'.encode("utf-16-le"), 'NumberOfElements="9"'.encode("utf-16-le"))
    (tmp_path / "long.lif").write_bytes(long)
    with pytest.raises(InputError, match="says that its pixels take 3,456 bytes and holds 1,536"):
        open_stored(tmp_path / "long.lif")
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    with pytest.raises(InputError, match="defines a document type"):
        open_stored(write_lif(tmp_path / "laughs.lif", [series], before=laughs))
    volume = open_volume(tmp_path / "good.lif")[0]
    (tmp_path / "good.lif").write_bytes(content[:-50])
    with pytest.raises(InputError, match="cannot be read any more"):
        volume[:]
