"""The light that views lost, as it is shown and given in the Views & PSFs panel, fused, saved and repeated."""

import shlex

import numpy as np
import pytest
import torch
from views_person import in_front_of_the_views, known

from command_line import run
from napari_mvfusion.cli.script import as_command
from napari_mvfusion.data.views import drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe, recipe_path
from napari_mvfusion.engine.savable_views import check_savable, kinds, save_views
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.saving import take_over
from napari_mvfusion.gui.layers.layer_data import view_layers, views_as_layers
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.layers.opened import open_layers, transmitted_in_memory
from napari_mvfusion.gui.panels.base import not_in_files
from napari_mvfusion.gui.panels.fuse.live_preview import identity
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.methods import Average, JointWiener
from napari_mvfusion.simulation import sample


@pytest.fixture(scope="module")
def recorded():
    return sample("nuclei", 32, attenuation=0.05, snr=50).views


@pytest.fixture
def person(model, qtbot, plugin):
    return in_front_of_the_views(model, qtbot)


@pytest.fixture
def layers(model, person, recorded):
    shown = [model.add_image(data, **look) for data, look, _ in view_layers(recorded, sample="s")]
    person.settle()
    return shown


def choose(person, number, entry):
    row = person.rows()[number]
    row.choose(f"Lost light > {entry}", row.row.field_menu)
    person.settle()
    return person.rows()[number]


def fused(views, method, **how):
    return np.asarray(drain(fuse_events(views, method, **how)).data)


def shown_names(model):
    return [layer.name for layer in model.layers if known(layer).get("role") == "transmission"]


def test_what_is_found_is_shown_and_can_be_given(model, person, layers, recorded, tmp_path):
    row = person.rows()[0]
    assert row.entries(row.row.field_menu)["Lost light > Found from the views"].isChecked()
    choose(person, 1, "Show as layers")
    assert "where they differ most, one got" in person.messages("done")[0]
    assert shown_names(model) == ["transmission s view 0", "transmission s view 180"]
    found = find_transmission(recorded).over(recorded.grid.box, torch.device("cpu")).numpy()
    for number, name in enumerate(shown_names(model)):
        np.testing.assert_array_equal(np.asarray(model.layers[name].data), found[number])
        assert model.layers[name].visible == (number == 1)
    assert len(person.rows()) == 2, "they are no views"
    choose(person, 0, "Show as layers")
    assert len(shown_names(model)) == 2, "those of before are replaced"
    before = identity(layers[0])
    with pytest.raises(InputError, match="has no transmission"):
        JointWiener(attenuation="given").check(open_layers(layers).views)
    for number, name in enumerate(shown_names(model)):
        row = choose(person, number, f"As '{name}' says")
        assert any(f"'{name}' says how much of the specimen it saw" in text for text in row.problems)
        assert row.entries(row.row.field_menu)[f"Lost light > As '{name}' says"].isChecked()
    assert identity(layers[0]) != before
    views = open_layers(layers).views
    np.testing.assert_allclose(
        fused(views, JointWiener(attenuation="given")), fused(recorded, JointWiener()), rtol=1e-4, atol=0.1
    )
    assert transmitted_in_memory(layers) == layers
    assert "choose it in Field > Lost light" in not_in_files(layers)
    row.fix("Found from the views")
    person.settle()
    assert known(layers[1])["transmission"] is None
    assert not any("says how much" in text for text in person.rows()[1].problems)


def test_why_nothing_is_found_is_said(model, person, layers):
    annotate(layers[1], angle=None)
    person.settle()
    choose(person, 0, "Show as layers")
    assert any("'180' has no angle" in text for text in person.messages("warning"))
    assert shown_names(model) == []


def test_layers_that_are_no_transmission_are_refused(model, person, layers):
    shape = layers[0].data.shape
    for name, values in (("percent", np.full(shape, 80.0)), ("hole", np.zeros(shape)), ("small", np.ones((3, 3, 3)))):
        model.add_image(values.astype(np.float32), name=name, metadata={"mvfusion": {"included": False}})
    person.settle()
    row = person.row("s view 0")
    assert "Lost light > As 'small' says" not in row.entries(row.row.field_menu)
    for name, said in (("percent", "'percent' is no transmission, as it is 80 at voxel"), ("hole", "is 0 at voxel")):
        row.choose(f"Lost light > As '{name}' says", row.row.field_menu)
        person.settle()
        assert any(said in text for text in person.messages("error")), person.messages("error")
        assert known(layers[0]).get("transmission") is None


def test_a_transmission_on_other_voxels_is_not_used_and_said(person, layers):
    annotate(layers[0], transmission=np.ones(layers[0].data.shape, np.float32), transmission_layer="t")
    for layer in layers:
        annotate(layer, grid=(2.0, 2.0, 2.0))
    person.settle()
    assert any("on other voxels than those of the fused volume" in text for text in person.row("s view 0").problems)
    assert all(view.transmission is None for view in open_layers(layers).views.views)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_saved_views_and_recipes_keep_what_was_given(model, recorded, tmp_path, kind, rng):
    write_views_folder(tmp_path / "in", recorded, "s")
    inputs = Inputs(source=str(tmp_path / "in"))
    _, found = views_as_layers(inputs.open, sample="s", inputs=inputs.model_dump(mode="json"))
    layers = [model.add_image(data, **look) for data, look, _ in found]
    run("transmission", tmp_path / "in", "-o", tmp_path / "light")
    for layer, name in zip(layers, recorded.names, strict=True):
        file = tmp_path / "light" / f"transmission_{name}.tif"
        annotate(layer, transmission=open_volume(file)[0], transmission_layer="t", transmission_file=str(file))
    opened = open_layers(layers)
    with pytest.raises(InputError, match="has a transmission, which is not saved with views"):
        check_savable(opened.views, kind)
    saved = save_views(tmp_path / f"mine{kind.ending}", recorded, kind, "a", lambda share: None)
    take_over(layers, opened.views, saved)
    opened = open_layers(layers)
    kept = Inputs(**opened.inputs)
    assert kept.source != inputs.source
    assert sorted(kept.transmissions.values()) == sorted(str(path) for path in (tmp_path / "light").iterdir())
    method = Average(attenuation="given")
    made = fused(opened.views, method, out=tmp_path / "out.tif", inputs=opened.inputs)
    recipe = load_recipe(recipe_path(tmp_path / "out.tif"))
    assert all(entry.transmission_sha256 for entry in recipe.views)
    again = drain(recipe.repeat(tmp_path / "again.tif"))
    np.testing.assert_array_equal(np.asarray(again.data), made)
    run(*shlex.split(as_command(kept, method, str(tmp_path / "copied.tif")))[1:])
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / "copied.tif")[0][:]), made)
    _, found = views_as_layers(kept.open, sample="s", inputs=kept.model_dump(mode="json"))
    reopened = [model.add_image(data, **look) for data, look, _ in found]
    assert open_layers(reopened).inputs == opened.inputs
    annotate(reopened[0], transmission=rng.random(recorded.grid.shape), transmission_layer="p", transmission_file="")
    assert open_layers(reopened).inputs is None
