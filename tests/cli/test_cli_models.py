"""`mvfusion models` as a person uses it."""

import io
import json
import sys

import numpy as np
import pytest
import tifffile
import torch

from command_line import run
from napari_mvfusion.models import ModelCard, build, load_model, save_model
from napari_mvfusion.models.universal import with_transmission_input
from old_checkpoints import content, weights
from old_torch import Raw, named, old_file, text
from small_models import LIGHT, SMALL, save


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's folder of this test."""
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "published.ckpt"
    path.write_bytes(old_file(content(weights(4))))
    return path


def own():
    return [entry["name"] for entry in json.loads(run("models", "list", "--json").stdout) if not entry["shipped"]]


def test_a_published_checkpoint_is_imported_shown_and_given_away(checkpoint, folder, tmp_path):
    done = run("models", "import", checkpoint, "--name", "quad", "--title", "Four [views]")
    assert "0, 180, 270, 90, in this order" in done.stdout
    assert "1 weights beside the generator left out" in done.stdout
    assert own() == ["quad"]
    listed = run("models", "list").stdout
    assert "quad" in listed
    assert str(folder) in listed.replace("\n", "")
    shown = run("models", "info", "quad").stdout
    for words in (
        "Four [views]",
        "feature_maps 2",
        "0, 180, 270, 90",
        "published.ckpt",
        "epoch: 89",
        "their common maximum",
    ):
        assert words in shown
    card = json.loads(run("models", "info", "quad", "--json").stdout)["card"]
    assert card["architecture"] == {
        "kind": "paper",
        "views": 4,
        "feature_maps": 2,
        "activation": "relu",
        "norm": "instance",
        "output": "sigmoid",
    }
    out = tmp_path / "gift.safetensors"
    run("models", "export", "quad", "-o", out)
    assert "exists already" in run("models", "export", "quad", "-o", out, code=3).stderr
    run("models", "export", "quad", "-o", out, "--overwrite")
    run("models", "install", out)
    run("models", "rename", "gift", "renamed")
    run("models", "delete", "quad", "--yes")
    assert own() == ["renamed"]
    assert "Four" in run("models", "info", out).stdout


def test_what_is_known_better_can_be_given(checkpoint, tmp_path):
    z, y, x = np.ogrid[-4:5, -4:5, -4:5]
    for angle in range(4):
        blob = np.exp(-(z**2 + y**2 + x**2 / 4) / 4).astype(np.float32)
        tifffile.imwrite(tmp_path / f"psf_{angle}.tif", blob)
    psfs = [option for angle in range(4) for option in ("--psf", tmp_path / f"psf_{angle}.tif")]
    more = ["--activation", "leaky_relu", "--angles", "0,90,180,270", "--json"]
    card = json.loads(run("models", "import", checkpoint, "--name", "quad", *psfs, *more).stdout)["card"]
    assert card["angles"] == [0, 90, 180, 270]
    assert card["architecture"]["activation"] == "leaky_relu"
    assert [psf["name"] for psf in card["psfs"]] == [f"psf_{angle}.tif" for angle in range(4)]
    assert card["psfs"][0]["fwhm"][2] > 1.5 * card["psfs"][0]["fwhm"][0]
    assert "psf_3.tif: FWHM" in run("models", "info", "quad").stdout
    few = run("models", "import", checkpoint, "--name", "b", *psfs[:2], code=2).stderr
    assert "1 PSFs do not fit a network for 4 views" in few
    few = run("models", "import", checkpoint, "--name", "b", "--angles", "0,90", code=2).stderr
    assert "2 angles do not fit" in few
    assert own() == ["quad"]


def test_unknown_angles_are_said(tmp_path):
    path = tmp_path / "three.ckpt"
    path.write_bytes(old_file(content(weights(3))))
    assert "angles of its 3 channels are unknown" in run("models", "import", path, "--name", "three").stderr
    assert "any" in run("models", "info", "three").stdout


def test_mistakes_end_with_a_line_that_helps(checkpoint, folder, tmp_path):
    hostile = tmp_path / "hostile.ckpt"
    marker = tmp_path / "marker"
    call = Raw(named("os", "system") + text(f"touch {marker}") + b"\x85R")
    hostile.write_bytes(old_file(content(hparams=call)))
    assert "asks to run 'os.system'" in run("models", "import", hostile, "--name", "evil", code=2).stderr
    assert not marker.exists()
    run("models", "import", checkpoint, "--name", "quad")
    for arguments, code, words in [
        (("info", "quat"), 2, "there is no model 'quat'"),
        (("import", checkpoint, "--name", "quad"), 3, "there is a model 'quad' already"),
        (("import", checkpoint, "--name", "a/b"), 2, "cannot be the name"),
        (("import", tmp_path / "no.ckpt", "--name", "a"), 2, "does not exist"),
        (("install", checkpoint), 2, "no safetensors file"),
        (("delete", "other", "--yes"), 2, "there is no model 'other'"),
        (("rename", "quad", ".."), 2, "cannot be the name"),
        (("export", "quad", "-o", tmp_path / "quad.pt"), 3, "does not end in .safetensors"),
    ]:
        done = run("models", *arguments, code=code)
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
    (folder / "broken.safetensors").write_bytes(b"x")
    done = run("models", "list")
    assert "broken.safetensors is damaged" in done.stderr
    assert "quad" in done.stdout


@pytest.mark.parametrize(("answer", "left"), [("n\n", ["quad"]), ("\n", ["quad"]), ("", ["quad"]), ("y\n", [])])
def test_deleting_asks(checkpoint, monkeypatch, answer, left):
    run("models", "import", checkpoint, "--name", "quad")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    run("models", "delete", "quad", code=130 if left else 0)
    assert own() == left


def test_an_empty_folder_is_said():
    assert own() == []
    assert "your models lie in" in run("models", "list").stdout


@pytest.mark.long
def test_two_models_are_averaged(folder):
    folder.mkdir()
    save(folder, "first", SMALL)
    torch.manual_seed(7)
    card = ModelCard(name="second", architecture=LIGHT, least_views=2, most_views=8, normalisation="brightness")
    save_model(folder / "second.safetensors", build(LIGHT), card)
    done = run("models", "average", "first", "second", "--share", 0.25, "--name", "between")
    assert "averaged 'first' and 'second' into 'between'" in done.stdout
    (first, _), (second, _), (between, card) = (load_model(name) for name in ("first", "second", "between"))
    assert card.architecture == LIGHT
    assert card.training["average"] == {"first": "first", "second": "second", "share": 0.25}
    wanted = with_transmission_input(first.state_dict())
    for key, value in between.state_dict().items():
        torch.testing.assert_close(value, 0.75 * wanted[key] + 0.25 * second.state_dict()[key])


@pytest.mark.parametrize(
    ("second", "options", "words"),
    [
        ("first", ["--share", "1.5"], "must lie between 0 and 1"),
        ("wide", [], "the networks of 'first' and 'wide' differ"),
        ("nobody", [], "nobody"),
    ],
)
def test_models_that_cannot_be_averaged(folder, second, options, words):
    folder.mkdir()
    save(folder, "first", SMALL)
    save(folder, "wide", SMALL.model_copy(update={"maps": 12}))
    done = run("models", "average", "first", second, *options, "--name", "between", code=2)
    assert words in done.stderr.replace("\n", " ")
    assert "between" not in own()
