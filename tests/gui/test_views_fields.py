"""Where views have data, and how bright they are, in the Views & PSFs panel; what is chosen there reaches the engine."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner
from views_person import ViewsPerson, known

from napari_mvfusion.cli.app import app
from napari_mvfusion.cli.script import as_command, as_python
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import sample


@pytest.fixture
def person(model, qtbot, plugin):
    panel = ViewsPanel(model)
    qtbot.addWidget(panel, before_close_func=lambda widget: widget.setParent(None))
    panel.resize(390, 900)
    panel.show()
    qtbot.waitExposed(panel)
    return ViewsPerson(panel, qtbot)


@pytest.fixture(scope="module")
def recorded():
    return sample("nuclei", 32).views


def show(model, views, changes, inputs=None):
    """The views as layers, without what the simulator knows of them; `changes` are made to the pixels of some."""
    made = []
    for number, view in enumerate(views.views):
        data = np.array(view.data)
        made.append(replace(view, data=changes[number](data) if number in changes else data, mask=None))
    layers = view_layers(RegisteredViews(made, views.grid), sample="s", inputs=inputs)
    return [model.add_image(data, **look) for data, look, _ in layers]


def first_planes_are(value):
    def change(data):
        data[:12] = value
        return data

    return change


def fused(layers):
    views = open_layers(layers).views
    return np.asarray(drain(fuse_events(views, Average())).data)


def notes_of_field(row):
    return [text for text in row.problems if "field" in text or "pixel" in text or "NaN" in text or "not 0" in text]


def test_zeros_outside_a_field_are_said_and_can_be_called_data(model, person, recorded):
    layers = show(model, recorded, {0: first_planes_are(0)})
    person.settle()
    first, second = person.rows()
    said = "38% of its voxels are 0 outside its field; they are taken as no data and left to the other views."
    assert notes_of_field(first) == [said]
    assert first.kinds() == []
    assert notes_of_field(second) == []
    alone = np.asarray(recorded.views[1].data)[:12]
    np.testing.assert_allclose(fused(layers)[:12], alone, rtol=1e-5)
    first.fix("Zeros are data")
    person.settle()
    assert known(layers[0])["no_data"] == "none"
    assert notes_of_field(person.rows()[0]) == ["Every pixel counts as measured, zeros too."]
    np.testing.assert_allclose(fused(layers)[:12], alone / 2, rtol=1e-5)
    person.rows()[0].choose("Automatic", person.rows()[0].row.field_menu)
    person.settle()
    assert notes_of_field(person.rows()[0]) == [said]


def test_zeros_that_may_lie_outside_a_field_are_named_and_can_be_called_no_data(model, person):
    views = sample("embryo", 64, seed=2).views
    show(model, views, {0: lambda data: np.pad(data[11:-11, 11:-11, 11:-11], 11)})
    person.settle()
    row = person.rows()[0]
    assert row.kinds() == ["warning"]
    assert any(
        "are 0 beyond flat faces, where others still show some light: the outside" in said for said in row.problems
    )
    row.fix("Zeros are no data")
    person.settle()
    assert known(model.layers[0])["no_data"] == "0"
    row = person.rows()[0]
    assert row.kinds() == []
    assert any("every 0 is taken as no data" in said.lower() for said in row.problems)
    row.choose("Zeros are data", row.row.field_menu)
    person.settle()
    assert known(model.layers[0])["no_data"] == "none"


def test_nan_at_the_border_is_no_error(model, person, recorded):
    layers = show(model, recorded, {0: first_planes_are(np.nan)})
    person.settle()
    (row, _) = person.rows()
    assert row.kinds() == []
    count = 12 * np.prod(recorded.grid.shape[1:])
    (said,) = notes_of_field(row)
    assert said.endswith(f"{count} of its voxels are NaN; they are taken as no data and left to the other views.")
    assert "38%" not in said
    assert np.isfinite(fused(layers)).all()


@pytest.mark.parametrize("kind", ["labels", "image"])
def test_a_layer_can_be_the_mask_of_a_view(model, person, recorded, kind, tmp_path):
    shape = recorded.grid.shape
    mask = np.ones(shape, np.uint8)
    mask[:, :9] = 0  # the view holds light there, so nothing is recognised
    layers = show(model, recorded, {}, inputs=Inputs(source=str(tmp_path), no_data="auto").model_dump(mode="json"))
    add = model.add_labels if kind == "labels" else model.add_image
    add(mask, name="seen here", scale=layers[0].scale)
    model.add_labels(mask[1:], name="too small")
    person.settle()
    row = person.rows()[0]
    assert "Mask > too small" not in row.entries(row.row.field_menu)
    row.choose("Mask > seen here", row.row.field_menu)
    person.settle()
    row = person.rows()[0]
    assert "It has data where 'seen here' is not 0; the rest is left to the other views." in row.problems
    assert row.entries(row.row.field_menu)["Mask > seen here"].isChecked()
    np.testing.assert_allclose(fused(layers)[:, :9], np.asarray(recorded.views[1].data)[:, :9], rtol=1e-5)
    # A mask in memory is in no file that a command could name.
    assert open_layers(layers).inputs is None
    row.choose("Automatic", row.row.field_menu)
    person.settle()
    assert open_layers(layers).inputs is not None


def test_a_mask_from_a_file_is_named_where_the_run_is_copied(model, person, recorded, tmp_path):
    mask = np.ones(recorded.grid.shape, np.uint8)
    mask[:, :9] = 0
    write_tiff(tmp_path / "seen.tif", mask, recorded.grid)
    layers = show(model, recorded, {}, inputs=Inputs(source=str(tmp_path), no_data="auto").model_dump(mode="json"))
    shown = model.add_image(mask, name="seen")
    shown._source = shown.source.model_copy(update={"path": str(tmp_path / "seen.tif")})
    person.settle()
    row = person.rows()[0]
    row.choose("Mask > seen", row.row.field_menu)
    person.settle()
    inputs = open_layers(layers).inputs
    assert inputs["masks"] == {"0": str((tmp_path / "seen.tif").resolve())}
    command = as_command(Inputs(**inputs), Average(), "out.tif")
    assert f"--mask 0={(tmp_path / 'seen.tif').resolve()}" in command
    assert "--no-data" not in command


def test_views_that_take_zeros_differently_are_copied_as_one_command(model, recorded, tmp_path):
    folder = tmp_path / "in"
    write_views_folder(folder, RegisteredViews([replace(v, mask=None) for v in recorded.views], recorded.grid), "s")
    opened = Inputs(source=str(folder), no_data="auto")
    layers = show(model, recorded, {}, inputs=opened.model_dump(mode="json"))
    assert open_layers(layers).inputs["no_data"] == "auto"
    assert open_layers(layers).inputs["no_data_views"] == {}
    annotate(layers[1], no_data="none", offset=3.0)
    inputs = Inputs(**open_layers(layers).inputs)
    assert (inputs.no_data, inputs.no_data_views) == ("auto", {"180": "none"})
    assert (inputs.offset, inputs.offsets) == (0.0, {"180": 3.0})
    command = shlex.split(as_command(inputs, Average(), str(tmp_path / "out.tif")))
    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.asarray(open_volume(tmp_path / "out.tif")[0][:, :, :]), fused(layers), rtol=1e-6)
    kept = load_recipe(recipe_path(tmp_path / "out.tif")).inputs
    assert (kept.no_data, kept.no_data_views, kept.offsets) == ("auto", {"180": "none"}, {"180": 3.0})
    lines = as_python(inputs, Average(), str(tmp_path / "again.tif"))
    exec(compile(lines, "copied", "exec"), {})
    np.testing.assert_array_equal(
        np.asarray(open_volume(tmp_path / "again.tif")[0][:, :, :]),
        np.asarray(open_volume(tmp_path / "out.tif")[0][:, :, :]),
    )
    annotate(layers[0], no_data="none")
    assert (open_layers(layers).inputs["no_data"], open_layers(layers).inputs["no_data_views"]) == ("none", {})


def test_a_view_that_is_brighter_everywhere_is_balanced_and_brought_back(model, person, recorded):
    layers = show(model, recorded, {1: lambda data: data * 4})
    before = open_layers(layers).views
    person.settle()
    plain, bright = person.rows()
    assert not [text for text in plain.problems if "brighter" in text or "darker" in text]
    (said,) = [text for text in bright.problems if "brighter" in text]
    times = float(said.split()[1])
    assert said == f"About {times:.3g} times brighter than the others everywhere."
    assert times == pytest.approx(4, rel=0.2)
    assert bright.kinds() == ["warning"]
    bright.fix("Balance")
    person.settle()
    assert known(layers[1])["gain"] == pytest.approx(times, rel=0.01)
    balanced = open_layers(layers).views
    box = balanced.grid.box
    np.testing.assert_allclose(balanced.read(box)[1] * known(layers[1])["gain"], before.read(box)[1], rtol=1e-5)
    bright = person.rows()[1]
    assert bright.kinds() == []
    bright.fix("Undo")
    person.settle()
    assert known(layers[1])["gain"] == 1
    assert person.rows()[1].kinds() == ["warning"]


def test_a_copy_on_another_grid_keeps_what_is_outside_its_field(model, person, recorded):
    layers = show(model, recorded, {1: first_planes_are(0)})
    step = layers[0].scale[0]
    layers[1].translate = np.add(layers[1].translate, (0, step / 2, 0))
    person.settle()
    before = open_layers(layers).views
    person.rows()[1].fix("Make a copy")
    person.settle()
    copied = [layer for layer in model.layers if known(layer).get("included", True)]
    after = open_layers(copied).views
    box = before.grid.box
    np.testing.assert_allclose(after.read(box), before.read(box), rtol=1e-5)
    covered = after.coverage(box)
    np.testing.assert_array_equal(covered[1], before.coverage(box)[1])
    assert not covered[1, :12].any()


def test_an_offset_that_was_not_subtracted_is_set_by_a_button(model, person):
    made = sample("embryo", 32, angles=(0.0, 90.0), offset=100, read_noise=2, dtype="uint16").views
    layers = show(model, RegisteredViews([replace(view, offset=0.0) for view in made.views], made.grid), {})
    person.settle()
    for number in range(2):
        row = person.rows()[number]
        (text,) = [text for text in row.problems if "camera offset" in text]
        assert text == "About 100 where no view shows light, as with a camera offset that was not subtracted."
        assert row.kinds() == ["warning"]
        row.fix("Set offset")
        person.settle()
        assert known(layers[number])["offset"] == 100
    assert [row.kinds() for row in person.rows()] == [[], []]
    annotate(layers[0], offset=120.0)
    person.settle()
    row = person.rows()[0]
    assert any("lies above the level without light, about 100" in text for text in row.problems)
    row.fix("Set offset")
    person.settle()
    assert known(layers[0])["offset"] == 100


def test_a_view_that_is_higher_than_the_others_everywhere_gets_an_offset_by_a_button(model, person):
    made = sample("embryo", 32, angles=(0.0, 90.0, 180.0)).views
    added = 4 * float(np.max(made.views[1].data))
    # Light everywhere, so that no dark level tells of it.
    views = [replace(view, data=np.asarray(view.data) + np.float32(added)) for view in made.views]
    views[1] = replace(views[1], data=np.asarray(views[1].data) + np.float32(added))
    layers = show(model, RegisteredViews(views, made.grid), {})
    for layer in layers:
        annotate(layer, offset=added)
    person.settle()
    rows = person.rows()
    (text,) = [text for text in rows[1].problems if "than the others" in text]
    assert text.startswith("Higher than the others by about ")
    assert not any("than the others" in text for row in (rows[0], rows[2]) for text in row.problems)
    rows[1].fix("Set offset")
    person.settle()
    assert known(layers[1])["offset"] == pytest.approx(2 * added, rel=0.2)
    assert not any("Higher than" in text for text in person.rows()[1].problems)
