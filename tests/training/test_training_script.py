"""A training run as a command and as Python: both make what the run itself makes."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

import warm_process
from napari_mvfusion.cli.app import app
from napari_mvfusion.cli.script import training_command, training_python
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.models import find_model, load_model
from napari_mvfusion.training import Description, TrainConfig, fine_tune_config
from napari_mvfusion.training.job import TrainJob, run_job
from small_training import UNIVERSAL, own_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two volumes that are opened alike, and a sharp one."""
    folder = tmp_path_factory.mktemp("script")
    for number in range(2):
        views, sharp = own_views((40, 32, 32), seed=number)
        write_views_folder(folder / f"day {number}", views, "fish")
    tifffile.imwrite(folder / "sharp.tif", sharp)
    return folder


def job_of(mode, inputs, out, **options):
    views = [each.open() for each in inputs]
    changes = {"architecture": UNIVERSAL, "validate_every": 1, "validation": 1, "steps": 2, "seed": 3}
    changes |= {
        "weights": {"cycle": 2.0},
        "discriminator_maps": 2,
        "tile": (32, 32, 32) if mode == "semi" else (16, 20, 16),
    }
    config = fine_tune_config(mode, minutes=9.0, views=views, **changes)
    return TrainJob(
        config, out, tuple(views), device="cpu", threads=1, description=Description(title="It's"), **options
    )


@pytest.mark.parametrize("mode", ["self", "semi"])
def test_a_command_and_python_make_what_the_run_makes(data, models, monkeypatch, mode):
    inputs = [Inputs(source=str(data / f"day {n}"), weights={"90": 0.5}, offset=1.0) for n in range(2)]
    sharp = (data / "sharp.tif",) if mode == "semi" else ()
    job = job_of(mode, inputs, "panel", sharp=sharp)
    list(run_job(job))
    command = training_command(inputs, TrainJob(**{**vars(job), "out": "command"}))
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    python = training_python(inputs, TrainJob(**{**vars(job), "out": "python"}))
    exec(python, {})
    panel, *others = (load_model(name)[0].state_dict() for name in ("panel", "command", "python"))
    for other in others:
        assert all(torch.equal(panel[key], other[key]) for key in panel)
    cards = [find_model(name).card.training["config"] for name in ("panel", "command", "python")]
    assert cards[0] == cards[1] == cards[2]
    assert find_model("command").card.title == "It's"


def test_the_command_names_only_what_it_would_not_choose(data):
    fish = {"tag": "fish", "views": ["0", "90"], "voxel_size_um": (2, 1, 1), "no_data": "auto", "grid": "isotropic"}
    inputs = [Inputs(source=str(data / "day 0"), **fish)]
    config = fine_tune_config("self", minutes=5, views=[inputs[0].open()])
    job = TrainJob(config, "mine", start_from="universal")
    assert training_command(inputs, job) == (
        f"mvfusion train '{data / 'day 0'}' --mode self --tag fish --voxel-size 2,1,1 --only 0,90 --from universal "
        "--minutes 5 --tile 16,16,16 -o mine"
    )
    boxed = inputs[0].model_copy(update={"grid": (1, 1, 1), "box_um": ((0, 1, 2), (9, 1234.5678, 9))})
    assert "--grid 1,1,1 --box 0,1,2,9,1234.5678,9" in training_command([boxed], job)
    supervised = TrainJob(TrainConfig(steps=7), "scenes")
    assert training_command([], supervised) == (
        "mvfusion train --mode supervised --tile 48,48,48 --set steps=7 -o scenes"
    )


def test_what_a_command_cannot_say_is_said(data):
    first, second = (Inputs(source=str(data / f"day {n}")) for n in range(2))
    job = TrainJob(TrainConfig(mode="self"), "mine")
    with pytest.raises(InputError, match="opened in the same way"):
        training_command([first, second.model_copy(update={"offset": 3.0})], job)
    with pytest.raises(InputError, match="one tag"):
        training_command([first.model_copy(update={"tag": "a"}), first.model_copy(update={"tag": "b"})], job)
    with pytest.raises(InputError, match="lie in memory"):
        training_command([first], TrainJob(TrainConfig(mode="semi"), "mine", sharp=(np.ones((4, 4, 4)),)))


def test_the_notebook_runs_in_a_plain_interpreter(tmp_path, models, monkeypatch):
    notebook = json.loads((Path(__file__).parents[2] / "docs" / "fine-tune.ipynb").read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"), "it was run"
    assert "/home/" not in json.dumps(notebook)
    code = "\n".join(cells)
    for long, short in (("minutes=1, views", "minutes=0.01, validate_every=1, views"), ("size=64", "size=48")):
        assert long in code
        code = code.replace(long, short)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    done = warm_process.run(code)
    assert done.returncode == 0, done.stderr
    assert "tiles that were never trained on" in done.stdout
