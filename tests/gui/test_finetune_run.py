"""A fine-tune in the panel, from the first click to the last: each test trains a small network for real."""

import os
import signal

import numpy as np
import psutil
import pytest
import tifffile
from finetune_person import in_front_of_the_panel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QListWidget

from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.models import list_models, load_model
from napari_mvfusion.training.runs import unfinished_runs
from small_models import SMALL, save
from small_training import own_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def ready(model, models, qtbot, monkeypatch):
    """A person in front of the panel with two small views open, a small model chosen, and some minutes to train."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    save(models, "small", SMALL)
    person = in_front_of_the_panel(model, qtbot)
    assert "No views yet" in person.read("volume")
    assert "No views yet" in person.see("start_training").toolTip()
    person.choose("start", "small")
    views, _ = own_views()
    for data, look, _ in view_layers(views, sample="fish"):
        model.add_image(data, **look)
    person.choose("how_long", "Another")
    person.enter("minutes", "3")
    person.press("unfold")
    person.enter("validate_every", "4")
    person.wait_for_plan()
    yield person
    person.leave()


def children():
    """The processes that train."""
    return [process for process in psutil.Process().children() if "napari_mvfusion" in " ".join(process.cmdline())]


def own_models():
    return [entry.name for entry in list_models() if not entry.shipped]


def residuals(person):
    if not person.panel._page.view._history.figures:
        return []
    return person.panel._page.view._history.figures["residual"].points()[1]


def improved(person):
    """Whether weights that are better than the start were found."""
    points = residuals(person)
    return len(points) > 0 and min(points) < points[0]


def loss_curve(person, name):
    curve = person.panel._page.view._history.losses.get(name)
    return [] if curve is None else curve.points()[1]


def test_train_pause_resume_stop_fuse_compare_continue_and_delete(ready, model, qtbot):
    fuse = FusePanel(model)
    qtbot.addWidget(fuse)
    assert "steps" in ready.read("takes") or "to prepare" in ready.read("takes")
    ready.start()
    ready.wait_for_step(6)
    # The curve grows, and the structure residual of the start is its first point.
    ready.wait(lambda: len(residuals(ready)) >= 2)
    assert "cycle" in ready.panel._page.view._history.losses
    ready.wait(lambda: "fit" in ready.read("loss_legend"))
    ready.wait(lambda: "steps/s" in ready.read("machine"))
    ready.wait(lambda: ": " in ready.read("words_now"))
    ready.press("pause")
    ready.wait(lambda: "paused" in ready.read("step"))
    assert "Goes on" in ready.see("pause").toolTip()
    step = ready.step()
    qtbot.wait(500)
    assert ready.step() == step
    ready.press("pause")
    ready.wait_for_step(step + 2)
    ready.press("stop")
    ready.wait(lambda: bool(ready.read("outcome")))
    assert not children()
    assert ready.read("outcome").startswith("Better: ")
    assert own_models() == ["fish-small", "small"]
    box = fuse.findChild(QComboBox, "model")
    assert box.findText("fish-small") >= 0, "an open Fuse panel lists the model at once"

    ready.press("use")
    ready.wait(lambda: any("done in" in text.lower() for text in ready.messages("done")))
    assert model.layers[-1].name == "fish fish-small"
    assert np.isfinite(model.layers[-1].data).all()
    ready.press("compare")
    ready.wait(lambda: any("Over the whole volume" in text for text in ready.messages("done")))
    fused, maps = model.layers[-4:-2], model.layers[-2:]
    assert [layer.name for layer in fused] == ["fish small", "fish fish-small [1]"]
    assert [layer.name for layer in maps] == ["residual, start", "residual, fish-small"]
    assert model.canvas.grid.enabled
    assert [layer for layer in model.layers if layer.visible] == [*fused, *maps]
    for pair in (fused, maps):
        assert pair[0].contrast_limits == pair[1].contrast_limits
        assert pair[0].colormap.name == pair[1].colormap.name
        np.testing.assert_allclose(pair[0].extent.world, fused[0].extent.world)
    # Training lowers the structure residual, and the layers show that.
    before, after = (float(np.square(layer.data).mean()) for layer in maps)
    assert after < before
    ready.press("leave_grid")
    assert not model.canvas.grid.enabled
    assert not any(layer.visible for layer in maps)

    before = ready.panel._page.view.steps
    ready.press("continue")
    ready.wait(lambda: not ready.read("outcome"))
    ready.wait_for_step(before + 2)
    ready.press("stop")
    ready.wait(lambda: bool(ready.read("outcome")))
    assert load_model("fish-small")[1].training["steps"] > before
    ready.press("rename")
    ready.enter("question_entry", "better-fish")
    assert own_models() == ["better-fish", "small"]
    ready.press("delete")
    ready.press("question_yes")
    assert own_models() == ["small"]
    assert ready.is_shown("start_training")
    assert not unfinished_runs()


def test_sharp_volumes_of_others_train_an_adversary_too_and_the_model_fuses(ready, model, qtbot, tmp_path, make_person):
    # A discriminator needs tiles of 32, and one of them is held out beside another.
    for layer in [layer for layer in model.layers if layer.name.startswith("fish view")]:
        model.layers.remove(layer)
    for data, look, _ in view_layers(own_views((64, 36, 36))[0], sample="fish"):
        model.add_image(data, **look)
    sharp = [own_views(seed=seed)[1] for seed in (3, 4)]
    model.add_image(sharp[0], name="other fish", metadata={"mvfusion": {"role": "truth"}})
    tifffile.imwrite(tmp_path / "third fish.tif", sharp[1])
    ready.choose("mode", "Sharp")
    ready.panel._setup.data._sharp.add_files([tmp_path / "third fish.tif"])
    ready.see("sharp", QListWidget).item(0).setCheckState(Qt.CheckState.Checked)
    ready.enter("validate_every", "2")
    ready.start()
    ready.wait(lambda: ready.read("outcome") or (len(loss_curve(ready, "adversarial")) >= 3 and improved(ready)))
    assert not ready.read("outcome")
    assert {"cycle", "cycle of sharp volumes", "discriminator"} <= set(ready.panel._page.view._history.losses)
    assert np.isfinite(loss_curve(ready, "adversarial")).all()
    ready.press("stop")
    ready.wait(lambda: bool(ready.read("outcome")))
    assert ready.read("outcome").endswith("The model 'fish-small' is in the lists now.")
    training = load_model("fish-small")[1].training
    assert training["config"]["mode"] == "semi"

    model.layers.remove("other fish")
    fuse = FusePanel(model)
    qtbot.addWidget(fuse)
    fuse.show()
    fusing = make_person(fuse)
    qtbot.wait(120)
    fusing.choose("model", "fish-small")
    fusing.press("fuse")
    fusing.wait_until_done()
    assert model.layers[-1].name == "fish fish-small"
    assert np.isfinite(model.layers[-1].data).all()


def test_a_killed_process_is_told_in_words_and_goes_on_from_its_checkpoint(ready, model, qtbot):
    ready.start()
    ready.wait_for_step(2)
    ready.press("pause")
    ready.wait(lambda: bool(unfinished_runs()))
    (child,) = children()
    os.kill(child.pid, signal.SIGKILL)
    ready.wait(lambda: bool(ready.read("outcome")))
    assert ready.read("outcome").startswith("The training process ended unexpectedly (signal 9)")
    assert not ready.can_press("use")
    assert ready.can_press("continue")
    saved = unfinished_runs()[0].step

    ready.press("another")
    assert f"'fish-small' did not come to its end: step {saved}" in ready.read("unfinished_text")
    ready.press("continue_unfinished")
    ready.wait_for_step(saved + 1)
    ready.press("discard")
    assert "forget all that 'fish-small' has learned" in ready.read("question_text")
    ready.press("question_no")
    ready.wait_for_step(saved + 3)
    ready.press("discard")
    ready.press("question_yes")
    ready.wait(lambda: ready.is_shown("start_training"))
    assert not children()
    assert own_models() == ["small"]
    assert not unfinished_runs()
    assert not ready.is_shown("unfinished_text")


def test_closing_the_panel_stops_and_keeps(ready, qtbot):
    ready.start()
    ready.wait_for_step(5)
    (child,) = children()
    ready.panel.setParent(None)
    qtbot.waitUntil(lambda: not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE)
    qtbot.waitUntil(lambda: "fish-small" in own_models() or bool(unfinished_runs()))


def test_what_the_plan_refuses_stands_on_the_disabled_button(ready, model):
    ready.enter("name", "small")
    ready.wait(lambda: "there is a model 'small' already" in ready.read("hint").lower())
    assert not ready.can_press("start_training")
    assert "There is a model 'small' already" in ready.see("start_training").toolTip()
    ready.enter("name", "other")
    ready.wait_for_plan()
    ready.choose("tile", "32")
    ready.wait(lambda: "can be held out of 40 x 32 x 32 voxels beside one to train on" in ready.read("hint"))
    ready.choose("tile", "automatic")
    ready.wait_for_plan()
    ready.choose("mode", "Sharp")
    ready.wait(lambda: "No sharp volume is ticked" in ready.read("hint"))
    ready.choose("mode", "Nothing")
    ready.choose("region", "A box")
    ready.wait(lambda: "No box is drawn" in ready.read("hint"))
    box = model.layers["Training box"]
    box.add([np.array([[20, 2, 2], [20, 2, 31], [20, 31, 31], [20, 31, 2]])], shape_type="rectangle")
    ready.wait_for_plan()
    assert ready.see("region_words", QLabel).text() == "40 × 29 × 29 voxels from (0, 2, 2)"
    ready.choose("region", "The whole")
    assert "Training box" not in model.layers
