"""CZI files: planes of every compression, images by scene, view and tile, and sets of files whose views have angles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from microscope_files import CziPlane, czi_xml, write_czi
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.formats import open_stored, place_of
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.io.volume_choice import SeveralImagesError
from napari_mvfusion.simulation import light_sheet_psf

SIZE = {"X": 0.25, "Y": 0.5, "Z": 2.0}
SHAPE = (4, 12, 16)


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(90, SHAPE).astype(np.uint16)


def planes_of(volume: np.ndarray, compression: int = 0, **at: int) -> list[CziPlane]:
    return [CziPlane({**at, "Z": z}, plane, compression) for z, plane in enumerate(volume)]


@pytest.mark.parametrize("compression", [0, 2, 4, 5, 6])
def test_planes_of_every_compression_are_read_lazily(tmp_path: Path, pixels: np.ndarray, compression: int) -> None:
    path = write_czi(tmp_path / "a.czi", planes_of(pixels, compression), czi_xml(SIZE))
    volume, grid = open_volume(path)
    assert isinstance(volume, LazyVolume)
    assert (volume.shape, volume.dtype, grid.voxel_size_um) == (SHAPE, np.uint16, (2.0, 0.5, 0.25))
    for index in (np.s_[:], np.s_[1:3, 2:9, -4:], np.s_[-1], np.s_[..., 7], np.s_[::-2, ::3], np.s_[0:0]):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[index], pixels[index])
    assert volume.files == (path,)


def test_what_is_read_is_what_czifile_reads(tmp_path: Path, pixels: np.ndarray) -> None:
    """Oracle: czifile, which takes everything into memory."""
    import czifile

    series = np.stack([pixels, pixels + 1, pixels + 2])
    planes = [plane for c in range(3) for plane in planes_of(series[c], C=c, T=0)]
    path = write_czi(tmp_path / "a.czi", planes, czi_xml(SIZE, ("GFP", "RFP", "DAPI")))
    theirs = czifile.imread(path).squeeze()
    # Of its versions, the one of 2019 keeps the order of the file.
    theirs = theirs if len(theirs) == 3 else theirs.swapaxes(0, 1)
    stored = open_stored(path)
    assert stored.leading == {"c": 3}
    assert stored.channel_names == ("GFP", "RFP", "DAPI")
    for c in range(3):
        np.testing.assert_array_equal(stored.volume(channel=c)[:], theirs[c])


def test_times_and_channels_are_choices_whatever_their_first_number(tmp_path: Path, pixels: np.ndarray) -> None:
    planes = [plane for t in (3, 4) for c in (1, 2) for plane in planes_of(pixels + 10 * t + c, T=t, C=c)]
    stored = open_stored(write_czi(tmp_path / "a.czi", planes[:-1], czi_xml(SIZE, ("GFP", "RFP"), step=7.5)))
    assert (stored.leading, stored.time_step) == ({"t": 2, "c": 2}, 7.5)
    np.testing.assert_array_equal(stored.volume(1, 0)[:], pixels + 41)
    with pytest.raises(
        InputError, match=r"lacks 1 of 4 planes of time point 4 and channel 2, as where a recording was st"
    ):
        stored.volume(1, 1)
    with pytest.raises(InputError, match=r"2 channels \(GFP, RFP\): choose one"):
        stored.volume(0)


def test_scenes_and_tiles_are_images_by_number_and_coarser_copies_are_none(tmp_path: Path, pixels: np.ndarray) -> None:
    planes = [
        *planes_of(pixels, S=0, M=0, X=0),
        *planes_of(pixels + 1, S=0, M=1, X=14),
        *planes_of(pixels[:2, :8] + 2, S=1, M=0, X=900),
        CziPlane({"S": 0, "Z": 0}, pixels[0, ::2, ::2], shown=SHAPE[1:]),
    ]
    path = write_czi(tmp_path / "a.czi", planes, czi_xml(SIZE))
    with pytest.raises(SeveralImagesError, match=r"a\.czi:0 \(scene 0, tile 0, 4 x 12 x 16\) or ") as several:
        open_stored(path)
    assert [str(name).rpartition(":")[2] for name in several.value.names] == ["0", "1", "2"]
    np.testing.assert_array_equal(open_volume(f"{path}:1")[0][:], pixels + 1)
    np.testing.assert_array_equal(open_volume(f"{path}:2")[0][:], pixels[:2, :8] + 2)
    assert place_of(f"{path}:2") == path
    with pytest.raises(InputError, match=r"holds 3 images, counted from 0: .*a\.czi:3 is not there"):
        open_stored(f"{path}:3")


def test_the_views_of_a_set_of_files_have_their_angles(tmp_path: Path, pixels: np.ndarray) -> None:
    """As the Lightsheet Z.1 writes them: a file a view, the metadata in the first."""
    xml = czi_xml(SIZE, ("GFP",), angles=(0, -90, 180))
    first = write_czi(tmp_path / "fish.czi", planes_of(pixels, V=0), xml)
    for part in (1, 2):
        write_czi(tmp_path / f"fish({part}).czi", planes_of(pixels + part, V=part), part=part)
    write_czi(tmp_path / "fish(3).czi", planes_of(pixels, V=3), part=3, set_id=b"another set that")
    views = open_views(first)
    assert "as the microscope recorded them: they fit together once they are registered" in views.remarks[0]
    assert [(view.name, view.angle) for view in views.views] == [("0", 0.0), ("270", 270.0), ("180", 180.0)]
    assert views.grid.voxel_size_um == (2.0, 0.5, 0.25)
    for part, view in enumerate(views.views):
        np.testing.assert_array_equal(view.data[:], pixels + part)
    alone = open_stored(tmp_path / "fish(1).czi")
    assert alone.voxel_size_um == (2.0, 0.5, 0.25)
    assert alone.stage_um == (3.0, 2.0, 1.0)
    told = run("info", first)
    assert "270" in told.stdout
    assert "registered" in told.stderr + told.stdout
    run("fuse", first, "--views", "0,180", "--method", "average", "-o", tmp_path / "fused.tif")
    np.testing.assert_allclose(open_volume(tmp_path / "fused.tif")[0][:], pixels + 1)
    (tmp_path / "fish(3).czi").unlink()
    write_tiff(tmp_path / "PSF 270.tif", light_sheet_psf(), Grid(light_sheet_psf().shape, (2.0, 0.5, 0.25)))
    (tmp_path / "fused.tif").unlink()
    folder = open_views(tmp_path)
    assert [(view.name, view.angle) for view in folder.views] == [("0", 0.0), ("270", 270.0), ("180", 180.0)]
    assert [view.psf is not None for view in folder.views] == [False, True, False]
    assert "registered" in folder.remarks[0]
    write_czi(tmp_path / "fish(2).czi", planes_of(pixels, V=1), part=2)
    with pytest.raises(InputError, match=r"fish\(1\)\.czi:0 and .*fish\(2\)\.czi:0 hold parts of one view"):
        open_views(first)


def test_views_of_one_file_keep_apart_what_looks_from_one_side(tmp_path: Path, pixels: np.ndarray) -> None:
    planes = [plane for v in range(3) for i in range(2) for plane in planes_of(pixels, V=v, I=i)]
    path = write_czi(tmp_path / "a.czi", planes, czi_xml(SIZE, angles=(0, 90, 90)))
    views = open_views(path)
    assert "holds 6 views" in views.remarks[0]
    assert views.names[:3] == ("angle 0, illumination 0", "angle 0, illumination 1", "angle 90, illumination 0, V1")
    assert [view.angle for view in views.views] == [0, 0, 90, 90, 90, 90]
    unsaid = write_czi(tmp_path / "unsaid.czi", [*planes_of(pixels, V=0), *planes_of(pixels, V=1)])
    views = open_views(unsaid)
    assert [(view.name, view.angle) for view in views.views] == [("view 0", None), ("view 1", None)]
    assert views.grid.known == (False, False, False)


@pytest.mark.window
def test_napari_shows_the_views_of_a_file(tmp_path: Path, pixels: np.ndarray) -> None:
    planes = [plane for v in range(2) for plane in planes_of(pixels + v, V=v)]
    path = write_czi(tmp_path / "fish.czi", planes, czi_xml(SIZE, angles=(0, 90)))
    read = get_reader(str(path))
    assert read is not None
    layers = read(str(path))
    assert [look["name"] for _, look, _ in layers] == ["fish view 0", "fish view 90"]
    assert layers[1][1]["scale"] == (2.0, 0.5, 0.25)
    np.testing.assert_array_equal(layers[1][0].compute(), pixels + 1)


def test_what_is_no_grey_volume_is_refused_in_a_line(tmp_path: Path, pixels: np.ndarray) -> None:
    def refused(planes: list[CziPlane], match: str) -> None:
        with pytest.raises(InputError, match=match):
            open_stored(write_czi(tmp_path / "bad.czi", planes))

    refused([CziPlane({"Z": 0}, np.zeros((8, 9, 3), np.uint8))], "holds colours or complex numbers")
    refused([CziPlane({"Z": 0}, pixels[0], compression=100)], "compressed by a method that is not known here")
    refused([*planes_of(pixels), *planes_of(pixels, X=20)], "several pieces of one plane")
    refused([*planes_of(pixels), CziPlane({"Z": 4}, pixels[0, :5])], "planes of different sizes")
    refused([*planes_of(pixels), CziPlane({"Z": 10**9}, pixels[0])], "numbers 1,000,000,001 planes and holds 5")
    refused([], "holds no pixels")


def test_what_is_damaged_or_hostile_is_refused_in_a_line(tmp_path: Path, pixels: np.ndarray) -> None:
    good = write_czi(tmp_path / "good.czi", planes_of(pixels, 5), czi_xml(SIZE))
    content = good.read_bytes()

    def changed(change: Callable[[bytearray], None]) -> Path:
        edited = bytearray(content)
        change(edited)
        (tmp_path / "bad.czi").write_bytes(edited)
        return tmp_path / "bad.czi"

    def put(edited: bytearray, place: int, value: int, size: int = 8) -> None:
        edited[place : place + size] = value.to_bytes(size, "little")

    directory = content.index(b"ZISRAWDIRECTORY")
    first = content.index(b"ZISRAWSUBBLOCK")
    cases: list[tuple[Callable[[bytearray], None], str]] = [
        (lambda file: put(file, 0, 7), "is no CZI file"),
        (lambda file: put(file, 84, 0), "has no directory of its pixels"),
        (lambda file: put(file, 84, 10**15), "has no ZISRAWDIRECTORY where it should"),
        (lambda file: put(file, directory + 32, 2**31 - 1, 4), "directory speaks of 2,147,483,647 pieces"),
        (lambda file: put(file, directory + 160 + 28, 2**31 - 1, 4), "directory holds what is no entry"),
        (lambda file: put(file, directory + 160 + 6, 10**12), "lies nowhere"),
    ]
    for change, match in cases:
        with pytest.raises(InputError, match=match) as said:
            open_stored(changed(change))
        assert "\n" not in str(said.value)
    pixel_cases: list[tuple[Callable[[bytearray], None], str]] = [
        (lambda file: put(file, first + 32 + 8, 10**12), "is stored in 1,000,000,000,000 bytes"),
        (lambda file: put(file, first + 32 + 16 + 240 + 12, 1), "is damaged: plane 0 cannot be read"),
        (lambda file: put(file, first, 5), "has no ZISRAWSUBBLOCK where it should"),
    ]
    for change, match in pixel_cases:
        volume = open_volume(changed(change))[0]
        with pytest.raises(InputError, match=match):
            volume[:]
    plain = bytearray(write_czi(tmp_path / "plain.czi", planes_of(pixels)).read_bytes())
    place = plain.index(b"Y\0\0\0", plain.index(b"ZISRAWDIRECTORY"))
    put(plain, place + 8, 2**30, 4)
    put(plain, place + 16, 2**30, 4)
    (tmp_path / "plain.czi").write_bytes(plain)
    with pytest.raises(InputError, match="more than the file"):
        open_stored(tmp_path / "plain.czi")
    bomb = write_czi(tmp_path / "bomb.czi", planes_of(np.zeros((1, 4000, 4000), np.uint16), 5)).read_bytes()
    small = bytearray(bomb)
    for place in (bomb.index(b"Y\0\0\0"), bomb.rindex(b"Y\0\0\0")):
        put(small, place + 8, 9, 4)
        put(small, place + 16, 9, 4)
    (tmp_path / "bomb.czi").write_bytes(small)
    with pytest.raises(InputError, match="plane 0 cannot be read"):
        open_volume(tmp_path / "bomb.czi")[0][:]
    for end in (0, 1, 40, 100, len(content) // 2, len(content) - 30):
        (tmp_path / "cut.czi").write_bytes(content[:end])
        with pytest.raises(InputError, match=r"cut\.czi"):
            open_stored(tmp_path / "cut.czi")
    (tmp_path / "cut.czi").write_bytes(b"")
    with pytest.raises(InputError, match=r"cut\.czi is empty \(0 bytes\)"):
        open_stored(tmp_path / "cut.czi")
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><ImageDocument>&b;</ImageDocument>'
    with pytest.raises(InputError, match="defines a document type"):
        open_stored(write_czi(tmp_path / "laughs.czi", planes_of(pixels), laughs))
    odd = open_stored(write_czi(tmp_path / "odd.czi", planes_of(pixels), czi_xml({"X": -1.0, "Y": 0.5})))
    assert odd.voxel_size_um == (None, 0.5, None)
    assert "along x, which cannot be one" in odd.notes[0]
