"""`mvfusion train` as a person uses it: models that can be fused with, and words for what cannot be trained."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import tifffile
import yaml

from command_line import run
from napari_mvfusion import fine_tune_config, load_config, train_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.models import find_model, load_model
from napari_mvfusion.training import TrainConfig, loop, suggest_tile
from napari_mvfusion.training.objectives import Supervised, score_supervised
from napari_mvfusion.training.scene_pool import ScenePool
from small_training import CPU, SCENES, UNIVERSAL, own_views, toy_card

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    *(f"--set=architecture.{name}={value}" for name, value in UNIVERSAL.items()),
    "--set=validate_every=2",
    "--set=validation=1",
    "--threads=1",
    "--device=cpu",
]


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The user's folder of this test."""
    folder = tmp_path / "models"
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two views and their PSFs, and a sharp volume."""
    folder = tmp_path_factory.mktemp("training") / "data"
    views, sharp = own_views((64, 40, 40))
    write_views_folder(folder, views, "fish")
    tifffile.imwrite(folder.parent / "sharp.tif", sharp)
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "training.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(SCENES)) | {"steps": 3}))
    return path


def test_a_model_is_tuned_on_views_and_fuses_them(data, models, tmp_path):
    done = run("train", data, "--mode", "self", "-o", "tuned", "--steps", 4, "--title", "Tuned", *TINY)
    assert done.stdout.strip() == str(models / "tuned.safetensors")
    assert "step 4: residual" in done.stderr
    assert "best" in done.stderr
    card = find_model("tuned").card
    assert (card.title, card.least_views, card.most_views, card.normalisation) == ("Tuned", 2, 2, "brightness")
    assert [record.name for record in card.psfs] == ["0", "90"]
    assert card.training["mode"] == "self"
    assert card.training["command"].startswith("mvfusion train ")
    assert " x cycle (" in card.training["losses"]
    assert "torch" in card.training["software"]
    assert set(card.metrics) >= {"residual", "misfit"}
    fused = tmp_path / "fused.tif"
    run("fuse", data, "--method", "generator", "--set", "model=tuned", "-o", fused, "-q")
    assert tifffile.imread(fused).shape == (64, 40, 40)
    again = json.loads(
        run("train", data, "--mode", "self", "-o", "again", "--from", "tuned", "--steps", 2, "--json").stdout
    )
    assert again["ended"] == "trained"
    assert find_model("again").card.training["parent"]["name"] == "tuned"


def test_a_network_of_the_paper_gets_its_channels_in_order(data):
    run(
        *("train", data, "--mode", "self", "--architecture", "paper", "--feature-maps", 2, "--angles", "90,0"),
        *("-o", "pair", "--steps", 1, "--tile", 16, "--set=validation=1", "--device", "cpu"),
    )
    card = find_model("pair").card
    assert card.angles == (90, 0)
    assert card.architecture.views == 2
    assert card.normalisation == "maximum"


def test_sharp_volumes_take_part(data):
    sharp = data.parent / "sharp.tif"
    result = run(
        *("train", data, "--mode", "semi", "--truth-volumes", sharp, "-o", "semi", "--steps", 2, "--tile", 32),
        *("--set=discriminator_maps=2", "--json", *TINY),
    )
    assert json.loads(result.stdout)["steps"] == 2
    card = find_model("semi").card
    assert "adversarial" in card.training["losses"]
    assert card.training["data"] == "own views: 1 volume(s) of 64 x 40 x 40 voxels, and 1 sharp volume(s)"


def test_the_command_gives_the_weights_of_the_loop_itself(config, tmp_path):
    run("train", "--config", config, "-o", tmp_path / "command.safetensors", "-q", "--threads", 1, "--device", "cpu")
    parameters = load_config(config)
    card = toy_card("direct").model_copy(update={"architecture": parameters.architecture})
    out = tmp_path / "direct.safetensors"
    events = loop.train_events(
        parameters,
        ScenePool(parameters, CPU),
        Supervised(parameters.weights),
        score_supervised,
        card,
        out,
        decides="nrmse",
        device=CPU,
    )
    for _ in events:
        pass
    first, second = (
        (tmp_path / f"{name}.training" / "state.safetensors").read_bytes()[-50_000:] for name in ("command", "direct")
    )
    assert first == second
    for ours, theirs in zip(
        *(load_model(tmp_path / f"{n}.safetensors")[0].parameters() for n in ("command", "direct")), strict=True
    ):
        assert (ours == theirs).all()


def test_ctrl_c_stops_and_the_run_goes_on_with_resume(data, models):
    def press():
        log = models / "mine.training" / "log.csv"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and "\n3,total" in log.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    common = ("train", data, "--mode", "self", "-o", "mine", "--steps", 100_000, "--tile", 16, *TINY)
    stopped = run(*common, code=130)
    thread.join()
    assert "go on with --resume" in stopped.stderr
    other = run(*common, "--resume", "--rate", 0.5, code=2)
    assert "another configuration or data" in other.stderr
    resumed = run(*common, "--resume", "--set=minutes=0.0001")
    assert " done before" in resumed.stderr


def test_a_file_in_a_folder_stops_a_run(data, tmp_path):
    (tmp_path / "stop").touch()
    common = ("train", data, "--mode", "self", "-o", "steered", "--tile", 16, "--steps", 1, *TINY)
    assert "stopped before the first step" in run(*common, "--control", tmp_path, code=130).stderr


def test_a_finished_run_goes_on_with_more_steps_and_says_whether_it_helped(data, models):
    common = ("train", data, "--mode", "self", "-o", "mine", "--tile", 16, *TINY)
    first = run(*common, "--steps", 2)
    assert "tiles that were never trained on" in first.stderr
    more = json.loads(run(*common, "--steps", 6, "--resume", "--json").stdout)
    assert (more["ended"], more["steps"]) == ("trained", 6)
    assert more["verdict"]["kind"] in ("better", "no better", "overfitted")
    card = find_model("mine").card
    assert card.training["steps"] == 6
    assert card.training["start_metrics"]["residual"] == more["verdict"]["before"]


def test_a_run_that_does_not_help_says_that_the_start_is_kept(data, models):
    done = run("train", data, "--mode", "self", "-o", "bold", "--tile", 16, "--steps", 2, "--rate", 9.0, *TINY)
    assert "no step was better than the start, so the model has the weights of the start" in done.stderr
    assert "No better" in done.stderr
    assert find_model("bold").card.training["best_step"] == 0


def test_without_a_configuration_the_parameters_are_those_of_the_widget(data, models):
    run("train", data, "--mode", "self", "--minutes", 0.001, "-o", "usual", *TINY)
    views = Inputs(source=str(data)).open()
    usual = fine_tune_config(
        "self", minutes=0.001, views=[views], architecture=UNIVERSAL, validate_every=2, validation=1
    )
    assert find_model("usual").card.training["config"] == json.loads(usual.model_dump_json(by_alias=True))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--rate", "-1"], 2, "these options: rate"),
        (["--set", "stepz=3"], 2, "stepz: Extra inputs"),
        (["--set", "steps.more=3"], 2, "steps"),
        (["--set", "weights.cycles=3"], 2, "weights.cycles: Extra inputs"),
        (["--tile", "18"], 2, "multiples of 4"),
        (["--views", "four"], 2, "no count of views"),
        (["--views", "4"], 2, "the data have 2 views, and --views says 4"),
        (["--mode", "supervised"], 2, "leave the data out"),
        (["--mode", "semi"], 2, "no sharp volume was given"),
        (["--truth-volumes", "SHARP"], 2, "sharp volumes are for mode semi"),
        (["--mode", "semi", "--truth-volumes", "SHARP", "--tile", "48"], 2, "smaller than a tile"),
        (["--architecture", "paper", "--views", "2", "--from", "NONE"], 2, "there is no model 'NONE'"),
        (["--set", "architecture={kind: paper, views: 4}"], 2, "the network takes 4 views, but the data have 2"),
        (["--tile", "64"], 2, "no tile of 64 x 64 x 64 voxels can be held out"),
        (["--set", "data={start: [0, 0, 0], stop: [90, 8, 8]}"], 2, "does not lie in the volume"),
        (["--device", "abacus"], 5, "abacus"),
        (["--out", "a/b"], 3, "does not end in .safetensors"),
        (["--out", "no/folder.safetensors"], 3, "does not exist"),
        (["--config", "missing.yaml"], 2, "missing.yaml does not exist"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(data, models, options, code, words):
    sharp = str(data.parent / "sharp.tif")
    given = [sharp if option == "SHARP" else option for option in options]
    failed = run("train", data, "--mode", "self", "-o", "bad", *given, code=code)
    assert words in " ".join(failed.stderr.split())
    assert "Traceback" not in failed.stderr
    assert not list(models.glob("*")), "nothing is left behind"


def test_views_that_cannot_be_learned_from_are_named(data, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(data, folder)
    (folder / "psf_90.tif").unlink()
    assert "view '90'" in run("train", folder, "--mode", "self", "-o", "bad", code=2).stderr
    shutil.copy(data / "psf_90.tif", folder)
    pixels = tifffile.imread(folder / "fish_view_0.tif").astype(np.float32)
    for values, words in ((pixels - 50, "negative values"), (pixels * 0, "the value 0 everywhere")):
        tifffile.imwrite(folder / "fish_view_0.tif", values)
        assert words in run("train", folder, "--mode", "self", "-o", "bad", code=2).stderr
    assert "name the data" in run("train", "--mode", "self", "-o", "bad", code=2).stderr
    assert "say what the model is called" in run("train", "--mode", "self", code=2).stderr


@pytest.mark.parametrize("mode", [(), ("--mode", "self")])
def test_a_folder_in_which_no_view_is_found_is_not_passed_over(data, tmp_path, mode):
    folder = tmp_path / "renamed"
    folder.mkdir()
    shutil.copy(data / "fish_view_0.tif", folder / "SPIM_0.tif")
    options = [*mode, "--steps", 1, "-o", "bad", *TINY]
    for folders in ([folder], [data, folder]):
        done = run("train", *folders, *options, code=2)
        assert "SPIM_0.tif seems to be a view, but its name says no angle" in done.stderr
    (folder / "SPIM_0.tif").unlink()
    for folders in ([folder], [data, folder]):
        assert "renamed holds no views" in run("train", *folders, *options, code=2).stderr


def test_a_model_that_exists_is_not_trained_over(data, config, models):
    run("train", "--config", config, "-o", "once", "-q")
    assert "there is a model 'once' already" in run("train", "--config", config, "-o", "once", "-q", code=3).stderr


def test_tiles_are_suggested_that_leave_room_for_another():
    views, _ = own_views((40, 32, 24))
    parameters = TrainConfig(mode="self")
    assert suggest_tile(parameters, [views]) == (16, 16, 16)
    assert suggest_tile(parameters, [views, views]) == (40, 32, 24)
    large, _ = own_views((132, 32, 32))
    assert suggest_tile(parameters, [large]) == (64, 32, 32)


def test_networks_of_the_paper_need_scenes_that_fit_them():
    paper = {"kind": "paper", "views": 4}
    with pytest.raises(ValueError, match="3 angles do not fit a network for 4 views"):
        TrainConfig.model_validate({"architecture": paper, "scenes": {"angles": (0, 90, 180)}})
    with pytest.raises(ValueError, match="needs scenes with as many"):
        TrainConfig.model_validate({"architecture": paper})
    TrainConfig.model_validate({"architecture": paper, "scenes": {"least_views": 4, "most_views": 4}})


def test_python_gets_the_same_errors_before_any_work(data):
    with pytest.raises(InputError, match="name the data"):
        next(train_events(TrainConfig(mode="self"), "mine"))
