"""ND2 files: positions by number, time points and channels as choices, and frames that are read where they lie."""

from __future__ import annotations

import pickle
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from microscope_files import write_nd2
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.formats import open_stored, place_of
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.volume_choice import SeveralImagesError

SHAPE = (4, 12, 16)


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(90, SHAPE).astype(np.uint16)


def frames_of(volume: np.ndarray) -> list[np.ndarray | None]:
    """Its planes as frames of one channel."""
    return [plane[..., None] for plane in volume]


@pytest.mark.parametrize(("compressed", "padding"), [(False, 0), (False, 6), (True, 0), (True, 6)])
def test_a_volume_is_read_lazily_with_its_voxel_size(
    tmp_path: Path, pixels: np.ndarray, compressed: bool, padding: int
) -> None:
    path = write_nd2(tmp_path / "a.nd2", frames_of(pixels), {"Z": 4}, compressed=compressed, padding=padding)
    volume, grid = open_volume(path)
    assert isinstance(volume, LazyVolume)
    assert (volume.shape, volume.dtype, grid.voxel_size_um) == (SHAPE, np.uint16, (2.0, 0.25, 0.25))
    for index in (np.s_[:], np.s_[1:3, 2:9, -4:], np.s_[-1], np.s_[..., 7], np.s_[::-2, ::3], np.s_[0:0]):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[index], pixels[index])
    assert volume.files == (path,)


@pytest.mark.parametrize("order", ["TPZ", "PTZ", "TZP"])
def test_positions_times_and_channels_are_those_that_nd2_reads(
    tmp_path: Path, rng: np.random.Generator, order: str
) -> None:
    """Oracle: nd2, which takes all of a file into memory."""
    import nd2

    counts = {"T": 2, "P": 3, "Z": 4}
    sizes = {axis: counts[axis] for axis in order}
    frames: list[np.ndarray | None] = [rng.integers(0, 2**16, (12, 16, 2)).astype(np.uint16) for _ in range(24)]
    path = write_nd2(tmp_path / "a.nd2", frames, sizes, channels=("GFP", "RFP"))
    with nd2.ND2File(path) as opened:
        theirs = opened.asarray().transpose([list(opened.sizes).index(axis) for axis in "PTCZYX"])
    with pytest.raises(SeveralImagesError, match=r"a\.nd2:0 \('p0', 4 x 12 x 16\) or ") as several:
        open_stored(path)
    assert several.value.names == tuple(Path(f"{path}:{n}") for n in range(3))
    assert place_of(f"{path}:2") == path
    for p in range(3):
        stored = open_stored(f"{path}:{p}")
        assert (dict(stored.leading), stored.time_step) == ({"t": 2, "c": 2}, 7.5)
        assert stored.channel_names == ("GFP", "RFP")
        assert (stored.origin_um, stored.stage_um) == (None, (1.0, 5.0, 10.0 * p))
        for t, c in np.ndindex(2, 2):
            np.testing.assert_array_equal(stored.volume(t, c)[:], theirs[p, t, c])
    with pytest.raises(InputError, match=r"2 channels \(GFP, RFP\): choose one"):
        open_stored(f"{path}:0").volume(0)


def test_frames_that_were_never_recorded_are_said(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_nd2(tmp_path / "a.nd2", [*frames_of(pixels), *frames_of(pixels)[:3], None], {"T": 2, "Z": 4})
    stored = open_stored(path)
    np.testing.assert_array_equal(stored.volume(0)[:], pixels)
    with pytest.raises(InputError, match="lacks 1 of 4 planes of time point 1, as where a recording was stopped"):
        stored.volume(1)


def test_sizes_that_are_not_calibrated_are_not_known(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_nd2(tmp_path / "a.nd2", frames_of(pixels), {"Z": 4}, size_um=None)
    assert open_stored(path).voxel_size_um == (2.0, None, None)
    path = write_nd2(tmp_path / "b.nd2", frames_of(pixels)[:1], {})
    assert open_stored(path).voxel_size_um == (None, 0.25, 0.25)


def test_files_are_views_on_the_command_line_and_in_napari(tmp_path: Path, pixels: np.ndarray) -> None:
    for angle in (0, 90):
        write_nd2(tmp_path / f"s_view_{angle}.nd2", frames_of(pixels + angle), {"Z": 4})
    assert open_views(tmp_path).names == ("0", "90")
    out = tmp_path / "fused.tif"
    run("fuse", tmp_path, "--method", "average", "--grid", "first", "-o", out)
    np.testing.assert_allclose(open_volume(out)[0][:], pixels + 45.0, rtol=1e-6)
    assert "voxels of 2 x 0.25 x 0.25 um" in run("info", tmp_path / "s_view_0.nd2").stdout


@pytest.mark.window
def test_napari_shows_all_positions(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_nd2(tmp_path / "a.nd2", frames_of(np.concatenate([pixels, pixels + 1])), {"P": 2, "Z": 4})
    read = get_reader(str(path))
    assert read is not None
    layers = read(str(path))
    assert [look["name"] for _, look, _ in layers] == ["a 0", "a 1"]
    np.testing.assert_array_equal(layers[1][0].compute(), pixels + 1)


def test_without_its_library_a_file_says_what_to_install(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_nd2(tmp_path / "a.nd2", frames_of(pixels), {"Z": 4})
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(
        InputError, match=r'not installed, so .*a\.nd2 cannot be opened: pip install "napari-mvfusion\[nd2\]"'
    ):
        open_stored(path)


def test_what_is_no_grey_volume_is_refused_in_a_line(tmp_path: Path, rng: np.random.Generator) -> None:
    colours = rng.integers(0, 99, (12, 16, 3)).astype(np.uint8)
    with pytest.raises(InputError, match="has colour samples"):
        open_stored(write_nd2(tmp_path / "rgb.nd2", [colours], {}))
    (tmp_path / "old.nd2").write_bytes(b"\0\0\0\x0cjP  " + bytes(200))
    with pytest.raises(InputError, match="of the old kind"):
        open_stored(tmp_path / "old.nd2")


def test_what_is_damaged_or_hostile_is_refused_in_a_line(tmp_path: Path, pixels: np.ndarray) -> None:
    good = write_nd2(tmp_path / "good.nd2", frames_of(pixels), {"Z": 4})
    content = good.read_bytes()

    def refused(edited: bytes, match: str) -> None:
        (tmp_path / "bad.nd2").write_bytes(edited)
        with pytest.raises(InputError, match=match) as said:
            open_volume(tmp_path / "bad.nd2")[0][:]
        assert "\n" not in str(said.value)

    def with_number(name: str, value: int) -> bytes:
        at = content.index((name + "\0").encode("utf-16-le")) + 2 * len(name) + 2
        return content[:at] + value.to_bytes(4, "little") + content[at + 4 :]

    refused(b"P" + content[1:], "is no ND2 file")
    refused(with_number("uiHeight", 2**31), "which do not fit into 384 bytes")
    refused(with_number("uiWidthBytes", 3), "rows that overlap")
    refused(with_number("uiCount", 2**31), r"bad\.nd2")
    frame = content.rindex(
        b"\xda\xce\xbe\x0a", 0, content.rindex(b"ImageDataSeq|2!", 0, content.rindex(b"ND2 FILEMAP"))
    )
    refused(content[:frame] + b"XXXX" + content[frame + 4 :], "there should be a chunk, and is none")
    for end in (0, 1, 8, 100, 5000, len(content) // 2, len(content) - 1):
        refused(content[:end], r"bad\.nd2")
    laughs = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">]><variant>&a;</variant>'
    path = write_nd2(tmp_path / "laughs.nd2", frames_of(pixels), {"Z": 4}, extra={b"ImageTextInfoLV!": laughs})
    with pytest.raises(InputError, match="defines a document type"):
        open_stored(path)
    bomb = bytes([76, 0]) + bytes(10) + zlib.compress(bytes(2**27))
    path = write_nd2(tmp_path / "bomb.nd2", frames_of(pixels), {"Z": 4}, extra={b"ImageTextInfoLV!": bomb})
    with pytest.raises(InputError, match=r"unpacks to more than"):
        open_stored(path)
    small = write_nd2(tmp_path / "small.nd2", frames_of(pixels), {"Z": 4}, compressed=True).read_bytes()
    long = write_nd2(tmp_path / "long.nd2", frames_of(np.zeros((4, 400, 400), np.uint16)), {"Z": 4}, compressed=True)
    at = small.index("uiHeight\0".encode("utf-16-le"))
    (tmp_path / "long.nd2").write_bytes(long.read_bytes()[:at] + small[at : at + 22] + long.read_bytes()[at + 22 :])
    with pytest.raises(InputError, match="plane 0 cannot be read"):
        open_volume(tmp_path / "long.nd2")[0][:]
