"""How much views count from place to place, as it is chosen in the Views & PSFs panel."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QLabel, QPushButton, QWidget
from views_person import in_front_of_the_views, known

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.trust import Fade
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.notes import ChosenTrust, annotate
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import sample

WHOLE = (slice(None),) * 3
GRID = Grid((24, 32, 32), (1.0, 0.5, 0.5), (10.0, 20.0, 30.0))


@pytest.fixture
def person(model, qtbot, plugin):
    return in_front_of_the_views(model, qtbot)


@pytest.fixture(scope="module")
def recorded():
    made = sample("nuclei", 32, angles=(0.0, 90.0)).views.views
    return RegisteredViews([replace(v, data=np.asarray(v.data)[:24, :, :32], mask=None) for v in made], GRID)


@pytest.fixture
def layers(model, person, recorded):
    shown = [model.add_image(data, **look) for data, look, _ in view_layers(recorded, sample="s")]
    person.settle()
    return shown


class Asked:
    """Somebody in front of the dialog that a row has opened."""

    def __init__(self, person, row, entry):
        self.person = person
        row.choose(f"Counts > {entry}", row.row.field_menu)
        self.dialog = next(d for d in person.panel.findChildren(QDialog) if d.isVisible())

    def enter(self, name, text):
        field = self.dialog.findChild(QWidget, name)
        field.setFocus()
        field.selectAll()
        self.person.bot.keyClicks(field, text)
        self.person.bot.keyClick(field, Qt.Key.Key_Tab)
        self.person.bot.wait(150)

    def press(self, kind):
        self.person.bot.mouseClick(self.button(kind), Qt.MouseButton.LeftButton)
        self.person.settle()

    def button(self, kind):
        if isinstance(kind, str):
            return self.dialog.findChild(QPushButton, kind)
        return self.dialog.findChild(QDialogButtonBox).button(kind)

    def reads(self):
        return " ".join(label.text() for label in self.dialog.findChildren(QLabel))


OK, CANCEL = QDialogButtonBox.StandardButton.Ok, QDialogButtonBox.StandardButton.Cancel


def names(model):
    return [layer.name for layer in model.layers]


def test_a_fade_is_seen_while_it_is_entered_and_set_by_ok(model, person, layers):
    row = person.rows()[1]
    assert row.entries(row.row.field_menu)["Counts > Everywhere"].isChecked()
    asked = Asked(person, row, "Fading with depth")
    assert "Depth 0 is where y is lowest, and the view reaches 15.5 µm deep" in asked.reads()
    asked.enter("full_um", "4")
    asked.enter("none_um", "12")
    shown = model.layers["counts s view 90"]
    expected = np.interp(np.arange(32) * 0.5, [4, 12], [1, 0])
    np.testing.assert_allclose(np.asarray(shown.data)[5, :, 7], expected, atol=1e-6)
    np.testing.assert_array_equal(shown.data_to_world((1, 2, 3)), layers[1].data_to_world((1, 2, 3)))
    assert known(layers[1]).get("trust") is None, "nothing is set before OK"
    asked.enter("none_um", "4")
    assert not asked.button(OK).isEnabled()
    assert "The two depths are the same" in asked.reads()
    asked.enter("none_um", "10")
    asked.press(OK)
    assert names(model) == [layer.name for layer in layers], "the layer goes with the dialog"
    assert known(layers[1])["trust"].fade == Fade(4, 10)
    row = person.rows()[1]
    assert "It counts to 4 µm of depth, and not at all from 10 µm on." in row.problems
    assert row.kinds() == []
    entries = row.entries(row.row.field_menu)
    assert not entries["Counts > Everywhere"].isChecked()
    assert entries["Counts > Fading with depth…"].isChecked()
    fused = np.asarray(drain(fuse_events(open_layers(layers).views, Average())).data)
    np.testing.assert_allclose(fused[:, 20:], np.asarray(layers[0].data)[:, 20:], rtol=1e-5)
    row.fix("Everywhere")
    person.settle()
    assert known(layers[1])["trust"] is None


def test_a_fade_needs_an_angle(model, person, layers):
    annotate(layers[0], angle=None)
    person.settle()
    row = person.rows()[0]
    entry = row.entries(row.row.field_menu)["Counts > Fading with depth…"]
    assert not entry.isEnabled()
    assert "Enter the angle" in entry.toolTip()
    asked = Asked(person, person.rows()[1], "Fading with depth")
    asked.press(OK)
    annotate(layers[1], angle=None)
    person.settle()
    assert any("its angle is not known: enter it" in text for text in person.rows()[1].problems)
    assert person.rows()[1].kinds() == ["error"]


def test_the_layer_of_a_dialog_can_stay_and_say_how_much_another_view_counts(model, person, layers, tmp_path):
    asked = Asked(person, person.rows()[0], "Fading with depth")
    asked.enter("full_um", "5")
    asked.enter("none_um", "15")
    asked.dialog.findChild(QCheckBox, "keep_trust").click()
    asked.press(CANCEL)
    assert known(layers[0]).get("trust") is None
    kept = model.layers["counts s view 0"]
    assert len(person.rows()) == 2, "it is no view"
    kept.save(str(tmp_path / "w.zarr"), plugin="napari-mvfusion")
    written, grid = open_volume(tmp_path / "w.zarr")
    np.testing.assert_array_equal(written[:], np.asarray(kept.data))
    assert grid == GRID
    row = person.rows()[1]
    row.choose("Counts > As 'counts s view 0' says", row.row.field_menu)
    person.settle()
    trust = open_layers(layers).views.views[1].trust[WHOLE]
    np.testing.assert_allclose(trust, np.asarray(kept.data), atol=1e-6)
    np.testing.assert_allclose(trust[:, 3, 4], np.interp(np.arange(24), [5, 15], [1, 0]), atol=1e-6)
    row = person.rows()[1]
    assert "It counts as 'counts s view 0' says." in row.problems
    row.choose("Counts > As 'counts s view 0' says", row.row.field_menu)
    person.settle()
    assert known(layers[1])["trust"] is None


def test_weights_of_a_layer_lie_from_0_to_1(model, person, layers):
    for name, values in (("large", 255), ("none", 0), ("half", 0.5)):
        model.add_image(np.full(GRID.shape, values, np.float32), name=name, metadata={"mvfusion": {"included": False}})
    model.add_image(np.ones((3, 3, 3)), name="small", metadata={"mvfusion": {"included": False}})
    person.settle()
    row = person.row("s view 0")
    entries = row.entries(row.row.field_menu)
    assert {"Counts > As 'large' says", "Counts > As 'half' says"} <= entries.keys()
    assert not {"Counts > As 'small' says", "Counts > As 's view 90' says"} & entries.keys()
    for name, said in (("large", "values from 255 to 255"), ("none", "is 0 everywhere")):
        row.choose(f"Counts > As '{name}' says", row.row.field_menu)
        person.settle()
        assert any(said in text for text in person.messages("error")), person.messages("error")
        assert known(layers[0]).get("trust") is None
    row.choose("Counts > As 'half' says", row.row.field_menu)
    person.settle()
    assert (open_layers(layers).views.views[0].trust[WHOLE] == 0.5).all()


def test_a_box_is_typed_or_taken_from_shapes(model, person, layers):
    shapes = model.add_shapes(
        [[[15, 24, 34], [15, 24, 40], [15, 30, 40], [15, 30, 34]], [[9, 0, 0], [9, 0, 9], [9, 9, 9], [9, 9, 0]]],
        ndim=3,
        name="where",
        units=layers[0].units,
    )
    shapes.selected_data = {0}
    asked = Asked(person, person.rows()[0], "In a box")
    low = [asked.dialog.findChild(QWidget, f"first_{axis}").number() for axis in "zyx"]
    assert low == [10, 20, 30], "it begins as large as the view"
    assert "its outermost 8 voxels (z 8, y 4, x 4 µm; a quarter of a thin box)" in asked.reads()
    asked.press("take_shapes")
    asked.enter("last_z", "20")
    trust = np.asarray(model.layers["counts s view 0"].data)
    z, y, x = (np.array(GRID.origin_um)[:, None] + np.arange(32) * np.array(GRID.voxel_size_um)[:, None])[:, None]
    inside = (z[0][:24, None, None] <= 20) & (abs(y[0][:, None] - 27) <= 3) & (abs(x[0] - 37) <= 3)
    np.testing.assert_array_equal(trust > 0, inside)
    asked.enter("last_z", "5")
    assert "has no extent" in asked.reads()
    asked.enter("first_z", "1")
    assert "outside of its box" in asked.reads()
    asked.enter("last_z", "20")
    asked.press(OK)
    assert known(layers[0])["trust"].box_um == ((1, 24, 34), (20, 30, 40))
    assert "It counts within z 1 to 20, y 24 to 30, x 34 to 40 µm." in person.rows()[0].problems
    Asked(person, person.rows()[0], "Fading with depth").press(OK)
    asked = Asked(person, person.rows()[0], "In a box")
    asked.press("take_away")
    chosen = known(layers[0])["trust"]
    assert (chosen.box_um, chosen.fade) == (None, Fade(11.5, 23))
    layers[0].translate = np.add(layers[0].translate, 0)
    Asked(person, person.rows()[0], "In a box").press(OK)
    layers[0].translate = np.add(layers[0].translate, 500)
    person.settle()
    assert any("It lies outside of that box." in text for text in person.rows()[0].problems)


def test_a_dialog_goes_with_its_view(model, person, layers):
    Asked(person, person.rows()[0], "Fading with depth")
    model.layers.remove(layers[0])
    person.settle()
    assert names(model) == ["s view 90"]
    assert not [d for d in person.panel.findChildren(QDialog) if d.isVisible()]


def test_what_no_view_would_see_is_said_while_it_is_entered(model, person, layers):
    annotate(layers[1], trust=ChosenTrust(box_um=((10.0, 20.0, 30.0), (33.0, 35.5, 41.9))))
    person.settle()
    asked = Asked(person, person.rows()[0], "In a box")
    unseen = asked.dialog.findChild(QLabel, "unseen")
    person.bot.wait(300)
    assert unseen.text() == "", "it is seen by this view everywhere"
    asked.enter("last_x", "35.9")
    said = "No view has data, or is trusted, in about 25.0% of the fused volume: it is 0 there."
    person.bot.waitUntil(lambda: unseen.text() == said)
    asked.enter("last_x", "29")
    assert unseen.text() == "", "what was said of another box is gone"
    asked.enter("last_x", "46")
    person.bot.wait(300)
    assert unseen.text() == ""
    asked.press(CANCEL)
