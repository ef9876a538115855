"""The command line as a person uses it: real files, exit codes, one line that says what is wrong."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import gaussian_filter

from command_line import run
from napari_mvfusion.cli import evaluate as evaluate_command
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.unsupported import find_unsupported
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe
from napari_mvfusion.measures import metrics
from napari_mvfusion.measures.metric import Metric
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import METHODS, Average
from napari_mvfusion.models.model_file import weights_sha256
from small_training import UNIVERSAL

MVFUSION = Path(sys.executable).with_name("mvfusion")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A small embryo, simulated by the command itself, with beads."""
    folder = tmp_path_factory.mktemp("cli") / "sample"
    run("simulate", folder, "--size", 32, "--angles", "0,90,180,270", "--beads", "--seed", 3, "--voxel-size", 0.5)
    return folder


def test_simulate_writes_the_folder_scheme(sample):
    names = {path.name for path in sample.iterdir()}
    assert names == {
        *(f"embryo_view_{angle}.tif" for angle in (0, 90, 180, 270)),
        *(f"psf_{angle}.tif" for angle in (0, 90, 180, 270)),
        "embryo_groundtruth.tif",
        "beads",
    }
    _, grid = open_volume(sample / "embryo_view_90.tif")
    assert grid.shape == (32, 32, 32)
    assert grid.voxel_size_um == (0.5, 0.5, 0.5)


def test_simulate_with_the_measured_psfs_and_several_specimens(tmp_path, test_data):
    out = tmp_path / "many"
    run("simulate", out, "--size", 64, "--psfs", test_data / "psf" / "quad_view", "--count", 2)
    listed = json.loads(run("info", out, "--json").stdout)
    assert [entry["tag"] for entry in listed["samples"]] == ["embryo0", "embryo1"]
    assert [view["angle"] for view in listed["samples"][0]["views"]] == [0, 90, 180, 270]
    first, second = (tifffile.imread(out / f"embryo{i}_groundtruth.tif") for i in (0, 1))
    assert not np.array_equal(first, second)


def test_info_lists_what_is_there(sample):
    text = run("info", sample).stdout
    for word in ("embryo", "270", "32 x 32 x 32", "ground truth known", "0.5 x 0.5 x 0.5 um"):
        assert word in text


def test_info_finds_a_psf_that_was_saved_upside_down(tmp_path, test_data):
    out = tmp_path / "sample"
    run("simulate", out, "--size", 80, "--psfs", test_data / "psf" / "quad_view", "--attenuation", 0)
    verdicts = json.loads(run("info", out, "--mirror", "--json").stdout)["mirror"]["embryo"]
    assert "mirrored" not in {entry["verdict"] for entry in verdicts}
    psf = tifffile.imread(out / "psf_0.tif")
    tifffile.imwrite(out / "psf_0.tif", psf[::-1, ::-1, ::-1].copy())
    assert "the PSF of view '0' seems to be mirrored" in run("info", out, "--mirror").stderr


def test_psf_measure_and_info(sample, tmp_path):
    result = json.loads(run("psf", "measure", sample / "beads" / "beads_90.tif", tmp_path / "psf.tif", "--json").stdout)
    assert len(result["used"]) >= 3
    z, y, x = result["fwhm"]
    assert y > 1.5 * z
    assert y > 1.5 * x
    psf = tifffile.imread(tmp_path / "psf.tif")
    assert psf.sum() == pytest.approx(1, abs=1e-4)
    assert "FWHM" in run("psf", "info", tmp_path / "psf.tif").stdout


@pytest.mark.parametrize("method", ["average", "cbif", "ebmd"])
@pytest.mark.parametrize("ending", ["zarr", "tif"])
def test_fuse_writes_the_volume_its_scale_and_its_recipe(sample, tmp_path, method, ending):
    out = tmp_path / f"fused.{ending}"
    more = ["--iterations", 2, "--lambda", 0.01] if method == "ebmd" else []
    result = json.loads(run("fuse", sample, "--method", method, *more, "-o", out, "--json").stdout)
    data, grid = open_volume(out)
    assert np.isfinite(data[:]).all()
    assert grid.voxel_size_um == (0.5, 0.5, 0.5)
    recipe = json.loads(Path(result["recipe"]).read_text())
    assert recipe["method"]["name"] == method
    if method == "ebmd":
        assert recipe["method"]["parameters"]["iterations"] == 2
        assert recipe["method"]["parameters"]["lambda"] == 0.01
        assert len(result["changes"]) == 2


def test_presets_are_told_in_the_names_of_the_command():
    told = run("methods", "ebmd").stdout
    assert "preset Paper of the panel: iterations=48, lambda=0.004, accelerated=false" in " ".join(told.split())


def test_a_parameter_that_is_given_twice_is_refused(sample, tmp_path):
    given = ["fuse", sample, "--iterations", 3, "--set", "iterations=4", "-o", tmp_path / "fused.tif"]
    assert "iterations is given twice" in run(*given, code=2).stderr


def test_a_metric_that_needs_nothing_is_shown_like_the_others(sample, tmp_path, monkeypatch):
    out = tmp_path / "fused.tif"
    run("fuse", sample, "--method", "average", "-o", out)
    peak = Metric(
        "peak",
        "Peak",
        "higher",
        1,
        "nothing",
        "Brightest voxel.",
        lambda measured: {"all": float(measured.fused[:].max())},
    )
    table = (*metrics.METRICS, peak)
    for module in (metrics, evaluate_command):
        monkeypatch.setattr(module, "METRICS", table)
    brightest = float(tifffile.imread(out).max())
    assert f"{brightest:.1f}" in run("evaluate", out, "--views", sample).stdout
    assert json.loads(run("evaluate", out, "--views", sample, "--json").stdout)["volume"] == {"peak": brightest}


def test_the_resolution_is_that_of_the_views_a_result_was_fused_from(sample, tmp_path):
    two, all_four = tmp_path / "two.zarr", tmp_path / "four.zarr"
    run("fuse", sample, "--method", "average", "--views", "0,90", "-o", two)
    said = run("evaluate", two, "--resolution", "--views", sample, "--json")
    expected = find_resolution(open_views(sample).select(["0", "90"]), Average()).as_dict()
    assert json.loads(said.stdout)["resolution"] == expected
    assert "measured on the views 0, 90, which two.zarr was fused from, and not on 180, 270" in said.stderr
    assert [one["view"] for one in json.loads(said.stdout)["reprojection"]] == ["0", "90"]
    named = [word for angle in (0, 90, 180) for word in ("--view", f"{angle}={sample / f'embryo_view_{angle}.tif'}")]
    more = json.loads(run("evaluate", two, *named, "--psf-folder", sample, "--json").stdout)["reprojection"]
    assert [one["view"] for one in more] == ["0", "90", "180"], "what is named is measured"
    run("fuse", sample, "--method", "average", "-o", all_four)
    fewer = ("--view", f"0={sample / 'embryo_view_0.tif'}", "--view", f"90={sample / 'embryo_view_90.tif'}")
    said = run("evaluate", all_four, "--resolution", *fewer, "--json", "--psf-folder", sample)
    assert "from the views 0, 90, 180, 270, but the resolution is that of the views 0, 90" in " ".join(
        said.stderr.split()
    )


def test_light_that_the_views_do_not_support_is_written(sample, tmp_path):
    mean, found = tmp_path / "mean.tif", tmp_path / "found.zarr"
    run("fuse", sample, "--method", "average", "-o", mean)
    said = run("evaluate", mean, "--views", sample, "--unsupported", found)
    volume, grid = open_volume(found)
    views = open_views(sample)
    allowed = attenuation_of_run(read_recipe(mean), views)
    expected = find_unsupported(tifffile.imread(mean), views, attenuation=allowed)
    assert np.array_equal(volume[:], expected.values)
    assert grid.voxel_size_um == open_volume(mean)[1].voxel_size_um
    assert f"{expected.sentence}: see" in " ".join(said.stdout.split())
    again = run("evaluate", mean, "--views", sample, "--unsupported", found, code=3)
    assert f"{found} exists already: choose another name\n" in again.stderr
    other = tmp_path / "other.zarr"
    as_json = json.loads(run("evaluate", mean, "--views", sample, "--unsupported", other, "--json").stdout)
    assert as_json["unsupported"] == {"share": expected.share, "file": str(other)}
    alone = run("evaluate", mean, "--truth", mean, "--unsupported", tmp_path / "no.zarr", code=2)
    assert "give --views" in " ".join(alone.stderr.split())


def test_a_recipe_repeats_a_run_bit_for_bit(sample, tmp_path):
    first, second = tmp_path / "first.zarr", tmp_path / "second.zarr"
    said = run("fuse", sample, "--iterations", 3, "--tile", "16,32,32", "--views", "0,90", "-o", first).stderr
    note = "tiles are 32 x 32 x 32 voxels, not 16 x 32 x 32, as they are whole chunks of the output, which are 32 x 32 x 32"
    assert note in " ".join(said.split())
    repeated = run("fuse", "--recipe", f"{first}.recipe.json", "-o", second)
    assert "no data" not in repeated.stderr
    assert "tiles are" not in repeated.stderr
    assert (zarr.open_array(first / "0")[:] == zarr.open_array(second / "0")[:]).all()
    one, two = (json.loads(Path(f"{path}.recipe.json").read_text()) for path in (first, second))
    assert one == two


def test_a_recipe_from_before_psfs_were_made_ready_otherwise_is_repeated_with_a_word(sample, tmp_path):
    first = tmp_path / "first.tif"
    run("fuse", sample, "--method", "average", "-o", first)
    file = Path(f"{first}.recipe.json")
    recipe = json.loads(file.read_text())
    recipe["views"][0]["psf_sha256"] = "0" * 64
    file.write_text(json.dumps(recipe))
    done = run("fuse", "--recipe", file, "-o", tmp_path / "again.tif", code=2)
    assert "the PSF of view '0'" in done.stderr
    for entry in recipe["views"]:
        del entry["psf_notes"]
    file.write_text(json.dumps(recipe))
    done = run("fuse", "--recipe", file, "-o", tmp_path / "again.tif")
    assert "older than the way in which PSFs are made ready" in " ".join(done.stderr.split())
    assert (tifffile.imread(tmp_path / "again.tif") == tifffile.imread(first)).all()


def test_options_that_a_recipe_would_hide_are_refused(tmp_path):
    recipe = tmp_path / "r.json"
    for given in (["--iterations", 3], ["--method", "average"], ["--offset", 3], ["--remove-hot"], ["--set", "a=1"]):
        done = run("fuse", "--recipe", recipe, *given, "-o", tmp_path / "o.tif", code=2)
        assert f"{given[0]} would be ignored" in " ".join(done.stderr.replace("│", " ").split())


EDITS = {
    "weight": lambda recipe: recipe["views"][1].update(weight=3.0),
    "weight, where the inputs lost it": lambda recipe: recipe["inputs"].pop("weights"),
    "offset": lambda recipe: recipe["views"][0].update(offset=7.0),
    "gain": lambda recipe: recipe["views"][0].update(gain=2.0),
    "remove_hot": lambda recipe: recipe["views"][0].update(remove_hot=True),
    "affine": lambda recipe: recipe["views"][0].update(affine=np.eye(4).tolist()),
    "psf_shape": lambda recipe: recipe["views"][0].update(psf_shape=[3, 3, 3]),
    "voxel_size_um": lambda recipe: recipe["grid"].update(voxel_size_um=[9.0, 9.0, 9.0]),
}


def test_what_a_recipe_says_of_its_views_is_used_or_refused(sample, tmp_path):
    first = tmp_path / "first.tif"
    run("fuse", sample, "--method", "average", "--weight", "90=0.5", "--views", "0,90", "-o", first)
    file = Path(f"{first}.recipe.json")
    made = file.read_text()
    for what, edit in EDITS.items():
        recipe = json.loads(made)
        edit(recipe)
        file.write_text(json.dumps(recipe))
        done = run("fuse", "--recipe", file, "-o", tmp_path / "again.tif", code=2)
        assert f"the recipe has {what.split(',')[0]} " in done.stderr
        assert "change its inputs" in done.stderr
    recipe = json.loads(made)
    recipe["views"][0]["angle"], recipe["views"][1]["angle"] = None, 45.0
    recipe["grid"]["origin_um"] = [1.0, 2.0, 3.0]
    file.write_text(json.dumps(recipe))
    done = run("fuse", "--recipe", file, "-o", tmp_path / "again.tif")
    assert "the angle 45 is taken, as the recipe says; its name says 90" in done.stderr
    again = json.loads(Path(f"{tmp_path / 'again.tif'}.recipe.json").read_text())
    assert [entry["angle"] for entry in again["views"]] == [None, 45.0]
    assert "the recipe has origin_um [1.0, 2.0, 3.0] in its grid" in done.stderr
    assert (tifffile.imread(tmp_path / "again.tif") == tifffile.imread(first)).all()


def test_a_recipe_notices_that_a_view_has_changed(sample, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(sample, folder)
    out = tmp_path / "fused.tif"
    run("fuse", folder, "--method", "average", "-o", out)
    pixels = tifffile.memmap(folder / "embryo_view_0.tif")
    pixels[20, 20, 20] += 1
    pixels.flush()
    done = run("fuse", "--recipe", f"{out}.recipe.json", "-o", tmp_path / "again.tif", code=2)
    assert "the pixels of view '0'" in done.stderr


def test_evaluate_against_truth_and_views(sample, tmp_path):
    out = tmp_path / "fused.zarr"
    run("fuse", sample, "--method", "average", "-o", out)
    result = json.loads(
        run("evaluate", out, "--truth", sample / "embryo_groundtruth.tif", "--views", sample, "--json").stdout
    )
    assert 0 < result["metrics"]["all"]["nrmse"] < 0.3
    assert [entry["view"] for entry in result["reprojection"]] == ["0", "90", "180", "270"]
    assert all(entry["rms"] > 0.5 for entry in result["reprojection"])
    table = run("evaluate", out, "--truth", sample / "embryo_groundtruth.tif").stdout
    assert "NRMSE" in table


def test_the_resolution_of_a_result_needs_its_recipe_alone(sample, tmp_path):
    out = tmp_path / "fused.zarr"
    run("fuse", sample, "--method", "average", "-o", out)
    said = run("evaluate", out, "--resolution")
    assert said.stdout.startswith("Resolution along z ")
    assert said.stdout.rstrip().endswith("(Fourier shell correlation of two halves of the light, 1/7)")
    found = json.loads(run("evaluate", out, "--resolution", "--views", sample, "--json").stdout)["resolution"]
    expected = find_resolution(open_views(sample), Average()).as_dict()
    assert found == expected
    assert found["caution"] == ""
    run("fuse", sample, "--method", "average", "--views", "0,180", "-o", tmp_path / "opposed.zarr")
    said = run("evaluate", tmp_path / "opposed.zarr", "--resolution").stdout
    assert "All views look along z: " in said.splitlines()[1]
    (sample / "embryo_groundtruth.tif").rename(plain := tmp_path / "plain.tif")
    refused = run("evaluate", plain, "--resolution", code=2)
    plain.rename(sample / "embryo_groundtruth.tif")
    assert "holds no recipe" in refused.stderr


def test_files_named_one_by_one(sample, tmp_path):
    files = [sample / f"embryo_view_{angle}.tif" for angle in (0, 90)]
    psfs = [part for angle in (0, 90) for part in ("--psf", sample / f"psf_{angle}.tif")]
    run("fuse", *files, *psfs, "--iterations", 1, "-o", tmp_path / "fused.tif")
    assert open_volume(tmp_path / "fused.tif")[1].shape == (32, 32, 32)


def test_the_offset_of_the_camera_is_subtracted(tmp_path):
    folder = tmp_path / "offset"
    run("simulate", folder, "--size", 32, "--offset", 500, "--angles", "0,90")
    run("fuse", folder, "--method", "average", "--offset", 500, "-o", tmp_path / "fused.tif")
    data = open_volume(tmp_path / "fused.tif")[0][:]
    assert np.median(data) < 100


def test_a_result_is_compared_with_its_views_as_they_were_fused(tmp_path):
    folder, out = tmp_path / "offset", tmp_path / "fused.zarr"
    run("simulate", folder, "--size", 32, "--offset", 500, "--angles", "0,90")
    run("fuse", folder, "--iterations", 4, "--offset", 500, "-o", out)

    def residuals(*options):
        done = run("evaluate", out, "--views", folder, "--json", *options)
        return [entry["rms"] for entry in json.loads(done.stdout)["reprojection"]], done.stderr

    by_recipe, said = residuals()
    assert "camera offset 500" in said
    assert by_recipe == residuals("--offset", 500)[0]
    assert max(by_recipe) < 0.2 * min(residuals("--offset", 0)[0])


BAD = {
    "nothing there": (lambda s, t: ["fuse", t / "missing", "-o", t / "o.tif"], 2, "does not exist"),
    "no output": (lambda s, t: ["fuse", s], 2, "say where the result goes"),
    "unknown method": (
        lambda s, t: ["fuse", s, "--method", "magic", "-o", t / "o.tif"],
        2,
        "there is no method 'magic'",
    ),
    "unknown parameter": (lambda s, t: ["fuse", s, "--set", "foo=1", "-o", t / "o.tif"], 2, "has no parameter 'foo'"),
    "impossible value": (lambda s, t: ["fuse", s, "--iterations", -1, "-o", t / "o.tif"], 2, "'iterations'"),
    "unknown view": (lambda s, t: ["fuse", s, "--views", "45", "-o", t / "o.tif"], 2, "there is no view '45'"),
    "unknown tag": (lambda s, t: ["fuse", s, "--tag", "fly", "-o", t / "o.tif"], 2, "has no sample 'fly'"),
    "output at an address": (
        lambda s, t: ["fuse", s, "-o", "s3://b/f.zarr"],
        3,
        "s3://b/f.zarr is an address, and results",
    ),
    "output of an ending alone": (lambda s, t: ["fuse", s, "-o", t / ".bdv"], 3, "an ending alone"),
    "output without a name": (lambda s, t: ["fuse", s, "-o", ""], 3, "the output has no name"),
    "output without a dataset": (lambda s, t: ["fuse", s, "-o", f"{t}/x.h5:/"], 3, "no dataset after the colon"),
    "unknown ending": (lambda s, t: ["fuse", s, "-o", t / "o.png"], 3, "no known ending"),
    "no folder": (lambda s, t: ["fuse", s, "-o", t / "none" / "o.tif"], 3, "does not exist"),
    "no cuda": (lambda s, t: ["fuse", s, "--device", "cuda:9", "-o", t / "o.tif"], 5, ""),
    "too little memory": (lambda s, t: ["fuse", s, "--memory", "1M", "-o", t / "o.tif"], 4, "allow more memory"),
    "memory without a unit": (lambda s, t: ["fuse", s, "--memory", "4", "-o", t / "o.tif"], 2, "'4' would be bytes"),
    "bad memory": (lambda s, t: ["fuse", s, "--memory", "lots", "-o", t / "o.tif"], 2, "is no size such as 4G"),
    "no recipe": (lambda s, t: ["fuse", "--recipe", s / "psf_0.tif", "-o", t / "o.tif"], 2, "holds no recipe"),
    "simulate over it": (lambda s, t: ["simulate", s], 3, "exists already"),
    "absurd snr": (lambda s, t: ["simulate", t / "n", "--size", 48, "--snr", 0], 2, "snr"),
    "two volumes": (
        lambda s, t: ["evaluate", s / "psf_0.tif", s / "psf_90.tif", "--views", s],
        2,
        "one volume at a time is measured, not 2",
    ),
    "nothing to compare": (
        lambda s, t: ["evaluate", s / "psf_0.tif"],
        2,
        "give --truth, --views, or both, or --resolution",
    ),
    "other shape": (
        lambda s, t: ["evaluate", s / "psf_0.tif", "--truth", s / "embryo_groundtruth.tif"],
        2,
        "compare equal volumes",
    ),
    "nothing but numbers for iterations": (
        lambda s, t: ["fuse", s, "--iterations", "abc", "-o", t / "o.tif"],
        2,
        "takes a whole number from 1 to 1000, or auto, not 'abc'",
    ),
    "no beads": (lambda s, t: ["psf", "measure", s / "psf_0.tif", t / "p.tif"], 2, ""),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_in_one_line_with_an_exit_code_that_means_something(sample, tmp_path, case):
    arguments, code, words = case
    done = run(*arguments(sample, tmp_path), code=code)
    assert words in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("against", ["--truth", "--views"])
def test_what_is_no_number_in_a_volume_is_named_with_its_file_and_the_fix(sample, tmp_path, against):
    values = open_volume(sample / "embryo_groundtruth.tif")[0][:].astype(np.float32)
    values[3, 4, 5] = np.nan
    tifffile.imwrite(tmp_path / "fused.tif", values)
    said = run(
        "evaluate",
        tmp_path / "fused.tif",
        against,
        sample / "embryo_groundtruth.tif" if against == "--truth" else sample,
        code=2,
    ).stderr
    assert "fused.tif) has a NaN or infinite value at (z, y, x) = (3, 4, 5): replace such voxels, by 0" in said


def test_an_output_that_exists_is_kept_unless_overwriting_is_asked_for(sample, tmp_path):
    out = tmp_path / "fused.tif"
    run("fuse", sample, "--method", "average", "-o", out)
    before = out.read_bytes()
    assert "exists already" in run("fuse", sample, "--method", "cbif", "-o", out, code=3).stderr
    assert out.read_bytes() == before
    run("fuse", sample, "--method", "cbif", "-o", out, "--overwrite")
    assert out.read_bytes() != before


@pytest.mark.long
def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(sample, tmp_path):
    out = tmp_path / "fused.zarr"
    arguments = [str(MVFUSION), "fuse", str(sample), "--iterations", "1000", "-o", str(out)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "tile" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 130
    assert "go on with --resume" in rest
    assert not out.exists()
    assert (tmp_path / "fused.zarr.partial").is_dir()
    done = run("fuse", sample, "--iterations", 1, "-o", out, "--resume", code=3)
    assert "used other views, parameters or software" in done.stderr


@pytest.mark.long
def test_the_demo_goes_the_whole_way(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(screen, raising=False)
    done = run("demo", out, "--size", 64)
    assert (out / "comparison.png").stat().st_size > 10_000
    truth = open_volume(out / "embryo" / "embryo_groundtruth.tif")[0]
    errors = {}
    for method in METHODS:
        assert method in done.stdout
        volume, grid = open_volume(out / f"{method}.zarr")
        assert grid.shape == (64, 64, 64)
        errors[method] = evaluate(volume, truth).all.nrmse
    assert max(errors[method] for method in ("generator", "wiener", "ebmd")) < 0.8 * errors["cbif"]
    assert f"Closest to the truth over all voxels: {min(errors, key=lambda name: errors[name])}" in done.stdout
    (out / ".made-by-mvfusion-demo").unlink()
    assert "was not made by a demo" in run("demo", out, code=3).stderr


def test_brackets_and_colons_in_names_are_shown_as_they_are(sample, tmp_path):
    odd = tmp_path / "day::1 [raw] :smile:"
    odd.mkdir()
    for name in ("embryo_view_0.tif", "embryo_view_90.tif"):
        shutil.copy(sample / name, odd / name.replace("embryo", "[red]fish"))
    told = run("info", odd)
    assert "[red]fish" in told.stdout
    for result in (odd / "fused[bold].zarr", odd / "fused[bold].tif"):
        done = run("fuse", odd, "--method", "average", "-o", result)
        assert done.stdout.splitlines() == [str(result), f"{result}.recipe.json"]
        again = tmp_path / f"again[.]{result.suffix}"
        run("fuse", "--recipe", f"{result}.recipe.json", "-o", again)
        assert np.array_equal(open_volume(again)[0][:], open_volume(result)[0][:])
    missing = run("info", odd / "no [view].tif", code=2)
    assert "day::1 [raw] :smile:/no [view].tif does not exist" in missing.stderr


def test_names_that_no_terminal_should_print_become_codes(tmp_path):
    told = run("info", tmp_path / "a\x1b[31mred\nline\udcff.tif", code=2)
    (line,) = told.stderr.splitlines()
    assert r"a\x1b[31mred line\udcff.tif does not exist" in line


@pytest.mark.parametrize("letters", [300, 5000])
def test_names_longer_than_names_can_be(tmp_path, letters):
    told = run("fuse", "n" * letters, "-o", tmp_path / "o.tif", code=2)
    (line,) = told.stderr.splitlines()
    assert "is longer than the name of a file can be" in line
    assert len(line) < 300


def test_a_view_that_is_not_taken_is_named_and_a_recipe_keeps_to_its_own(sample, tmp_path):
    folder = tmp_path / "views"
    folder.mkdir()
    for name in ("embryo_view_0.tif", "embryo_view_90.tif"):
        shutil.copy(sample / name, folder)
    shutil.copy(sample / "embryo_view_180.tif", folder / "embryo_view180.tif")
    done = run("fuse", folder, "--method", "average", "-o", tmp_path / "o.zarr")
    assert "warning: embryo_view180.tif is left out: it looks like a view" in done.stderr
    (folder / "embryo_view180.tif").rename(folder / "embryo_view_180.ome.tif")
    again = run("fuse", "--recipe", tmp_path / "o.zarr.recipe.json", "-o", tmp_path / "again.zarr")
    assert "the recipe does not use the views 180" in again.stderr
    assert np.array_equal(open_volume(tmp_path / "again.zarr")[0][:], open_volume(tmp_path / "o.zarr")[0][:])


def test_a_time_point_and_channel_of_series_are_fused_and_the_recipe_knows_which(tmp_path, rng):
    series = rng.integers(1, 60000, (2, 3, 20, 2, 24, 24)).astype(np.uint16)
    for angle, pixels in zip((0, 90), series, strict=True):
        tifffile.imwrite(tmp_path / f"view_{angle}.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    out = tmp_path / "o.zarr"
    failed = run("fuse", tmp_path, "--method", "average", "-o", out, code=2)
    assert "has 3 time points: choose one with --timepoint 0 to 2" in failed.stderr
    run("fuse", tmp_path, "--method", "average", "-o", out, "--timepoint", 2, "--channel", 1)
    run("fuse", "--recipe", f"{out}.recipe.json", "-o", tmp_path / "again.zarr")
    fused, again = (open_volume(path)[0][:] for path in (out, tmp_path / "again.zarr"))
    assert np.array_equal(fused, again)
    alone = tmp_path / "alone"
    alone.mkdir()
    for angle, pixels in zip((0, 90), series, strict=True):
        tifffile.imwrite(alone / f"view_{angle}.tif", pixels[2, :, 1], photometric="minisblack")
    run("fuse", alone, "--method", "average", "-o", tmp_path / "alone.zarr")
    assert np.array_equal(open_volume(tmp_path / "alone.zarr")[0][:], fused)


@pytest.mark.long
def test_every_command_takes_a_time_point_and_channel_of_series(tmp_path, rng):
    chosen = ("--timepoint", 1, "--channel", 1)
    series, alone = tmp_path / "series", tmp_path / "alone"
    blob = gaussian_filter(np.pad(np.ones((1, 1, 1)), 4), 1.5)
    for folder in (series, alone):
        folder.mkdir()
        for angle in (0, 90):
            tifffile.imwrite(folder / f"psf_{angle}.tif", blob.astype(np.float32))
    for angle in (0, 90):
        pixels = rng.integers(100, 60000, (2, 32, 2, 32, 32)).astype(np.uint16)
        tifffile.imwrite(series / f"view_{angle}.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
        tifffile.imwrite(alone / f"view_{angle}.tif", pixels[1, :, 1], imagej=True, metadata={"axes": "ZYX"})

    assert "--timepoint 0 to 1 (timepoint=); this is the first one" in run("info", series).stderr
    of_one, of_series = (json.loads(run("info", *asked, "--json").stdout) for asked in ((alone,), (series, *chosen)))
    assert of_series["samples"] == of_one["samples"]

    fused = tmp_path / "fused.tif"
    run("fuse", series, "--method", "average", "-o", fused, *chosen)
    figures = [
        json.loads(run("evaluate", fused, "--views", views, "--truth", truth, *asked, "--json").stdout)
        for views, truth, asked in ((alone, alone / "view_0.tif", ()), (series, series / "view_0.tif", chosen))
    ]
    assert figures[0] == figures[1]

    beads = np.zeros((2, 40, 2, 72, 72), np.float32)
    for y, x in ((18, 18), (18, 54), (54, 18), (54, 54)):
        beads[1, 20, 1, y, x] = 1e5
    beads = gaussian_filter(beads, (0, 1.5, 0, 1.5, 1.5)) + rng.normal(0, 1, beads.shape).astype(np.float32)
    tifffile.imwrite(tmp_path / "beads.tif", beads, imagej=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "bead.tif", beads[1, :, 1], imagej=True, metadata={"axes": "ZYX"})
    measured = [tmp_path / "of_series.tif", tmp_path / "of_one.tif"]
    run("psf", "measure", tmp_path / "beads.tif", measured[0], "--size", 11, *chosen)
    run("psf", "measure", tmp_path / "bead.tif", measured[1], "--size", 11)
    assert np.array_equal(*map(tifffile.imread, measured))

    tiny = [f"--set=architecture.{name}={value}" for name, value in UNIVERSAL.items()]
    short = ("--mode", "self", "--steps", 1, "--tile", 16, "--seed", 1, "--set=validation=1", "--device", "cpu", *tiny)
    models = [tmp_path / "of_series.safetensors", tmp_path / "of_one.safetensors"]
    run("train", series, "-o", models[0], *short, *chosen)
    run("train", alone, "-o", models[1], *short)
    assert weights_sha256(models[0]) == weights_sha256(models[1])


def test_maps_are_named_beside_the_result(sample, tmp_path):
    out, map_ = tmp_path / "fused.tif", tmp_path / "fused-unsupported.tif"
    said = run("fuse", sample, "--iterations", 2, "-o", out, "--maps")
    assert said.stdout.split() == [str(out), f"{out}.recipe.json", str(map_)]
    assert "not supported by the views" in " ".join(said.stderr.split())
    again = tmp_path / "again.tif"
    found = json.loads(run("fuse", "--recipe", out, "-o", again, "--json").stdout)["maps"]
    assert found["unsupported"] == str(tmp_path / "again-unsupported.tif")
    assert found["unsupported_share"] == pytest.approx(
        tifffile.imread(map_).sum(dtype=float) / tifffile.imread(out).sum(dtype=float), rel=1e-4
    )
    refused = run("fuse", sample, "--timepoints", "all", "-o", tmp_path / "no.zarr", "--maps", code=2)
    assert "is for one volume" in " ".join(refused.stderr.split())
