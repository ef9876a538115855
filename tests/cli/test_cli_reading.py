"""How commands read views: names that are guessed, roles that are stated, sizes that are overridden, what cannot be read."""

import json
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import gaussian_filter

from command_line import run
from napari_mvfusion.cli import show
from napari_mvfusion.cli.script import as_command, as_python
from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import make_method
from napari_mvfusion.models.model_file import weights_sha256
from small_training import UNIVERSAL


@pytest.fixture(scope="module")
def scheme(tmp_path_factory):
    """A folder of the scheme."""
    folder = tmp_path_factory.mktemp("reading") / "scheme"
    run("simulate", folder, "--size", 32, "--angles", "90,270", "--seed", 5, "--voxel-size", 0.5)
    return folder


@pytest.fixture
def others(scheme, tmp_path):
    """The same files by other names."""
    folder = tmp_path / "others"
    folder.mkdir()
    names = {
        "embryo_view_90.tif": "SPIM_angle_090.tif",
        "embryo_view_270.tif": "SPIM_Angle270.tif",
        "psf_90.tif": "psf_090.tif",
        "psf_270.tif": "psf-270.tif",
        "embryo_groundtruth.tif": "truth.tif",
    }
    for old, new in names.items():
        shutil.copy(scheme / old, folder / new)
    return folder


def pixels(path):
    return np.asarray(open_volume(path)[0][:])


def fused(tmp_path, name, *arguments):
    done = run("fuse", *arguments, "--iterations", 2, "-o", tmp_path / f"{name}.zarr")
    return pixels(tmp_path / f"{name}.zarr"), done.stderr


def test_a_folder_of_other_names_fuses_as_one_of_the_scheme_and_its_recipe_guesses_nothing(scheme, others, tmp_path):
    expected, _ = fused(tmp_path, "expected", scheme)
    found, said = fused(tmp_path, "found", others)
    (line,) = [line for line in said.splitlines() if "guessed" in line]
    assert line.startswith("note: guessed from names: ")
    for name, angle, psf in (("SPIM_angle_090.tif", 90, "psf_090.tif"), ("SPIM_Angle270.tif", 270, "psf-270.tif")):
        assert f"{name} is view {angle}, its PSF {psf}" in line
    np.testing.assert_array_equal(found, expected)
    # Files that come later change what would be guessed.
    for name in ("SPIM_angle_090.tif", "SPIM_Angle270.tif"):
        shutil.copy(others / name, others / f"another {name}")
    run("fuse", others, "--iterations", 2, "-o", tmp_path / "no.zarr", code=2)
    recipe = tmp_path / "found.zarr.recipe.json"
    done = run("fuse", "--recipe", recipe, "-o", tmp_path / "again.zarr")
    assert "guessed" not in done.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "again.zarr"), expected)
    inputs = json.loads(recipe.read_text())["inputs"]
    assert inputs["source"] == {"90": str(others / "SPIM_angle_090.tif"), "270": str(others / "SPIM_Angle270.tif")}
    assert inputs["psfs"] == {"90": str(others / "psf_090.tif"), "270": str(others / "psf-270.tif")}


def test_roles_are_stated_where_names_do_not_tell_them(scheme, others, tmp_path):
    expected, _ = fused(tmp_path, "expected", scheme)
    (others / "SPIM_angle_090.tif").rename(others / "left=raw.tif")
    for command in (("info", others), ("fuse", others, "-o", tmp_path / "no.zarr")):
        done = run(*command, code=2)
        (line,) = done.stderr.splitlines()
        assert "left=raw.tif seems to be a view, but its name says no angle" in line
        assert "--view 90=FILE and --psf 90=FILE" in line
    stated = ["--view", f"90={others / 'left=raw.tif'}", "--view", f"270={others / 'SPIM_Angle270.tif'}"]
    psfs = ["--psf", f"90={others / 'psf_090.tif'}", "--psf", f"270={others / 'psf-270.tif'}"]
    found, said = fused(tmp_path, "found", *stated, *psfs)
    assert "guessed" not in said
    np.testing.assert_array_equal(found, expected)
    (sample,) = json.loads(run("info", *stated, *psfs, "--json").stdout)["samples"]
    assert [(view["name"], view["angle"]) for view in sample["views"]] == [("90", 90), ("270", 270)]
    residuals = json.loads(run("evaluate", tmp_path / "found.zarr", *stated, *psfs, "--json").stdout)["reprojection"]
    assert [entry["view"] for entry in residuals] == ["90", "270"]


BAD = {
    "both": (lambda f: [f, "--view", f"90={f / 'psf_90.tif'}"], "give either INPUT, or --view ANGLE=FILE"),
    "no file": (lambda f: ["--view", f"90={f / 'none.tif'}"], "none.tif does not exist"),
    "no name": (lambda f: ["--view", f / "embryo_view_90.tif"], "is not of the form 90=FILE"),
    "twice": (lambda f: ["--view", f"90={f / 'psf_90.tif'}"] * 2, "'90' is given twice"),
    "a PSF of a folder without its view": (lambda f: [f, "--psf", f / "psf_90.tif"], "write --psf 90="),
    "a PSF of no view": (lambda f: [f, "--psf", f"45={f / 'psf_90.tif'}"], "but the views are 90, 270"),
    "a tag of stated views": (
        lambda f: ["--view", f"90={f / 'embryo_view_90.tif'}", "--tag", "embryo"],
        "'embryo' is given as the tag of a sample, which only a folder of views has",
    ),
    "nothing for a view": (lambda f: ["--view", "90="], "'90=' is not of the form 90=FILE, nothing stands after the ="),
    "a PSF of nobody": (lambda f: [f, "--psf", "=x.tif"], "nothing stands before the ="),
    "two offsets": (lambda f: [f, "--offset", 1, "--offset", 2], "'1' and '2' are both given for all views"),
    "a gain beyond numbers": (lambda f: [f, "--gain", "90=1e-40"], "has gain 1e-40: give one from 1e-06 to 1,000,000"),
    "a view named twice": (lambda f: [f, "--only", "90,090"], "view '90' is named twice"),
    "two weights": (lambda f: [f, "--weight", "90=1", "--weight", "090=2"], "a weight is given twice for view '90'"),
    "PSFs of both kinds": (
        lambda f: [f / "embryo_view_90.tif", "--psf", f / "psf_90.tif", "--psf", f"a={f / 'psf_90.tif'}"],
        "does not say which view it is of",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_roles_that_cannot_be_are_refused(scheme, tmp_path, case):
    arguments, words = case
    done = run("fuse", *arguments(scheme), "--method", "average", "-o", tmp_path / "o.zarr", code=2)
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_views_are_known_by_their_angles_however_these_are_written(scheme, tmp_path):
    plain = ["--offset", "90=3", "--gain", "90=2", "--weight", "90=4", "--no-data", "90=none", "--only", "90,270"]
    padded = [text.replace("90", "090", 1) if text[0] == "9" else text for text in plain]
    assert padded != plain
    fuse = ("fuse", scheme, "--method", "average")
    for name, options in (("plain", plain), ("padded", padded)):
        run(*fuse, *options, "-o", tmp_path / f"{name}.zarr")
    np.testing.assert_array_equal(pixels(tmp_path / "padded.zarr"), pixels(tmp_path / "plain.zarr"))
    recipes = [json.loads((tmp_path / f"{name}.zarr.recipe.json").read_text()) for name in ("plain", "padded")]
    assert recipes[0]["views"] == recipes[1]["views"]
    assert recipes[0]["views"][0]["gain"] == 2


def test_a_place_that_cannot_be_written_is_said_before_anything_is_read(scheme, tmp_path):
    out = tmp_path / "missing" / "folder" / "o.tif"
    (tmp_path / "embryo_view_0.tif").write_bytes(b"no image")
    (line,) = run("fuse", tmp_path, "-o", out, code=3).stderr.splitlines()
    assert f"the folder {out.parent} does not exist" in line
    run("fuse", scheme, "--method", "average", "-o", tmp_path / "done.tif")
    recipe = json.loads((tmp_path / "done.tif.recipe.json").read_text())
    recipe["inputs"]["source"] = str(tmp_path / "gone")
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    for place, words in ((out, "does not exist"), (tmp_path / "done.tif", "exists already")):
        assert words in run("fuse", "--recipe", tmp_path / "r.json", "-o", place, code=3).stderr
    (line,) = run("psf", "measure", tmp_path / "embryo_view_0.tif", out, code=3).stderr.splitlines()
    assert f"the folder {out.parent} does not exist" in line


def test_what_is_to_be_said_of_views_is_said_once_in_a_command(capsys):
    show.begin_command()
    for _ in range(2):
        show.follow(iter([Warned("the views are odd"), Noted("PSF of view '0': cropped")]), title="average")
        show.say_warning("the views are odd")
    assert capsys.readouterr().err.splitlines() == ["warning: the views are odd", "note: PSF of view '0': cropped"]


@pytest.mark.long
def test_training_guesses_as_fusing_does(tmp_path):
    blob = gaussian_filter(np.pad(np.ones((1, 1, 1)), 4), 1.5).astype(np.float32)
    for folder, view, psf in (("scheme", "view_{}.tif", "psf_{}.tif"), ("others", "SPIM Angle{}.tif", "PSF-{}.tif")):
        (tmp_path / folder).mkdir()
        for angle in (0, 90):
            values = np.random.default_rng(angle).integers(100, 60000, (32, 32, 32)).astype(np.uint16)
            tifffile.imwrite(tmp_path / folder / view.format(angle), values, metadata={"axes": "ZYX"})
            tifffile.imwrite(tmp_path / folder / psf.format(angle), blob)
    tiny = [f"--set=architecture.{name}={value}" for name, value in UNIVERSAL.items()]
    short = ("--mode", "self", "--steps", 1, "--tile", 16, "--seed", 1, "--set=validation=1", "--device", "cpu", *tiny)
    run("train", tmp_path / "scheme", "-o", tmp_path / "a.safetensors", *short)
    done = run("train", tmp_path / "others", "-o", tmp_path / "b.safetensors", *short)
    assert "guessed from names: SPIM Angle0.tif is view 0, its PSF PSF-0.tif" in done.stderr
    assert weights_sha256(tmp_path / "a.safetensors") == weights_sha256(tmp_path / "b.safetensors")


def test_info_tells_what_was_guessed_and_knows_the_truth(others):
    done = run("info", others)
    assert "ground truth known" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "guessed from names" in line]
    assert "truth.tif is the ground truth" in line


def test_a_voxel_size_other_than_that_of_the_files_is_said_once(scheme, tmp_path):
    def lines(*arguments):
        return [line for line in run(*arguments).stderr.splitlines() if "as asked for" in line]

    fuse = ("fuse", scheme, "--method", "average", "-o")
    (line,) = lines(*fuse, tmp_path / "a.zarr", "--voxel-size", "2,1,1")
    assert "voxels of 2 x 1 x 1 um are taken, as asked for, where " in line
    assert line.endswith("embryo_view_90.tif states 0.5 x 0.5 x 0.5 um (2 files)")
    assert lines(*fuse, tmp_path / "b.zarr", "--voxel-size", "0.5") == []
    assert lines("info", scheme, "--voxel-size", 1) == [line.replace("2 x 1 x 1", "1 x 1 x 1")]
    run("simulate", tmp_path / "v.zarr", "--size", 32, "--angles", "0,90", "--voxel-size", 0.25)
    (line,) = lines("info", tmp_path / "v.zarr", "--voxel-size", 1)
    assert line.endswith("v.zarr states 0.25 x 0.25 x 0.25 um")


def test_numbers_other_than_those_that_a_file_states_are_said_and_the_rest_stays(tmp_path):
    path = tmp_path / "v.zarr"
    run("simulate", path, "--size", 32, "--angles", "0,90", "--offset", 100)
    group = zarr.open_group(path, mode="r+")
    ours = dict(group.attrs["mvfusion"])
    for entry in ours["views"]:
        entry |= {"offset": 100.0, "weight": 2.0}
    group.attrs["mvfusion"] = ours
    fuse = ("fuse", path, "--method", "average")
    run(*fuse, "-o", tmp_path / "plain.zarr")
    done = run(*fuse, "-o", tmp_path / "same.zarr", "--weight", "0=2")
    assert "as asked for" not in done.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "same.zarr"), pixels(tmp_path / "plain.zarr"))
    done = run(*fuse, "-o", tmp_path / "other.zarr", "--weight", "0=1", "--offset", 50)
    said = [line for line in done.stderr.splitlines() if "as asked for" in line]
    assert [line.removeprefix("warning: ").replace(f" ({path})", "") for line in said] == [
        "view '0': the camera offset 50 is taken, as asked for; its file states 100",
        "view '0': the weight 1 is taken, as asked for; its file states 2",
        "view '90': the camera offset 50 is taken, as asked for; its file states 100",
    ]


def test_info_describes_the_first_of_several_volumes_and_says_how_to_choose(tmp_path):
    series = np.random.default_rng(0).integers(1, 99, (3, 5, 6, 7)).astype(np.uint16)
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"a_view_{angle}.ome.tif", series, metadata={"axes": "TZYX"})
    for looked_at in (tmp_path, tmp_path / "a_view_0.ome.tif"):
        done = run("info", looked_at)
        assert "5 x 6 x 7" in done.stdout
        assert "voxel size not known" in done.stdout
        assert "um" not in done.stdout.replace(str(tmp_path), "")
        assert "has 3 time points: choose one with --timepoint 0 to 2" in done.stderr
        assert "this is the first one" in done.stderr
    assert json.loads(run("info", tmp_path, "--json").stdout)["samples"][0]["voxel_size_um"] is None
    assert "time points" not in run("info", tmp_path, "--timepoint", 1).stderr
    assert "voxels of 2 x 1 x 1 um" in run("info", tmp_path, "--timepoint", 1, "--voxel-size", "2,1,1").stdout


def test_planes_that_are_labelled_as_time_are_told_how_to_become_planes(tmp_path):
    path = tmp_path / "fiji.tif"
    tifffile.imwrite(path, np.ones((6, 5, 7), np.uint16), imagej=True, metadata={"axes": "TYX"})
    (line,) = run("info", path, code=2).stderr.splitlines()
    assert "has 6 time points (axes TYX) and no planes along z" in line
    assert "in Fiji: Image > Properties..., 6 slices and 1 frame" in line


def test_angles_are_read_in_names_of_files_datasets_and_channels(tmp_path):
    pixels = np.random.default_rng(0).random((5, 6, 7), np.float32)
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file["angle0"], file["angle90"] = pixels, pixels + 1
    for angle in (0, 90):
        tifffile.imwrite(tmp_path / f"fly_view_{angle}.tif", pixels + angle, metadata={"axes": "ZYX"})
    write_zarr(tmp_path / "c.zarr", np.stack([pixels, pixels]), Grid((5, 6, 7)), leading=[LeadingAxis("c", 2)])
    group = zarr.open_group(tmp_path / "c.zarr", mode="r+")
    labels = [{"label": "angle 0"}, {"label": "angle 90"}]
    group.attrs["ome"] = {**group.attrs["ome"], "omero": {"channels": labels}}
    files = [tmp_path / f"fly_view_{angle}.tif" for angle in (0, 90)]
    datasets = [f"{tmp_path}/both.h5:/angle{angle}" for angle in (0, 90)]
    counted = [{"left": files[0], "right": files[1]}, {"cam 1": files[0], "cam 2": files[1]}]
    for source in (files, datasets, tmp_path / "c.zarr", {"angle 0": files[0], "angle 90": files[1]}):
        assert [view.angle for view in open_views(source).views] == [0, 90]
    for source in counted:
        assert [view.angle for view in open_views(source).views] == [None, None]


def test_info_on_what_cannot_be_read_names_it_and_shows_the_rest(scheme, tmp_path):
    bare = tmp_path / "bare.zarr"
    zarr.create_group(bare)
    done = run("info", bare, code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {bare} is a zarr group without images: name an OME-Zarr image")
    done = run("info", bare, scheme, tmp_path / "none", scheme / "psf_90.tif", code=2)
    assert "embryo, voxels of" in done.stdout
    assert "psf_90.tif, voxels of" in done.stdout
    first, second = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(bare) in first
    assert f"{tmp_path / 'none'} does not exist" in second
    listed = json.loads(run("info", scheme, scheme / "psf_90.tif", "--json").stdout)
    assert [entry["kind"] for entry in listed] == ["folder", "file"]


def test_info_shows_the_other_samples_of_a_folder(scheme, tmp_path):
    for name in ("a_view_0.tif", "a_view_90.tif", "b_view_0.tif", "b_view_90.tif"):
        shutil.copy(scheme / "embryo_view_90.tif", tmp_path / name)
    tifffile.imwrite(tmp_path / "a_view_90.tif", np.ones((5, 6, 7), np.uint16), metadata={"axes": "ZYX"})
    done = run("info", tmp_path, code=2)
    assert "b, voxels of" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "a_view_90.tif has shape (5, 6, 7)" in line


def test_a_finished_result_is_left_alone_in_one_line(scheme, tmp_path):
    out = tmp_path / "o.zarr"
    fuse = ("fuse", scheme, "--iterations", 2, "--voxel-size", 1, "-o", out)
    run(*fuse)
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    done = run(*fuse, "--resume")
    assert done.stdout.splitlines() == [f"{out} was finished by an earlier run: nothing is left to do"]
    assert done.stderr == ""
    after = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert {path: at for path, at in after.items() if path.name != ".o.zarr.lock"} == before
    result = json.loads(run(*fuse, "--resume", "--json").stdout)
    assert result["output"] == str(out)


def test_what_is_to_be_said_of_psfs_is_readable_in_eighty_columns(tmp_path, monkeypatch):
    psf = gaussian_filter(np.pad(np.ones((1, 1, 1)), 12), 2.0).astype(np.float32)
    psf[0, 0, 0] = psf.max()
    tifffile.imwrite(tmp_path / "a.tif", psf * 1000 + 3)
    tifffile.imwrite(tmp_path / "b.tif", psf[:, :, :20])
    monkeypatch.setattr(show.out, "width", 80)
    shown = run("psf", "info", tmp_path / "a.tif", tmp_path / "b.tif").stdout.splitlines()
    assert max(map(len, shown)) <= 80
    notes = shown[shown.index("a.tif:") + 1 : shown.index("b.tif:")]
    assert sum(line.startswith("  - ") for line in notes) >= 2
    longest = max(len(line) for line in notes)
    assert longest > 60, "the width of the terminal is used"
    assert "background" in " ".join(notes)


def test_a_psf_that_cannot_be_used_does_not_hide_the_others(scheme, tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((5, 5, 5), np.float32))
    done = run("psf", "info", tmp_path / "dark.tif", scheme / "psf_90.tif", code=2)
    assert "psf_90.tif:" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "dark.tif has no positive sum" in line
    listed = json.loads(run("psf", "info", tmp_path / "dark.tif", scheme / "psf_90.tif", "--json", code=2).stdout)
    assert [entry["fwhm"] is not None for entry in listed] == [True]


@pytest.fixture
def recorded(scheme, tmp_path):
    """The views of two time points by names as people give them; those of the second are those of the scheme."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    for angle in (90, 270):
        shutil.copy(scheme / f"embryo_view_{angle}.tif", folder / f"spim_TL1_Angle{angle}.tif")
        shutil.copy(scheme / f"psf_{angle}.tif", folder / f"Angle {angle} - bead PSF.tif")
        view, _ = open_volume(scheme / f"embryo_view_{360 - angle}.tif")
        tifffile.imwrite(folder / f"spim_TL0_Angle{angle}.tif", np.asarray(view), ome=True, metadata={"axes": "ZYX"})
    return folder


PATTERN = "spim_TL{timepoint}_Angle{angle}.tif | Angle {angle} - bead PSF.tif"


def test_a_pattern_says_what_names_mean_and_the_recipe_repeats_it(scheme, recorded, tmp_path):
    expected, _ = fused(tmp_path, "expected", scheme)
    found, said = fused(tmp_path, "found", recorded, "--pattern", PATTERN, "--timepoint", 1)
    np.testing.assert_array_equal(found, expected)
    assert "at time point 1: spim_TL1_Angle90.tif is view 90, its PSF Angle 90 - bead PSF.tif" in said
    recipe = tmp_path / "found.zarr.recipe.json"
    assert json.loads(recipe.read_text())["inputs"]["pattern"] == PATTERN
    run("fuse", "--recipe", recipe, "-o", tmp_path / "again.zarr")
    np.testing.assert_array_equal(pixels(tmp_path / "again.zarr"), expected)
    before = (recorded / "Angle 90 - bead PSF.tif").read_bytes()
    how = ("--pattern", PATTERN, "--timepoint", 1, "--overwrite")
    refused = run("fuse", recorded, *how, "-o", recorded / "Angle 90 - bead PSF.tif", code=3)
    assert "is never replaced" in refused.stderr
    assert (recorded / "Angle 90 - bead PSF.tif").read_bytes() == before


def test_info_shows_what_a_pattern_finds_in_each_name(recorded):
    (recorded / "notes.tif").write_bytes(b"")
    done = run("info", recorded, "--pattern", PATTERN, "--json")
    names = json.loads(done.stdout)["names"]
    rows = {row["path"].rsplit("/")[-1]: row["found"] for row in names["rows"]}
    assert rows["notes.tif"] is None
    assert {key: rows["spim_TL1_Angle270.tif"][key] for key in ("role", "angle", "timepoint")} == {
        "role": "view",
        "angle": 270,
        "timepoint": 1,
    }
    shown = run("info", recorded, "--pattern", PATTERN)
    assert "timepoint" in shown.stdout
    assert "notes.tif fits no pattern" in shown.stderr
    wrong = run("info", recorded, "--pattern", "spim_{angel}.tif", code=2)
    assert wrong.stderr.strip().endswith("is no field: write {angle}")
    several = run("fuse", recorded, "--pattern", PATTERN, "-o", recorded / "out.zarr", code=2)
    assert "say 2 time points: choose one with --timepoint 0, 1" in several.stderr


def test_a_copied_run_says_pattern_and_choice():
    inputs = Inputs(source="/data/fish", pattern=PATTERN, timepoint=1, channel=0)
    command = as_command(inputs, make_method("average"), "out.tif")
    assert f"--pattern '{PATTERN}' --timepoint 1 --channel 0" in command
    assert f"pattern={PATTERN!r}, timepoint=1, channel=0" in as_python(inputs, make_method("average"), "out.tif")
