"""Damaged models, cards, checkpoints and states: one line with the file's name, no other weights, and all others listed."""

import json
import shutil

import pytest

from command_line import run
from faults.damaged_models import damaged_checkpoints, damaged_safetensors, with_entry
from napari_mvfusion.errors import InputError
from napari_mvfusion.models import list_models, load_model, read_card
from napari_mvfusion.models.legacy import card_of_import, generator_from_checkpoint
from napari_mvfusion.models.model_file import state_sha256
from old_checkpoints import content, of_this_torch
from old_torch import old_file
from saved_states import loaded, same, saved
from small_models import SMALL, save

TRIES = 60
LONGEST = 1500


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's folder of this test, with one good model."""
    path = tmp_path / "models"
    path.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(path))
    save(path, "good", SMALL)
    return path


def in_one_line(act, path):
    """What an act gives, or None where it says in one line what is wrong with a file."""
    words = ""
    try:
        return act()
    except InputError as error:
        words = str(error)
    assert str(path) in words
    assert "\n" not in words
    assert len(words) < LONGEST
    return None


def test_damaged_models_are_told_and_the_others_are_listed(folder):
    good = load_model("good")[0].state_dict()
    path = folder / "bad.safetensors"
    refused = 0
    for damaged in damaged_safetensors(folder / "good.safetensors", "card", TRIES, seed=1):
        path.write_bytes(damaged)
        found = in_one_line(lambda: load_model("bad"), path)
        refused += found is None
        assert found is None or state_sha256(found[0].state_dict()) == state_sha256(good)
        entries = {entry.name: entry for entry in list_models()}
        assert entries["good"].error is None
        assert (entries["bad"].card is None) == (entries["bad"].error is not None)
    assert refused > TRIES / 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("least_views", "9" * 5000),
        ("metrics", '{"nrmse": ' + "9" * 5000 + "}"),
        ("metrics", '{"nrmse": 1e999}'),
        ("training", "[" * 100_000),
        ("architecture", json.dumps({"kind": "x" * 100_000})),
        ("summary", json.dumps("\n" * 10) + ', "x\\ny": 1'),
    ],
    ids=["digits", "digits in a metric", "infinite", "nested", "long", "lines"],
)
def test_nonsense_in_a_card_hides_no_other_model(folder, field, value):
    good = folder / "good.safetensors"
    card = json.loads(read_card(good).to_json())
    text = json.dumps(card | {field: "PLACE"}).replace('"PLACE"', value)
    path = folder / "nonsense.safetensors"
    path.write_bytes(with_entry(good.read_bytes(), "card", text))
    assert in_one_line(lambda: load_model("nonsense"), path) is None
    listed = run("models", "list")
    assert "good" in listed.stdout
    assert str(path) in listed.stderr.replace("\n", "")
    assert "Traceback" not in listed.stderr
    usable = {each["name"]: each["error"] is None for each in json.loads(run("models", "list", "--json").stdout)}
    assert (usable["good"], usable["nonsense"]) == (True, False)


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_checkpoints_are_told(tmp_path, zipped):
    path = tmp_path / "paper.ckpt"
    if zipped:
        of_this_torch(path, zipped=True)
    else:
        path.write_bytes(old_file(content()))
    for damaged in damaged_checkpoints(path.read_bytes(), TRIES, seed=2):
        path.write_bytes(damaged)
        found = in_one_line(lambda: generator_from_checkpoint(path), path)
        if found is not None:
            card_of_import(found[1], "mine", source=path.name)


@pytest.mark.long
def test_damaged_states_give_no_other_weights(tmp_path):
    path, good = tmp_path / "state.safetensors", tmp_path / "good.safetensors"
    module = saved(path, 1, 4)
    shutil.copy(path, good)
    for damaged in damaged_safetensors(good, "state", TRIES, seed=3):
        path.write_bytes(damaged)
        found = in_one_line(lambda: loaded(path), path)
        if found is not None:
            assert found[0].progress.step == 4
            assert same(found[1], module)
