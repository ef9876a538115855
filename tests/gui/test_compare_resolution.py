"""The Resolution tab of the Compare panel, in a real window of napari."""

import csv

import compare_window
import numpy as np
import pytest
from compare_window import save_as
from qtpy.QtWidgets import QTableWidget

from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.panels.compare.curves_plot import CurvesPlot
from napari_mvfusion.methods import CBIF, Average

empty, person = compare_window.empty, compare_window.person


@pytest.fixture
def with_recipes(person, small_views):
    """The results in the window know how they were fused."""
    for method in (Average(), CBIF()):
        recipe = fuse(small_views.views, method).recipe
        annotate(person.viewer.layers[f"nuclei {method.name}"], recipe=recipe)
    person.turn_to("Resolution")
    return person


def cells(person):
    table = person.panel.findChild(QTableWidget, "resolutions")
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]


def find(person):
    person.press("find_resolution")
    person.wait_until_computed()
    assert person.messages("error") == []


def test_the_resolution_is_that_of_the_core(with_recipes, small_views, tmp_path):
    person = with_recipes
    assert "two halves of the light" in person.words("resolution_hint")
    assert cells(person) == [["nuclei average", "", "", ""], ["nuclei cbif", "", "", ""]]
    find(person)
    expected = find_resolution(small_views.views, Average())
    short = {"no signal": "no signal", "finer than two voxels": "finer", "too few voxels": "too few"}
    shown = [one.number or short[one.outcome] for one in expected.axes]
    assert cells(person)[0] == ["nuclei average", *shown]
    assert any(one.period for one in expected.axes)
    assert person.words("resolution_hint").count("All views look along z: ") == 1
    assert not person.see("find_resolution").isEnabled()
    assert any(plot.isVisible() for plot in person.panel.findChildren(CurvesPlot))
    save_as(tmp_path / "found.csv")
    person.press("save_resolution")
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["volume"] for row in rows} == {"nuclei average", "nuclei cbif"}
    x = [float(row["correlation"]) for row in rows if row["volume"] == "nuclei average" and row["axis"] == "x"]
    np.testing.assert_allclose(x, expected.axes[2].correlation, atol=1e-6)


def test_what_is_found_stays_until_the_views_are_others(with_recipes):
    person = with_recipes
    find(person)
    found = cells(person)
    person.tick("nuclei cbif")
    assert cells(person) == found[:1]
    person.tick("nuclei cbif")
    assert cells(person) == found
    layer = person.viewer.layers["nuclei view 0"]
    layer.data = layer.data * 2
    person.bot.waitUntil(lambda: cells(person)[0][1:] == ["", "", ""])
    assert person.see("find_resolution").isEnabled()


def test_a_result_without_a_recipe_says_why_there_is_no_resolution(person):
    person.turn_to("Resolution")
    find(person)
    assert cells(person)[0] == ["nuclei average", "–", "–", "–"]
    assert "'nuclei average' has no recipe" in person.words("resolution_hint")


def test_it_can_be_cancelled_and_there_may_be_nothing(with_recipes):
    person = with_recipes
    person.press("find_resolution")
    person.bot.waitUntil(lambda: person.see("cancel").isVisible() or "" not in cells(person)[1])
    if person.see("cancel").isVisible():
        person.press("cancel")
    person.wait_until_computed()
    for name in ("nuclei average", "nuclei cbif"):
        person.tick(name)
    assert "Tick results" in person.words("resolution_hint")
    assert not person.see("find_resolution").isEnabled()
