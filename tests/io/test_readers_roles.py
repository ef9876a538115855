"""What files are for, guessed where their names follow no scheme."""

import numpy as np
import pytest
import tifffile

from napari_mvfusion.io.formats import volume_files
from napari_mvfusion.io.roles import guess_roles, has_views
from napari_mvfusion.simulation import light_sheet_psf

VIEW = (24, 40, 40)


def guessed(folder, contents):
    """The roles of files with these names and pixels."""
    for name, pixels in contents.items():
        tifffile.imwrite(folder / name, pixels)
    return {guess.path.name: guess.role for guess in guess_roles([folder / name for name in contents])}


@pytest.fixture
def view(rng):
    return rng.integers(90, 4000, VIEW).astype(np.uint16)


@pytest.fixture
def psf():
    return light_sheet_psf(shape=(15, 9, 9))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("left.tif", "view"),
        ("PSF_left.tif", "psf"),
        ("left-point spread.tif", "psf"),
        ("Beads_0.tif", "beads"),
        ("groundTruth.tif", "truth"),
        ("fish_gt.tif", "truth"),
        ("fish_fused.tif", "ignore"),
        ("gtx_embedded.tif", "view"),
    ],
)
def test_a_name_says_it(tmp_path, view, name, role):
    assert guessed(tmp_path, {name: view}) == {name: role}


def test_small_volumes_with_a_single_peak_beside_large_ones_are_psfs(tmp_path, view, psf):
    contents = {"cam1.tif": view, "cam2.tif": view, "k1.tif": psf, "k2.tif": (psf * 60000 + 100).astype(np.uint16)}
    assert guessed(tmp_path, contents) == {"cam1.tif": "view", "cam2.tif": "view", "k1.tif": "psf", "k2.tif": "psf"}


def test_a_small_volume_with_much_to_see_is_a_view(tmp_path, view):
    small = view[:15, :9, :9]
    assert guessed(tmp_path, {"a.tif": view, "b.tif": small}) == {"a.tif": "view", "b.tif": "view"}


def test_alone_nothing_is_small(tmp_path, psf):
    assert guessed(tmp_path, {"a.tif": psf}) == {"a.tif": "view"}


def test_what_is_no_volume_is_left_out_and_says_why(tmp_path, view):
    (tmp_path / "empty.tif").touch()
    tifffile.imwrite(tmp_path / "plane.tif", view[0])
    tifffile.imwrite(tmp_path / "a.tif", view)
    tifffile.imwrite(tmp_path / "._a.tif", view)
    files = volume_files(tmp_path)
    assert [file.name for file in files] == ["a.tif", "empty.tif", "plane.tif"]
    guesses = guess_roles(files)
    assert [guess.role for guess in guesses] == ["view", "ignore", "ignore"]
    assert "empty (0 bytes)" in guesses[1].reason
    assert has_views(guesses)
    assert not has_views(guesses[1:])
