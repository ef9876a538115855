"""The learned generator in the Fuse panel: the default, the choice of a model, its preview, its run, and what is kept."""

import numpy as np
import pytest
from copied_run import fused_elsewhere
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QListWidget

from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.method_form import MethodForm
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.models import find_model, weights_sha256
from napari_mvfusion.models.paper import PaperArchitecture
from small_models import SMALL, save

PAPER = PaperArchitecture(views=4, feature_maps=2)


@pytest.fixture
def newcomer(model, qtbot, make_person, small_views, show_views):
    """A person who has opened two views and the panel, and has touched nothing."""
    show_views(model, small_views)
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitExposed(panel)
    qtbot.wait(120)
    return make_person(panel)


def names(person):
    box = person.see("model", QComboBox)
    return [box.itemText(row) for row in range(box.count())]


def open_list(person):
    """Open the list of models with the mouse, and close it again."""
    box = person.see("model", QComboBox)
    person.bot.mouseClick(box, Qt.MouseButton.LeftButton)
    person.bot.waitUntil(box.view().isVisible)
    box.hidePopup()


def about(person):
    label = person.see("about", QLabel)
    return label.text() if label.isVisibleTo(person.panel) else ""


def test_the_universal_generator_is_what_a_newcomer_gets(newcomer):
    methods = newcomer.see("methods", QListWidget)
    states = {methods.item(row).text(): methods.item(row).checkState() for row in range(methods.count())}
    assert [text for text, state in states.items() if state == Qt.CheckState.Checked] == [LearnedFusion.title]
    assert methods.currentItem().text() == LearnedFusion.title
    assert newcomer.see("model", QComboBox).currentText() == "universal"
    assert newcomer.see("presets", QComboBox).currentText() == "Best"
    assert not newcomer.hint()
    assert newcomer.can_press("fuse")


def test_what_the_card_says_stands_below_the_model(newcomer, models):
    card = find_model("universal").card
    assert card.title in about(newcomer)
    assert "2 to 8 views" in about(newcomer)
    save(models, "mine", PAPER, title="Of <my> fly", angles=(0, 90, 180, 270), created="2026-01-02T03:04:05+00:00")
    open_list(newcomer)
    newcomer.choose("model", "mine")
    assert "<b>Of &lt;my&gt; fly</b>" in about(newcomer)
    assert "Takes 4 views, at 0°, 90°, 180° and 270°. Yours, 2026-01-02." in about(newcomer)


def test_a_model_that_is_trained_meanwhile_can_be_chosen_at_once(newcomer, models, model, small_views):
    shipped = ["unet-four-views", "unet-two-views", "universal"]
    assert names(newcomer) == shipped
    save(models, "mine", SMALL)
    open_list(newcomer)
    assert names(newcomer) == [*shipped, "mine"]
    assert newcomer.see("model", QComboBox).currentText() == "universal"
    newcomer.choose("model", "mine")
    newcomer.press("fuse")
    newcomer.wait_until_done()
    np.testing.assert_array_equal(model.layers[-1].data, fuse(small_views.views, LearnedFusion(model="mine")).data)


def test_a_new_model_is_found_with_the_keyboard_too(newcomer, models):
    save(models, "mine", SMALL)
    newcomer.choose("model", "mine")
    assert newcomer.see("model", QComboBox).currentText() == "mine"


def test_a_model_for_other_views_is_refused_in_words_before_the_run(newcomer, models):
    save(models, "four", PAPER)
    open_list(newcomer)
    newcomer.choose("model", "four")
    assert newcomer.hint() == ("The model 'four' takes 4 views, and there are 2: choose other views, or another model")
    assert not newcomer.can_press("fuse")
    newcomer.choose("model", "universal")
    assert not newcomer.hint()
    assert newcomer.can_press("fuse")


def test_a_model_that_is_gone_is_named(newcomer, models):
    save(models, "mine", SMALL)
    open_list(newcomer)
    newcomer.choose("model", "mine")
    (models / "mine.safetensors").unlink()
    newcomer.tick(0)
    newcomer.tick(0)
    # The PSFs are looked at first, which takes a while on a busy machine.
    expected = "There is no model 'mine': choose from unet-four-views, unet-two-views, universal"
    newcomer.bot.waitUntil(lambda: newcomer.hint().startswith(expected))
    assert not newcomer.can_press("fuse")
    open_list(newcomer)
    assert newcomer.see("model", QComboBox).currentText() == "mine"
    assert not about(newcomer)
    newcomer.choose("model", "universal")
    assert newcomer.can_press("fuse")


def test_presets_leave_the_model_alone(newcomer, models):
    save(models, "mine", SMALL)
    open_list(newcomer)
    newcomer.choose("model", "mine")
    assert newcomer.see("presets", QComboBox).currentText() == "Best"
    newcomer.pick("presets", "Fast")
    assert newcomer.see("model", QComboBox).currentText() == "mine"
    assert newcomer.see("precision", QComboBox).currentText() == "mixed"


def test_a_run_with_the_universal_model_is_that_of_the_engine_and_its_recipe_holds_the_weights(
    newcomer, model, small_views
):
    newcomer.press("fuse")
    newcomer.wait_until_done()
    result = model.layers[-1]
    assert result.name == "nuclei universal"
    np.testing.assert_array_equal(result.data, fuse(small_views.views, LearnedFusion()).data)
    parameters = result.metadata[KEY]["recipe"]["method"]["parameters"]
    assert parameters["model"] == "universal"
    assert parameters["sha256"] == weights_sha256(find_model("universal").path)


def test_the_model_that_was_used_last_comes_back(newcomer, models, model, qtbot):
    save(models, "mine", SMALL)
    open_list(newcomer)
    newcomer.choose("model", "mine")
    newcomer.press("fuse")
    newcomer.wait_until_done()
    later = FusePanel(model)
    qtbot.addWidget(later)
    assert later.findChild(MethodForm).methods() == [LearnedFusion(model="mine")]


def test_a_series_goes_on_with_what_is_missing(newcomer, models, model, small_views, tmp_path):
    save(models, "mine", SMALL)
    for view, layer in zip(small_views.views.views, list(model.layers), strict=True):
        layer.data = np.stack([np.asarray(view.data), 2 * np.asarray(view.data)])
    newcomer.bot.wait(120)
    open_list(newcomer)
    newcomer.choose("model", "mine")
    newcomer.choose("place", "OME-Zarr")
    newcomer.enter("path", str(tmp_path / "movie"))
    newcomer.press("fuse")
    newcomer.wait_until_done()
    first, second = (tmp_path / f"movie-00{i}.zarr" for i in range(2))
    kept = (first / "zarr.json").stat().st_mtime_ns
    second.rename(tmp_path / "lost.zarr")
    newcomer.enter("path", str(tmp_path / "movie"))
    newcomer.choose("existing", "Go on")
    newcomer.press("fuse")
    newcomer.wait_until_done()
    assert (second / "zarr.json").exists()
    assert (first / "zarr.json").stat().st_mtime_ns == kept


def test_a_run_is_copied_as_a_command_and_as_python(newcomer, models, model, views_folder, tmp_path, monkeypatch):
    save(models, "mine", SMALL)
    model.layers.clear()
    for data, look, _ in get_reader(str(views_folder))(str(views_folder)):
        model.add_image(data, **look)
    newcomer.bot.wait(120)
    open_list(newcomer)
    for chosen, kind in (("mine", "Command"), ("universal", "Python")):
        newcomer.choose("model", chosen)
        newcomer.press("fuse")
        newcomer.wait_until_done()
        expected = np.asarray(model.layers[-1].data)
        again = fused_elsewhere(newcomer, kind, tmp_path / kind, monkeypatch)
        np.testing.assert_array_equal(again, expected)
