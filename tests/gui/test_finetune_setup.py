"""What is entered in the Fine-tune panel before a run, and the parts of it that know no run."""

import threading

import numpy as np
import pytest
import tifffile
from finetune_person import in_front_of_the_panel
from napari.layers import Image, Shapes
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QListWidget,
    QPushButton,
    QStyle,
    QStyleOptionComboBox,
)

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.notes import KEY, annotate
from napari_mvfusion.gui.panels.finetune import model_actions, setup_page
from napari_mvfusion.gui.panels.regions import drawn_box
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.gui.widgets.forms import ModelChoice
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.models import export_model, list_models
from napari_mvfusion.training.config import LossWeights, TrainConfig
from napari_mvfusion.training.expert import expert_changes, expert_parameters, expert_values
from napari_mvfusion.training.folders import inputs_in
from napari_mvfusion.training.plan import suggest_name
from napari_mvfusion.training.presets import fine_tune_config
from old_checkpoints import content
from old_torch import old_file
from patience import PATIENCE
from small_models import SMALL, save
from small_training import own_views


@pytest.fixture
def person(model, models, qtbot):
    """A person in front of the panel without any layers, who has chosen a small model of their own."""
    save(models, "small", SMALL)
    person = in_front_of_the_panel(model, qtbot)
    person.choose("start", "small")
    yield person
    person.leave()


@pytest.fixture
def folder(tmp_path):
    """A folder with a folder of views for each of two time points."""
    whole = tmp_path / "movie"
    for number in range(2):
        views, _ = own_views(seed=number)
        write_views_folder(whole / f"t{number}", views, f"t{number}")
    return whole


def plan(person):
    person.wait_for_plan()
    return person.panel._setup._plan


def copy(person, kind):
    actions = {action.text(): action for action in person.see("copy", QPushButton).menu().actions()}
    actions[kind].trigger()


def open_views(person, model, shape=(40, 32, 32)):
    views, _ = own_views(shape)
    for data, look, _ in view_layers(views, sample="fish"):
        model.add_image(data, **look)
    person.wait_for_plan()


@pytest.mark.parametrize(("depth", "start", "stop"), [(None, (0, 2, 5), (20, 12, 25)), (6, (7, 2, 5), (13, 12, 25))])
def test_a_rectangle_becomes_a_box_of_voxels(depth, start, stop):
    layer = Image(np.zeros((20, 30, 40)), scale=(2, 1, 0.5), translate=(5, 0, 0))
    corners = np.array([[25, 2, 2.5], [25, 12, 2.5], [25, 12, 12.5], [25, 2, 12.5]])
    box = drawn_box(Shapes([corners]), layer, (20, 30, 40), depth)
    assert (box.start, box.stop) == (start, stop)
    assert drawn_box(Shapes(ndim=3), layer, (20, 30, 40), depth) is None


@pytest.mark.parametrize("mode", ["self", "semi"])
def test_the_form_for_experts_has_the_fields_of_the_configuration_and_their_bounds(person, model, mode):
    standard = fine_tune_config(mode, minutes=5, views=())
    open_views(person, model)
    person.choose("mode", {"self": "Nothing", "semi": "Sharp"}[mode])
    form = person.panel._setup.training._expert
    person.wait(lambda: form.values() == expert_values(standard))
    fields = {**TrainConfig.model_fields, **LossWeights.model_fields}
    for parameter in expert_parameters(standard):
        field = fields[parameter.field]
        widget = form[parameter.field].native
        assert (widget.accessibleName(), widget.toolTip()) == (field.title, f"<qt>{field.description}</qt>")
        if isinstance(widget, QDoubleSpinBox):
            for number in (-1e9, 1e9):
                # Whatever can be entered can be used; a mode may still refuse it beside others.
                widget.setValue(number)
                changes = expert_changes({parameter.field: widget.value()}, standard)
                if (mode, parameter.field, number) != ("self", "resimulated", -1e9):
                    fine_tune_config(mode, minutes=5, views=(), **changes)


def test_what_was_entered_for_experts_is_remembered_as_it_was_by_version_0_1(person, model):
    training = person.panel._setup.training
    expert = {"rate": 3.0, "tile": "48", "seed": 4, "again": 0.5, "gains": "lost"}
    training.restore({"mode": "self", "minutes": 2.0, "time": "other", "expert": expert})
    assert training.minutes == 2.0
    assert training.expert()["rate"] == pytest.approx(3e-4)
    assert (training.expert()["resimulated"], training.expert()["gains"]) == (0.5, "attenuation")
    state = training.state()
    training.reset()
    training.restore(state)
    assert (training.expert()["rate"], training.expert()["tile"], training.expert()["seed"]) == (3e-4, "48", 4)


def test_a_proposed_name_is_a_name_and_new(models):
    assert suggest_name("universal", "Fly 3 (left)") == "Fly-3-left-universal"
    assert suggest_name("universal", "") == "universal-tuned"
    save(models, "fish-universal", SMALL)
    (models / "fish-universal-2.training").mkdir()
    assert suggest_name("universal", "fish") == "fish-universal-3"


def test_a_folder_of_folders_is_a_series_of_volumes(folder, tmp_path):
    assert [inputs.tag for inputs in inputs_in(folder)] == ["t0", "t1"]
    assert len(inputs_in(folder / "t0")) == 1
    with pytest.raises(InputError, match="holds no registered views"):
        inputs_in(tmp_path / "models")


def test_volumes_in_files_are_opened_where_the_run_is(person, folder):
    person.choose("source", "Files")
    person.wait(lambda: "No files yet" in person.see("start_training").toolTip())
    person.panel._setup.data._files.add(folder)
    job = plan(person).job
    assert [each.tag for each in job.data] == ["t0", "t1"]
    assert person.read("volume") == "2 volumes, all are learned from"
    volumes = person.see("volumes", QListWidget)
    volumes.item(0).setSelected(True)
    person.press("remove_folder")
    assert len(plan(person).job.data) == 1


def test_time_points_of_layers_are_volumes(person, model):
    views, _ = own_views()
    for data, look, _ in view_layers(views, sample="fish"):
        place = look | {"scale": (1, 1, 1, 1), "translate": (0, 0, 0, 0), "units": ("s", "um", "um", "um")}
        model.add_image(np.stack([data] * 3), **place | {"axis_labels": ("t", "z", "y", "x")})
    person.wait_for_plan()
    assert len(plan(person).job.data) == 3
    assert "3 volumes, all are learned from" in person.read("volume")


def test_the_time_is_chosen_or_entered(person, model):
    open_views(person, model)
    assert plan(person).job.config.minutes == 5
    person.choose("how_long", "Thorough")
    assert plan(person).job.config.minutes == 30
    assert "then 30 min" in person.read("takes")
    person.choose("how_long", "Another")
    person.see("minutes", QDoubleSpinBox).setValue(0.5)
    assert plan(person).job.config.minutes == 0.5


@pytest.mark.parametrize("width", [300, 330, 360, 390])
def test_no_choice_is_cut_off_in_a_narrow_dock(person, model, width):
    open_views(person, model)
    person.dock.setFixedWidth(width)
    person.bot.wait(50)
    for name in ("source", "region", "mode", "how_long"):
        box = person.see(name, QComboBox)
        option = QStyleOptionComboBox()
        box.initStyleOption(option)
        edit = QStyle.SubControl.SC_ComboBoxEditField
        place = box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, edit, box)
        texts = [box.itemText(row) for row in range(box.count())]
        assert max(box.fontMetrics().horizontalAdvance(text) for text in texts) <= place.width(), name


def test_from_scratch_is_a_start_too(person, model):
    open_views(person, model)
    person.choose("start", "From scratch")
    job = plan(person).job
    assert job.start_from is None
    assert job.out == "fish-scratch"
    assert "Random weights" in person.read("about")
    # How fast the network is gets measured, once.
    person.wait(lambda: " steps." in person.read("takes"))


def test_sharp_volumes_are_layers_or_files(person, model, tmp_path):
    open_views(person, model, (64, 32, 32))
    _, sharp = own_views(seed=3)
    tifffile.imwrite(tmp_path / "sharp.tif", sharp)
    model.add_image(sharp, name="other fish", metadata={"mvfusion": {"role": "truth"}})
    person.choose("mode", "Sharp")
    person.wait(lambda: "No sharp volume is ticked" in person.read("hint"))
    listed = person.see("sharp", QListWidget)
    assert listed.item(0).text() == "other fish"
    listed.item(0).setCheckState(Qt.CheckState.Checked)
    person.press("unfold")
    person.choose("tile", "32")
    person.wait_for_plan()
    person.panel._setup.data._sharp.add_files([tmp_path / "sharp.tif"])
    job = plan(person).job
    assert job.config.mode == "semi"
    assert [type(each).__name__ for each in job.sharp[1:]] == [type(tmp_path).__name__]
    assert job.sharp[0].shape == sharp.shape


def test_a_model_for_other_views_is_refused_before_the_start(person, model, models):
    save(models, "many", SMALL, least_views=4)
    open_views(person, model)
    person.choose("start", "many")
    person.wait(lambda: "takes 4 to 8 views, and there are 2" in person.read("hint"))
    assert not person.can_press("start_training")


def test_the_menu_of_a_model_of_ones_own(person, tmp_path, models):
    menu = person.see("model_menu", QPushButton).menu()
    actions = {action.text(): action for action in menu.actions()}
    assert not actions["Continue its training…"].isEnabled(), "it comes from no run here"
    actions["Rename…"].trigger()
    person.enter("question_entry", "tiny")
    assert [entry.name for entry in list_models() if not entry.shipped] == ["tiny"]
    assert person.see("start").currentText() == "tiny"
    actions["Rename…"].trigger()
    person.enter("question_entry", "no/name")
    person.wait(lambda: any("cannot be the name of a model" in text for text in person.messages("error")))
    actions["Delete…"].trigger()
    assert "Delete the model 'tiny'" in person.read("question_text")
    person.press("question_no")
    actions["Delete…"].trigger()
    person.press("question_yes")
    assert not list(models.glob("*.safetensors"))
    assert person.see("start").findText("tiny") < 0
    person.choose("start", "universal")
    assert not person.can_press("model_menu")
    assert "Only models of your own" in person.see("model_menu").toolTip()


def test_an_exported_model_and_a_checkpoint_are_imported(person, tmp_path, models, monkeypatch):
    fuse = ModelChoice()
    person.bot.addWidget(fuse)
    export_model(list_own()[0], tmp_path / "given.safetensors")
    checkpoint = tmp_path / "paper.ckpt"
    checkpoint.write_bytes(old_file(content()))
    for path in (tmp_path / "given.safetensors", checkpoint):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, path=path: (str(path), ""))
        person.press("import_model")
        assert path.stem in list_own()
        assert person.see("start").currentText() == path.stem
        assert fuse.findText(path.stem) >= 0
        person.press("import_model")
        assert "is taken" in person.read("question_text")
        person.press("question_yes")
        assert f"{path.stem}-2" in list_own()
    checkpoint.write_bytes(b"no checkpoint")
    (models / "paper.safetensors").unlink()
    person.press("import_model")
    person.wait(lambda: any(str(checkpoint) in text for text in person.messages("error")))


def test_the_window_answers_while_a_model_is_imported(person, tmp_path, models, monkeypatch):
    checkpoint = tmp_path / "paper.ckpt"
    checkpoint.write_bytes(old_file(content()))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(checkpoint), ""))
    threads = []
    read = model_actions.import_model

    def watched(*arguments):
        threads.append(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(model_actions, "import_model", watched)
    person.press("import_model")
    assert "paper" in list_own()
    assert threads
    assert threads[0] is not threading.main_thread()


def list_own():
    return [entry.name for entry in list_models() if not entry.shipped]


def test_a_run_from_files_can_be_copied_and_others_say_why_not(person, model, folder):
    for data, look, _ in get_reader(str(folder / "t0"))(str(folder / "t0")):
        model.add_image(data, **look)
    person.wait_for_plan()
    copy(person, "Command")
    text = QGuiApplication.clipboard().text()
    assert text.startswith("mvfusion train ")
    assert "--from small" in text
    assert "--minutes 5" in text
    person.wait(lambda: person.messages("done") == ["Copied as command."])
    copy(person, "Python")
    assert "start_from='small'" in QGuiApplication.clipboard().text()
    model.layers[0].translate = (3, 0, 0)
    person.wait_for_plan()
    copy(person, "Command")
    person.wait(lambda: any("cannot be opened from files elsewhere" in text for text in person.messages("error")))


def test_a_copy_waits_for_the_plan_that_is_being_made(person, model, folder, models):
    for data, look, _ in get_reader(str(folder / "t0"))(str(folder / "t0")):
        model.add_image(data, **look)
    person.wait_for_plan()
    person.see("how_long", QComboBox).setCurrentIndex(2)
    copy(person, "Python")
    person.wait(lambda: person.messages("done") == ["Copied as Python."])
    assert "minutes=30" in QGuiApplication.clipboard().text()
    save(models, "many", SMALL, least_views=4)
    person.choose("start", "many")
    copy(person, "Command")
    person.wait(lambda: any("takes 4 to 8 views, and there are 2" in text for text in person.messages("error")))
    assert "minutes=30" in QGuiApplication.clipboard().text()


def test_a_plan_of_what_was_entered_before_cannot_be_started(person, model, monkeypatch):
    open_views(person, model)
    go_on = threading.Event()

    def slow(check, form_values):
        go_on.wait(30)
        yield from plan_steps(check, form_values)

    plan_steps = setup_page.plan_steps
    monkeypatch.setattr(setup_page, "plan_steps", slow)
    page = person.panel._setup
    page.check()
    page._due.setTimeout(60_000)
    person.choose("how_long", "Thorough")
    go_on.set()
    assert QThreadPool.globalInstance().waitForDone(PATIENCE)
    person.bot.wait(50)
    assert not person.can_press("start_training")


def test_a_look_at_the_psfs_makes_no_other_plan(person, model):
    open_views(person, model)
    person.wait(lambda: " steps." in person.read("takes"))
    before = plan(person)
    data = person.panel._setup.data
    with person.bot.waitSignal(data.judged):
        data._psfs._psfs.changed.emit()
    assert plan(person) is before


def test_psfs_that_the_command_line_mends_are_made_ready_before_a_run_is_planned(person, model):
    open_views(person, model)
    person.wait(lambda: " steps." in person.read("takes"))
    raw = np.pad(model.layers[0].metadata[KEY]["psf"] * 9, ((1, 0), (0, 1), (1, 0)))
    annotate(model.layers[0], psf=raw)
    person.wait(lambda: person.is_shown("psf_notes") and person.can_press("start_training"))
    ready = prepare_psf(raw)
    np.testing.assert_array_equal(model.layers[0].metadata[KEY]["psf"], ready.psf)
    planned = plan(person).views[0].views[0]
    np.testing.assert_array_equal(planned.psf, ready.psf)
    assert planned.psf_notes == ready.notes
    assert person.messages("problem") == []


def test_without_psfs_it_names_the_ways_out(person, model):
    open_views(person, model)
    for layer in model.layers:
        annotate(layer, psf=None)
    person.wait(lambda: person.is_shown("choose psf"))
    assert person.read("hint").endswith("is needed here: choose a PSF file, or measure PSFs from beads")
    assert person.is_shown("measure from beads")
    assert not person.is_shown("use average"), "nothing is fused here"
