"""A folder whose names follow no scheme: its views and PSFs are guessed where that is clear, and said; else it is asked."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_mvfusion as mv
from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.guessing import files_without_scheme
from napari_mvfusion.io.opening import guessed_in, left_out, open_truth, open_views
from napari_mvfusion.simulation import light_sheet_psf

VIEW = (24, 40, 40)


@pytest.fixture
def pixels(rng):
    return rng.integers(90, 4000, VIEW).astype(np.uint16)


def fill(folder: Path, pixels, *views: str, psfs: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> Path:
    """Files of these names: views that differ by a number, PSFs, and other volumes."""
    for number, name in enumerate((*views, *others)):
        tifffile.imwrite(folder / name, pixels + number, metadata={"axes": "ZYX"})
    for name in psfs:
        tifffile.imwrite(folder / name, light_sheet_psf(shape=(15, 9, 9)))
    return folder


@pytest.mark.parametrize(
    ("views", "psfs"),
    [
        (("SPIM_angle_090.tif", "SPIM_angle_270.tif"), ("psf_090.tif", "psf_270.tif")),
        (("fish_s1_Angle90.tif", "fish_s1_Angle270.tif"), ("PSF-270deg.tif", "PSF-90deg.tif")),
        (("90 deg.ome.tif", "270 deg.ome.tif"), ("small_90.tif", "small_270.tif")),
        (("stack-view-90.TIFF", "stack-view-270.TIFF"), ("90_psf.tif", "270_psf.tif")),
    ],
)
def test_views_and_psfs_are_told_by_names_and_sizes(tmp_path, pixels, views, psfs):
    fill(tmp_path, pixels, *views, psfs=psfs)
    opened = open_views(tmp_path)
    assert [(view.name, view.angle) for view in opened.views] == [("90", 90), ("270", 270)]
    assert [Path(view.source).name for view in opened.views] == list(views)
    for view, number in zip(opened.views, (0, 1), strict=True):
        np.testing.assert_array_equal(view.data[:], pixels + number)
        assert view.psf is not None
    guessed = guessed_in(tmp_path)
    assert {name: path.name for name, path in guessed.psfs.items()} == {
        angle: next(name for name in psfs if angle in name) for angle in ("90", "270")
    }
    (said,) = opened.remarks
    assert said.startswith(f"guessed from names: {views[0]} is view 90, its PSF {guessed.psfs['90'].name}; {views[1]}")


def test_what_is_no_view_has_its_role_or_is_left_out_and_named(tmp_path, pixels):
    fill(tmp_path, pixels, "angle_0.tif", "angle_90.tif", others=("truth.tif", "beads_0.tif", "fused.tif"))
    tifffile.imwrite(tmp_path / "MIP_angle_0.tif", pixels.max(0))
    fill(tmp_path, pixels, psfs=("psf_0.tif", "psf_90.tif", "psf_45.tif"))
    guessed = guessed_in(tmp_path)
    assert guessed.truth.name == "truth.tif"
    np.testing.assert_array_equal(open_truth(tmp_path)[:], pixels + 2)
    for words in (
        "truth.tif is the ground truth",
        "beads_0.tif is left out, as it shows beads",
        "fused.tif is left out, as its name says 'fused'",
        "psf_45.tif is left out, as no view has its angle",
        "MIP_angle_0.tif is left out, as ",
    ):
        assert words in guessed.said
    assert "\n" not in guessed.said
    (sample,) = describe(tmp_path).samples
    assert [(view.name, view.angle) for view in sample.views] == [("0", 0), ("90", 90)]
    assert sample.has_truth
    assert guessed.said in sample.problems


@pytest.mark.parametrize(
    ("views", "psfs", "words"),
    [
        (("left.tif", "angle_90.tif"), (), r"left\.tif seems to be a view, but its name says no angle"),
        (("angle_1.tif", "angle_2.tif"), (), r"angle_1\.tif seems to be a view, but its name says no angle"),
        (
            ("a_angle_90.tif", "b_angle_90.tif"),
            (),
            r"a_angle_90\.tif and b_angle_90\.tif both seem to be the view at 90",
        ),
        (("angle_0.tif", "angle_90.tif"), ("psf_a.tif", "psf_b.tif"), r"which view psf_a\.tif and psf_b\.tif belongs"),
        (
            ("angle_0.tif", "angle_90.tif"),
            ("psf 0.tif", "PSF 00.tif"),
            r"which view PSF 00\.tif and psf 0\.tif belongs",
        ),
    ],
)
def test_what_is_not_clear_is_asked_in_one_line(tmp_path, pixels, views, psfs, words):
    fill(tmp_path, pixels, *views, psfs=psfs)
    for attempt in (open_views, describe, lambda path: Inputs(source=str(path)).resolved()):
        with pytest.raises(InputError, match=rf"{words}.*--view 90=FILE and --psf 90=FILE") as caught:
            attempt(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_damaged_view_is_not_left_out(tmp_path, pixels):
    fill(tmp_path, pixels, "angle_0.tif", "angle_90.tif")
    whole = (tmp_path / "angle_90.tif").read_bytes()
    (tmp_path / "angle_180.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"angle_180\.tif .*copy or export it again.*--view 90=FILE"):
        open_views(tmp_path)


def test_names_of_the_scheme_are_never_guessed(tmp_path, pixels):
    fill(tmp_path, pixels, "view_0.tif", "view_1.tif", "angle_2.tif")
    assert guessed_in(tmp_path) is None
    opened = open_views(tmp_path)
    assert opened.names == ("0", "1")
    assert opened.remarks == ()


def test_roles_that_are_stated_need_no_names(tmp_path, pixels):
    fill(tmp_path, pixels, "left.tif", "right.tif", psfs=("a.tif", "b.tif"))
    views = {"090": tmp_path / "left.tif", "left": tmp_path / "right.tif"}
    opened = open_views(views, psfs={"left": tmp_path / "a.tif", "90.0": tmp_path / "b.tif"})
    assert [(view.name, view.angle) for view in opened.views] == [("90", 90), ("left", None)]
    assert all(view.psf is not None for view in opened.views)
    some = open_views(views, psfs={"90": tmp_path / "a.tif"})
    assert [view.psf is None for view in some.views] == [False, True]
    with pytest.raises(InputError, match="a PSF is given for view '270', but the views are 90, left"):
        open_views(views, psfs={"270": tmp_path / "a.tif"})
    with pytest.raises(InputError, match="both given as the file of view '90'"):
        open_views({"90": tmp_path / "left.tif", "090": tmp_path / "right.tif"})
    with pytest.raises(InputError, match="PSFs are not"):
        open_views(views, psfs=[tmp_path / "a.tif", tmp_path / "b.tif"])


def test_a_psf_that_is_stated_takes_the_place_of_that_in_the_folder_and_says_so(tmp_path, pixels):
    fill(tmp_path, pixels, "view_0.tif", "view_90.tif", psfs=("psf_0.tif", "psf_90.tif"))
    tifffile.imwrite(tmp_path / "other.tif", light_sheet_psf(90, shape=(15, 15, 15)))
    opened = open_views(tmp_path, psfs={"90": tmp_path / "other.tif"}, clean_psfs=False)
    np.testing.assert_array_equal(opened.views[1].psf, tifffile.imread(tmp_path / "other.tif"))
    (said,) = opened.remarks
    assert said == (
        f"view '90': the PSF {tmp_path / 'other.tif'} is taken, as asked for, in place of that in {tmp_path / 'psf_90.tif'}"
    )


def test_a_folder_of_psfs_with_other_names(tmp_path, pixels):
    views, psfs = tmp_path / "views", tmp_path / "psfs"
    views.mkdir()
    psfs.mkdir()
    fill(views, pixels, "view_0.tif", "view_90.tif")
    fill(psfs, pixels, psfs=("left angle 0.tif", "angle 90.tif"))
    opened = open_views(views, psf_folder=psfs)
    assert all(view.psf is not None for view in opened.views)
    (said,) = opened.remarks
    assert said == ("guessed from names: left angle 0.tif is the PSF of view 0; angle 90.tif is the PSF of view 90")
    empty = tmp_path / "empty"
    empty.mkdir()
    for elsewhere in (views, empty):
        nothing = open_views(views, psf_folder=elsewhere)
        assert all(view.psf is None for view in nothing.views)
        assert f"no file in {elsewhere} has the name or angle of a view" in nothing.remarks[0]


def test_a_recipe_holds_the_files_and_guesses_nothing_again(tmp_path, pixels):
    folder = tmp_path / "in"
    folder.mkdir()
    fill(folder, pixels, "SPIM_angle_090.tif", "SPIM_angle_270.tif", psfs=("psf_090.tif", "psf_270.tif"))
    inputs, said = Inputs(source=str(folder)).resolved()
    assert said == guessed_in(folder).said
    assert inputs.source == {a: str(folder / f"SPIM_angle_{a.zfill(3)}.tif") for a in ("90", "270")}
    assert inputs.psfs == {a: str(folder / f"psf_{a.zfill(3)}.tif") for a in ("90", "270")}
    assert inputs.resolved() == (inputs, "")
    told = inputs.open()
    guessed = Inputs(source=str(folder)).open()
    assert told.remarks == ()
    for one, other in zip(told.views, guessed.views, strict=True):
        assert (one.name, one.angle, one.source) == (other.name, other.angle, other.source)
        np.testing.assert_array_equal(one.psf, other.psf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mv.fuse(guessed, mv.Average(), device="cpu")
    assert said in {str(warning.message) for warning in caught}


def test_of_several_samples_and_folders_without_views_nothing_is_guessed(tmp_path, pixels):
    assert guessed_in(tmp_path) is None
    tifffile.imwrite(tmp_path / "angle_0.tif", pixels[0])
    assert guessed_in(tmp_path) is None
    with pytest.raises(InputError, match="holds no views: names such as"):
        open_views(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("fishA_angle_0.tif", "fishB_angle_90.tif"),
        ("t001_angle_0.tif", "t002_angle_90.tif"),
        ("ch488_angle_0.tif", "ch561_angle_180.tif"),
        ("2028-11-27_angle_0.tif", "2028-11-28_angle_90.tif"),
    ],
)
def test_files_that_may_be_of_several_specimens_are_not_one(tmp_path, pixels, names):
    fill(tmp_path, pixels, *names)
    with pytest.raises(InputError, match=r"differ in more than their angles.*--view 90=FILE"):
        open_views(tmp_path)


def test_what_was_fused_is_no_view(tmp_path, pixels):
    fill(tmp_path, pixels, "angle_0.tif", "angle_90.tif", others=("result.tif",))
    (tmp_path / "result.tif.recipe.json").write_text("{}")
    views = open_views(tmp_path)
    assert views.names == ("0", "90")
    assert views.remarks[0].endswith("result.tif is left out, as it was fused")
    # Without the recipe beside it, by that inside of it.
    write_volume(tmp_path / "angle_45.zarr", pixels, Grid(pixels.shape), recipe={"method": "average"})
    views = open_views(tmp_path)
    assert views.names == ("0", "90")
    assert "angle_45.zarr is left out, as it was fused" in views.remarks[0]
    assert open_views({"0": tmp_path / "angle_0.tif", "45": tmp_path / "angle_45.zarr"}).names == ("0", "45")


def test_a_result_with_the_name_of_a_view_is_none_beside_others(tmp_path, pixels):
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"s_view_{angle}.tif", pixels)
    run("fuse", tmp_path, "--method", "average", "-q", "-o", tmp_path / "s_view_180.tif")
    assert open_views(tmp_path).names == ("0", "90")
    (said,) = left_out(tmp_path)
    assert said.startswith("s_view_180.tif is left out, as it was fused; name it as a view to use it (--view 180=")
    assert "as it was fused" in " ".join(run("info", tmp_path).stderr.split())
    # Views that were all fused, of the illuminations of each, are meant.
    for angle in (0, 90):
        (tmp_path / f"s_view_{angle}.tif.recipe.json").write_text("{}")
    assert open_views(tmp_path).names == ("0", "90", "180")
    assert left_out(tmp_path) == ()


def test_one_file_is_one_view(tmp_path, pixels):
    fill(tmp_path, pixels, "a.tif", "b.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "a.tif")
    for other in ("a.tif", "link.tif"):
        with pytest.raises(InputError, match="is given both as view '0' and as view '90'"):
            open_views({"0": tmp_path / "a.tif", "90": tmp_path / other})
    np.testing.assert_array_equal(open_views([tmp_path / "link.tif", tmp_path / "b.tif"]).views[0].data, pixels)


def test_only_folders_of_volumes_whose_names_say_nothing_are_without_a_scheme(tmp_path, pixels):
    named, free, flat = (tmp_path / name for name in ("named", "free", "flat"))
    for folder in (named, free, flat):
        folder.mkdir()
    fill(named, pixels, "a_view_0.tif", "a_view_90.tif")
    fill(free, pixels, "front.tif", "back.tif")
    tifffile.imwrite(flat / "plane.tif", pixels[0])
    assert files_without_scheme(named) == files_without_scheme(flat) == []
    assert files_without_scheme(free) == [free / "back.tif", free / "front.tif"]
