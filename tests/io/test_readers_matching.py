"""Files find their views by names and angles; what could be meant twice is named, not guessed."""

from pathlib import Path

import pytest

from napari_mvfusion.io.angles import angle_in, angles_in
from napari_mvfusion.io.matching import Wanted, match_files

FOUR = [Wanted(f"{a}", f"embryo view {a}", float(a), "embryo") for a in (0, 90, 180, 270)]


def names(matches):
    return {i: path.name for i, path in matches.found.items()}


@pytest.mark.parametrize(
    "scheme",
    [
        "psf_{}.tif",
        "{}_psf.tif",
        "PSF-view{}.tif",
        "view_{}.psf.tif",
        "psf{}.TIFF",
        "PSF {} deg.tif",
        "psf_{}.0.ome.tif",
        "embryo_psf_{}.tif",
        "2024-05-12_run2_psf_{}.tif",
        "psf-{}.tif",
        "psf_+{}.tif",
        "average psf of view {} (40x).tif",
        "beads_{}deg.tif",
    ],
)
def test_angles_in_file_names(scheme):
    files = [Path(scheme.format(a)) for a in (270, 0, 180, 90)]
    matches = match_files(FOUR, files)
    assert names(matches) == {i: scheme.format(a) for i, a in enumerate((0, 90, 180, 270))}
    assert matches.problems == ()


def test_names_without_angles():
    views = [Wanted("left", "fish left"), Wanted("right", "fish right")]
    matches = match_files(views, [Path("psf_right.tif"), Path("LEFT-psf.tif"), Path("psf_top.tif")])
    assert names(matches) == {0: "LEFT-psf.tif", 1: "psf_right.tif"}
    assert matches.problems == ("psf_top.tif fits no view",)


def test_minus_ninety_is_two_hundred_and_seventy():
    assert names(match_files(FOUR, [Path("psf_-90.tif")])) == {3: "psf_-90.tif"}


def test_the_number_beside_view_wins_over_the_one_beside_psf():
    matches = match_files(FOUR[:2], [Path("psf_0_view_90.tif"), Path("psf_90_view_0.tif")])
    assert names(matches) == {0: "psf_90_view_0.tif", 1: "psf_0_view_90.tif"}


def test_two_files_for_one_view_are_named_and_none_is_taken():
    matches = match_files(FOUR, [Path("a/psf_90.tif"), Path("b/psf_090.tif"), Path("a/psf_0.tif")])
    assert names(matches) == {0: "psf_0.tif"}
    assert matches.problems == ("psf_90.tif and psf_090.tif both fit 'embryo view 90': choose one by hand",)


def test_one_file_for_two_views_is_named_and_not_taken():
    views = [Wanted("a", "tail left", None), Wanted("b", "tail right", None)]
    matches = match_files(views, [Path("psf_tail.tif")])
    assert matches.found == {}
    assert matches.problems == ("psf_tail.tif fits 'tail left' and 'tail right': choose by hand",)


def test_left_over_files_are_named():
    assert match_files(FOUR, [Path("psf_45.tif")]).problems == ("psf_45.tif fits no view",)
    assert match_files([], [Path("psf_0.tif")]).problems == ("psf_0.tif fits no view",)


def test_samples_share_the_psf_of_an_angle_but_not_each_others_own():
    views = [Wanted("0", f"{s} view 0", 0.0, s) for s in ("fly", "fish")]
    assert names(match_files(views, [Path("psf_0.tif")])) == {0: "psf_0.tif", 1: "psf_0.tif"}
    matches = match_files(views, [Path("fish_psf_0.tif"), Path("psf_0.tif")])
    assert names(matches) == {0: "psf_0.tif", 1: "fish_psf_0.tif"}
    assert matches.problems == ()


def test_layers_of_unknown_angle_go_by_the_number_they_are_called_by():
    assert names(match_files([Wanted("scan 90", "scan 90")], [Path("psf_90.tif")])) == {0: "psf_90.tif"}


@pytest.mark.parametrize(
    ("text", "angle"),
    [
        ("embryo_view_90", 90),
        ("View22.5", 22.5),
        ("angle_-45", -45),
        ("stack 180deg", 180),
        ("45°", 45),
        ("image_001", None),
        ("psf_90", None),
        ("view_0_angle_90", None),
    ],
)
def test_an_angle_is_known_only_where_a_word_says_so(text, angle):
    assert angle_in(text) == angle


@pytest.mark.parametrize(
    ("text", "angle"),
    [
        ("psf-90", 90),
        ("PSF_angle_090", 90),
        ("psf (90)", 90),
        ("psf_-45", -45),
        ("PSF 22.5 deg", 22.5),
        ("fish2 psf_270", 270),
        ("beads_180", 180),
        ("beads_100nm", None),
        ("psf 20x", None),
        ("psf_488", None),
        ("psf", None),
    ],
)
def test_of_a_psf_the_angle_may_stand_behind_that_word(text, angle):
    assert angle_in(text, of_psf=True) == angle


def test_counted_files_are_no_angles():
    assert angles_in(["psf_1", "psf_2"], of_psfs=True) == [None] * 2
    assert angles_in(["psf-0", "psf-90"], of_psfs=True) == [0, 90]
    assert angles_in(["view_0", "view_90"]) == [0, 90]
    assert angles_in(["view_1", "view_2", "view_3"]) == [None] * 3
    assert angles_in(["view_0", "view_1"]) == [None] * 2
    assert angles_in(["view_0"]) == [0]
