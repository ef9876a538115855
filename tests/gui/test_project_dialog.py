"""What is asked when a project is opened in a window, clicked as a person does, and the layers that come of it."""

import json
import shutil

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLabel, QTreeWidget, QWidget
from views_person import in_front_of_the_views

from bdv_projects import IDENTITY, Setup, scaled, write_n5_view, xml_of
from napari_mvfusion.engine.project_plan import ProjectPlanner
from napari_mvfusion.gui.layers.conversion import finest
from napari_mvfusion.gui.layers.notes import can_be_view
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.views.project_dialog import ProjectDialog
from napari_mvfusion.gui.widgets.inputs import DropList

pytestmark = pytest.mark.usefixtures("plugin")
LEFT = Qt.MouseButton.LeftButton
N5 = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
PROJECTS = {
    "mri-stack.xml": "mri-stack/mri-stack.xml",
    "bigstitcher-zarr/dataset.xml": "bigstitcher-zarr/dataset.xml",
    "bigstitcher-tiff/dataset.xml": "bigstitcher-tiff/dataset.xml",
    "npy2bdv/npy2bdv_angles.xml": "npy2bdv/npy2bdv_angles.xml",
}


class Asked:
    """Somebody in front of the dialog."""

    def __init__(self, dialog, bot):
        self.dialog, self.bot = dialog, bot
        self.wait()

    def wait(self):
        self.bot.waitUntil(lambda: not self.dialog.busy)

    def see(self, name, kind=QLabel):
        found = self.dialog.findChild(kind, name)
        return found if found is not None and found.isVisibleTo(self.dialog) else None

    def choose(self, name, text):
        box = self.see(name, DropList)
        self.bot.keyClick(box, Qt.Key.Key_Home)
        while not box.currentText().startswith(text):
            before = box.currentIndex()
            self.bot.keyClick(box, Qt.Key.Key_Down)
            assert box.currentIndex() > before, f"there is no {text}"
        self.wait()

    def enter(self, name, text):
        field = self.dialog.findChild(object, name)
        field.setFocus()
        field.selectAll()
        self.bot.keyClicks(field, text)
        self.bot.keyClick(field, Qt.Key.Key_Tab)
        self.wait()

    @property
    def rows(self):
        shown = self.see("project_views", QTreeWidget)
        return [shown.topLevelItem(number) for number in range(shown.topLevelItemCount())]

    def tick(self, row):
        shown = self.see("project_views", QTreeWidget)
        place = shown.visualItemRect(self.rows[row])
        self.bot.mouseClick(shown.viewport(), LEFT, pos=QPoint(place.left() + 10, place.center().y()))
        self.wait()

    @property
    def needs(self):
        return self.see("needs").text()

    @property
    def open_button(self):
        return self.dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open)

    def press(self, which):
        self.bot.mouseClick(self.dialog.findChild(QDialogButtonBox).button(which), LEFT)


@pytest.fixture
def projects(test_data):
    path = test_data / "projects"
    if not path.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    return path


@pytest.fixture
def ask(qtbot):
    """Puts somebody in front of the dialog of a project."""

    def show(path):
        dialog = ProjectDialog(ProjectPlanner(path))
        qtbot.addWidget(dialog)
        dialog.show()
        qtbot.waitExposed(dialog)
        return Asked(dialog, qtbot)

    return show


@pytest.fixture
def made(tmp_path):
    """A project of three angles by two illuminations in two channels at two time points; one is missing."""
    setups, transforms = {}, {}
    for number in range(12):
        parts = {"angle": number // 2 % 3, "illumination": number % 2, "channel": number // 6}
        setups[number] = Setup(parts=parts)
        for time in (0, 1):
            transforms[time, number] = [IDENTITY]
            write_n5_view(tmp_path / "d.n5", number, time, [np.full((6, 7, 8), number + 1, np.uint8)], [[1, 1, 1]])
    names = {
        "channel": {0: "GFP", 1: "H2B-RFP"},
        "angle": {0: "0", 1: "120", 2: "240"},
        "illumination": {0: "left", 1: "right"},
    }
    file = tmp_path / "dataset.xml"
    file.write_text(
        xml_of(
            N5,
            setups,
            transforms,
            timepoints=(0, 1),
            names=names,
            missing=[(0, 1)],
            boxes={"head": ((0, 0, 0), (3, 3, 3))},
        )
    )
    return file


def opened_dialog(bot):
    """The dialog that is open, once it knows what it asks about."""
    bot.waitUntil(lambda: any(isinstance(w, ProjectDialog) and w.isVisible() for w in QApplication.topLevelWidgets()))
    dialog = next(w for w in QApplication.topLevelWidgets() if isinstance(w, ProjectDialog) and w.isVisible())
    return Asked(dialog, bot)


def test_what_offers_a_choice_is_asked_and_what_it_takes_is_said(ask, made):
    asked = ask(made)
    for name in ("timepoint", "channel", "covers", "voxels", "apart"):
        assert asked.see(name, DropList) is not None
    for name in ("level", "registration", "unit", "size_z"):
        assert asked.see(name, DropList) is None
    assert [asked.see("channel", DropList).itemText(n) for n in (0, 1)] == ["0 (GFP)", "1 (H2B-RFP)"]
    assert [row.text(0) for row in asked.rows] == ["0", "120", "240", "0 illumination right"]
    assert asked.rows[-1].text(4) == "not recorded"
    assert asked.see("views_count").text() == "3 of 3 ticked, 1 not recorded here"
    assert "6 × 7 × 8 voxels (z, y, x) of 1 × 1 × 1 µm" in asked.needs
    assert "Average: up to" in asked.needs
    assert asked.open_button.isEnabled()


def test_answers_become_what_is_opened(ask, made):
    asked = ask(made)
    asked.choose("timepoint", "1")
    asked.choose("channel", "1")
    asked.choose("covers", "head")
    asked.choose("apart", "Keep")
    assert len(asked.rows) == 6
    asked.tick(5)
    asked.choose("voxels", "Enter")
    # It begins with the size that there was.
    assert asked.see("size_x", object).number() == 1
    asked.enter("size_z", "2")
    assert "2 × 4 × 4 voxels (z, y, x) of 2 × 1 × 1 µm" in asked.needs
    asked.press(QDialogButtonBox.StandardButton.Open)
    assert asked.dialog.result() == 1
    inputs = asked.dialog.given()
    assert (inputs.timepoint, inputs.channel, inputs.box, inputs.apart) == (1, 1, "head", True)
    assert inputs.voxel_size_um == (2, 1, 1)
    views = inputs.open()
    assert views.names == tuple(row.text(0) for row in asked.rows)[:5]
    assert views.read(views.grid.box).max(axis=(1, 2, 3)).tolist() == [7, 8, 9, 10, 11]


def test_ticks_stay_when_something_else_is_chosen(ask, made):
    asked = ask(made)
    asked.tick(1)
    assert asked.see("views_count").text().startswith("2 of 3")
    asked.choose("timepoint", "1")
    assert [row.checkState(0) == Qt.CheckState.Checked for row in asked.rows] == [True, False, True]
    asked.bot.mouseClick(asked.dialog.findChild(object, "no_views"), LEFT)
    asked.wait()
    assert not asked.open_button.isEnabled()
    assert asked.needs == "Tick the views to open."
    asked.bot.mouseClick(asked.dialog.findChild(object, "all_views"), LEFT)
    asked.wait()
    assert asked.open_button.isEnabled()


def test_a_view_whose_file_is_gone_is_grey_with_the_reason(ask, made):
    shutil.rmtree(made.parent / "d.n5/setup4/timepoint0")
    asked = ask(made)
    row = next(row for row in asked.rows if row.text(0) == "240")
    assert row.flags() == Qt.ItemFlag.NoItemFlags
    assert row.text(4) == "cannot be opened"
    assert "setup4/timepoint0 does not exist" in asked.see("views_reason").text()
    assert asked.open_button.isEnabled()


def test_a_unit_that_is_not_clear_is_asked_before_anything_opens(ask, tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    file = tmp_path / "dataset.xml"
    file.write_text(xml_of(N5, {0: Setup(voxel=(0.5, 0.5, 0.5), unit="mm")}, {(0, 0): [scaled(5, 5, 5)]}))
    asked = ask(file)
    assert not asked.open_button.isEnabled()
    asked.bot.keyClick(asked.dialog, Qt.Key.Key_Return)
    assert asked.dialog.isVisible()
    assert asked.see("unit_asked").text() == "How long is one unit of this project's world?"
    asked.choose("unit", "0.5 mm, the smallest")
    assert asked.open_button.isEnabled()
    assert "2500 × 2500 × 2500 µm" in asked.needs
    asked.choose("unit", "Another")
    assert not asked.open_button.isEnabled()
    asked.enter("unit_um", "100")
    assert asked.open_button.isEnabled()
    assert asked.dialog.given().world_unit_um == 100


def test_files_elsewhere_are_read_only_with_leave(ask, made, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-pixels"
    shutil.move(made.parent / "d.n5", outside)
    made.write_text(made.read_text().replace("d.n5", f"../{outside.name}"))
    asked = ask(made)
    assert not asked.open_button.isEnabled()
    assert str(outside) in asked.see("outside_place").text()
    leave = asked.see("outside", QWidget)
    asked.bot.mouseClick(leave, LEFT, pos=QPoint(8, leave.height() // 2))
    asked.wait()
    assert asked.open_button.isEnabled()
    assert asked.dialog.given().outside


def test_nothing_is_cut_off_in_a_small_window(ask, made):
    asked = ask(made)
    assert asked.dialog.width() <= 1000
    assert asked.dialog.height() <= 640
    for box in asked.dialog.findChildren(DropList):
        if box.isVisibleTo(asked.dialog):
            texts = [box.itemText(number) for number in range(box.count())]
            widest = max(box.fontMetrics().horizontalAdvance(text) for text in texts)
            assert widest < box.width() - 25, texts
    shown = asked.see("project_views", QTreeWidget)
    for column in range(shown.columnCount()):
        if not shown.isColumnHidden(column):
            assert shown.sizeHintForColumn(column) <= shown.columnWidth(column)
            assert shown.header().sectionSizeHint(column) <= shown.columnWidth(column)
    assert not shown.horizontalScrollBar().isVisible()
    for label in asked.dialog.findChildren(QLabel):
        if label.isVisibleTo(asked.dialog) and not label.wordWrap():
            assert label.sizeHint().width() <= label.width() + 1, label.text()


def test_long_names_of_illuminations_leave_views_their_own(ask, made):
    text = made.read_text()
    for side in ("left", "right"):
        text = text.replace(f"<name>{side}</name>", f"<name>{side} arm of the light sheet, with the wide beam</name>")
    made.write_text(text)
    asked = ask(made)
    shown = asked.see("project_views", QTreeWidget)
    assert not shown.isColumnHidden(2)
    for width in (960, 640):
        asked.dialog.resize(width, 500)
        asked.wait()
        rest = sum(shown.columnWidth(column) for column in (4, 5))
        assert shown.columnWidth(0) >= (shown.viewport().width() - rest) // 2 - 4
        assert not shown.horizontalScrollBar().isVisible()


def test_cancel_opens_nothing(model, qtbot, made):
    person = in_front_of_the_views(model, qtbot)
    person.drop(made)
    asked = opened_dialog(qtbot)
    asked.press(QDialogButtonBox.StandardButton.Cancel)
    person.settle()
    assert not any(dialog.isVisible() for dialog in person.panel.findChildren(ProjectDialog))
    assert len(model.layers) == 0


def test_enter_opens_what_is_proposed_even_before_it_is_worked_out(model, qtbot, made):
    person = in_front_of_the_views(model, qtbot)
    person.panel.files.ask_project(made)
    qtbot.waitUntil(lambda: any(d.isVisible() for d in person.panel.findChildren(ProjectDialog)))
    dialog = next(d for d in person.panel.findChildren(ProjectDialog) if d.isVisible())
    qtbot.keyClick(dialog, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: person.messages("working") == ["Opening dataset.xml…"])
    qtbot.waitUntil(lambda: len(model.layers) == 4)
    person.settle()
    assert person.messages("working") == []
    shown = f"{made.parent.name} t0 GFP"
    assert [row.name for row in person.rows()] == [f"{shown} view {angle}" for angle in (0, 120, 240)]
    outlines = model.layers[f"{shown} outlines"]
    assert not outlines.editable
    assert model.layers.selection.active is model.layers[f"{shown} view 240"]
    # The lowest layer is the one that napari shows on a light ground.
    assert model.layers[-1] is outlines


def open_again(person, path):
    """Open what is proposed of a project, and wait until it is said what became of it."""
    person.panel.status.clear()
    person.drop(path)
    opened_dialog(person.bot).press(QDialogButtonBox.StandardButton.Open)
    person.bot.waitUntil(lambda: person.messages("done") != [], timeout=20_000)
    person.settle()
    return person.messages("done")


def test_a_project_that_is_open_is_not_opened_twice(model, qtbot, made):
    person = in_front_of_the_views(model, qtbot)
    open_again(person, made)
    layers = list(model.layers)
    shown = f"{made.parent.name} t0 GFP"
    assert open_again(person, made) == [f"{shown} is open already, with these views."]
    assert list(model.layers) == layers
    model.layers.remove(f"{shown} view 120")
    assert "2 of 3 views were open already." in open_again(person, made)[0]
    views = sorted(layer.name for layer in model.layers if can_be_view(layer))
    assert views == [f"{shown} view {angle}" for angle in (0, 120, 240)]
    assert sum(layer.name.startswith(f"{shown} outlines") for layer in model.layers) == 1


def test_a_project_that_is_damaged_is_said_in_the_panel(model, qtbot, made):
    person = in_front_of_the_views(model, qtbot)
    made.write_text(made.read_text()[:200])
    person.drop(made)
    (message,) = person.messages("error")
    assert "dataset.xml" in message


@pytest.mark.window
def test_a_window_that_nobody_sees_asks_nothing(make_napari_viewer_proxy, made):
    viewer = make_napari_viewer_proxy(show=False)
    viewer.open(made, plugin="napari-mvfusion")
    assert len(viewer.layers) == 4


@pytest.mark.window
@pytest.mark.parametrize(("size", "project"), list(zip([(1280, 720), (1920, 1080)] * 2, PROJECTS, strict=True)))
def test_every_project_opens_in_a_window_where_it_is_known_to_be(
    make_napari_viewer_proxy, qtbot, projects, size, project
):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(*size)
    viewer.open(projects / PROJECTS[project], plugin="napari-mvfusion")
    asked = opened_dialog(qtbot)
    assert asked.dialog.height() <= size[1]
    asked_for = asked.dialog.given()
    qtbot.keyClick(asked.dialog, Qt.Key.Key_Return)
    expected = json.loads((projects / "expected.json").read_text())
    known = [each for each in expected if each["project"] == project and each["timepoint"] == 0]
    qtbot.waitUntil(lambda: len(viewer.layers) == len(known) + 1)
    layers = [layer for layer in viewer.layers if can_be_view(layer)]
    for layer, view in zip(layers, known, strict=True):
        values = finest(layer)
        for point in view["points"]:
            place = np.array(layer.world_to_data(point["world_zyx_um"]))
            np.testing.assert_allclose(place, place.round(), atol=1e-6)
            found = np.asarray(values[tuple(place.round().astype(int))])
            assert found == pytest.approx(point["value"], abs=1e-2)
    assert open_layers(layers).views.grid == asked_for.open().grid
