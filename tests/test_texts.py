"""Texts that people write or programs damage: configurations, single values and recipes, each refused in one line."""

import contextlib
import json
import os
import random

import pytest

from faults.malformed import mutated_text
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import make_method
from napari_mvfusion.system.file_checks import check_file, read_text
from napari_mvfusion.system.yaml_text import parse_yaml
from napari_mvfusion.training.config import load_config

CONFIGURATION = """mode: supervised
steps: 100
batch: 2
tile: [32, 32, 32]
rate: 1.0e-3
architecture: {kind: paper, views: 2, feature_maps: 8}
scenes:
  size: 48
  least_views: 2
  most_views: 2
  angles: [0, 90.5]
weights: {cycle: 10, likelihood: absolute}
"""

RECIPE = {
    "format": "mvfusion-recipe",
    "version": 1,
    "inputs": {"source": ["a.tif", "b.tif"], "voxel_size_um": [1, 0.5, 0.5], "offset": 100.0, "weights": {"a": 2.0}},
    "grid": {"shape": [4, 5, 6], "voxel_size_um": [1, 0.5, 0.5], "origin_um": [0, 0, 0]},
    "views": [
        {
            "name": name,
            "angle": angle,
            "source": f"{name}.tif",
            "sha256": "00",
            "psf_shape": None,
            "psf_sha256": None,
            "affine": None,
            "weight": 1.0,
            "offset": 0.0,
        }
        for name, angle in (("a", 0.0), ("b", None))
    ],
    "method": {"name": "average", "parameters": {}},
    "run": {"device": "cpu", "threads": 1, "tile": [4, 5, 6]},
    "software": {"python": "3.11"},
}

TEXTS = {
    "bracket": "tile: [",
    "no date": "x: 2024-13-45",
    "digits": f"steps: {'9' * 5000}",
    "huge batch": "batch: 1000000000",
    "huge float": "minutes: 1.0e+300",
    "not a number": "rate: .nan",
    "infinite": "clip: .inf",
    "nested": "[" * 100_000,
    "nested mapping": "a: {" * 3000,
    "aliases": "a: &a [1, 1]\nb: &b [*a, *a]\nsteps: [*b, *b]",
    "tag": "steps: !!python/object/apply:os.system [ls]",
    "tile of nothing": "tile: [0, 0, 0]",
    "huge tile": "tile: [1000000, 1000000, 1000000]",
    "list": "- 1",
    "only a word": "hello",
    "control letters": "a: \x07",
    "unknown": "no_such_thing: 1",
    "wrong kind": "scenes: 7",
    "negative seed": "seed: -1",
    "huge seed": f"seed: {2**70}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_configuration_that_cannot_be_used_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "train [1].yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "train [1].yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "value", ["[", "2024-13-45", "9" * 5000, "[" * 100_000, "{a: 1", '"open', "&a [*a]", "\t- a: b"]
)
def test_a_single_value_that_is_no_yaml_is_refused(value):
    with pytest.raises(InputError, match="--set x"):
        parse_yaml(value, "--set x")


def test_what_yaml_can_say_is_still_read():
    assert parse_yaml("{a: [1, 2.5, yes], b: null}", "here") == {"a": [1, 2.5, True], "b": None}


@pytest.mark.parametrize("value", ["9" * 5000, "nan", "1e400", "[", "", "2024-13-45"])
def test_a_parameter_of_a_method_that_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="parameter 'iterations' of method 'ebmd'") as caught:
        make_method("ebmd", iterations=value)
    assert len(str(caught.value)) < 300


def recipe(**changes):
    return json.dumps(RECIPE | changes)


RECIPES = {
    "nested": "[" * 100_000,
    "nested in a place": json.dumps(RECIPE).replace('"average"', "[" * 50_000 + "]" * 50_000),
    "digits": '{"version": ' + "9" * 5000 + "}",
    "not an object": "[1, 2]",
    "another format": '{"format": "other"}',
    "version as text": recipe(version="1"),
    "newer": recipe(version=99),
    "tile of text": recipe(run={"device": "cpu", "threads": 1, "tile": ["a", 1, 1]}),
    "infinite tile": recipe(run={"device": "cpu", "threads": 1, "tile": [1, 1, 1e300]}),
    "no views": recipe(views=7),
    "a number as source": recipe(inputs={"source": 7}),
}


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_is_none_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "r.recipe.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert "r.recipe.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


REPEATS = {
    "a name among the parameters": {"method": {"name": "average", "parameters": {"name": "ebmd"}}},
    "no such method": {"method": {"name": "magic", "parameters": {}}},
    "a source that no system takes": {"inputs": {"source": "a\0b"}},
    "a source longer than names": {"inputs": {"source": "n" * 5000}},
    "no source": {"inputs": None},
}


@pytest.mark.parametrize("changes", REPEATS.values(), ids=REPEATS)
def test_a_recipe_that_cannot_be_repeated_says_why(tmp_path, changes):
    path = tmp_path / "r.recipe.json"
    path.write_text(recipe(**changes))
    with pytest.raises(InputError):
        next(load_recipe(path).repeat(tmp_path / "o.zarr"))


@pytest.mark.parametrize("seed", range(60))
def test_damaged_texts_are_read_or_refused(tmp_path, seed):
    """Nothing but our own error, whatever bytes are changed."""
    path = tmp_path / "damaged"
    for text, load in ((CONFIGURATION, load_config), (json.dumps(RECIPE, indent=1), load_recipe)):
        path.write_bytes(mutated_text(text, random.Random(seed)))
        with contextlib.suppress(InputError):
            load(path)


def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path):

    os.mkfifo(tmp_path / "pipe")

    for load in (load_config, load_recipe, check_file):
        with pytest.raises(InputError, match="is a pipe, socket or device"):
            load(tmp_path / "pipe")
        with pytest.raises(InputError, match="is a folder"):
            load(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_text(tmp_path / "none", "recipe")


def test_a_file_far_too_long_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(InputError, match="too long"):
        load_recipe(path)
