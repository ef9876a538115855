"""Profiles, differences, residuals, metrics and files of the Compare panel, in a real window of napari."""

import csv
import re
from dataclasses import replace
from xml.etree import ElementTree

import compare_window
import numpy as np
import pytest
from compare_window import save_as
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QCheckBox, QScrollArea, QWidget

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.panels.compare.curves_plot import CurvesPlot, PlottedCurve
from napari_mvfusion.gui.panels.compare.profile_tab import ProfileTab
from napari_mvfusion.measures.brightness import fit_brightness
from napari_mvfusion.measures.metrics import METRICS, PARTS
from napari_mvfusion.measures.profiles import line_profile
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.measures.residuals import reprojection, residual_map
from napari_mvfusion.methods import Average

empty, person = compare_window.empty, compare_window.person

# The name of the volume stands before the metrics.
RESIDUAL_COLUMN, PSNR_COLUMN, SSIM_COLUMN = (
    1 + [metric.name for metric in METRICS].index(name) for name in ("residual", "psnr", "ssim")
)


def curves(person):
    """What is plotted, by name."""
    return {curve.name: curve for curve in person.panel.findChild(ProfileTab).curves}


def draw(person, line):
    """Draw a line, in voxels."""
    person.turn_to("Profile")
    person.press("draw")
    assert person.viewer.layers.selection.active.mode == "add_line"
    person.viewer.layers["Profile"].add([np.array(line, float)], shape_type="line")
    person.bot.waitUntil(lambda: bool(curves(person)))


def test_a_line_is_drawn_once_and_read_through_all_ticked_layers(person, small_views):
    person.turn_to("Profile")
    assert person.words("profile_hint").startswith("Draw a line")
    for layer in person.viewer.layers:
        layer.scale = (0.5, 0.5, 0.5)
    draw(person, [[16, 3, 20], [16, 27, 100]])
    found = curves(person)
    assert list(found) == [name for name, _, ticked in person.rows() if ticked]
    curve = found["nuclei ground truth"]
    expected = line_profile(small_views.truth, (16, 3, 20), (16, 27, 100), curve.values.size)
    np.testing.assert_allclose(curve.values, expected, atol=1e-5)
    assert curve.distance[-1] == pytest.approx(0.5 * np.hypot(24, 80), rel=1e-6)
    colours = re.findall(r"color:(#\w+)", person.words("legend"))
    assert len(set(colours)) == 5, "each has a colour of its own"
    person.tick("nuclei view 0")
    person.bot.waitUntil(lambda: "nuclei view 0" not in curves(person))
    person.viewer.dims.set_current_step(0, 9)
    expected = line_profile(small_views.truth, (9, 3, 20), (9, 27, 100), curve.values.size)
    person.bot.waitUntil(lambda: np.allclose(curves(person)["nuclei ground truth"].values, expected, atol=1e-5))
    person.viewer.layers["Profile"].data = [(np.array([[9.0, 5, 5], [9, 5, 15]]), "line")]
    person.bot.waitUntil(lambda: curves(person)["nuclei cbif"].distance[-1] == pytest.approx(5))
    del person.viewer.layers["Profile"]
    person.bot.waitUntil(lambda: not curves(person))


def test_the_whole_plot_is_in_sight_in_a_small_window(person):
    person.viewer.window.resize(1280, 720)
    draw(person, [[16, 3, 20], [16, 27, 100]])
    person.bot.wait(200)
    plot = person.see("plot", QWidget)
    area = next(area for area in person.panel.findChildren(QScrollArea) if area.isAncestorOf(plot))
    assert plot.height() >= 150
    assert area.verticalScrollBar().maximum() == 0


@pytest.mark.parametrize(("samples", "smooth"), [(200, True), (5000, False)])
def test_only_curves_of_few_points_have_smooth_edges(qtbot, samples, smooth):
    """In the picture: with smooth edges there are shades between the colours of lines and background."""
    plot = CurvesPlot("distance")
    qtbot.addWidget(plot)
    plot.resize(400, 300)
    plot.show()
    distance = np.linspace(0, 1, samples)
    plot.show_curves([PlottedCurve("a", "#ff0000", distance, distance**2)], "intensity")
    qtbot.wait(100)
    picture = plot.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    bits = picture.constBits().asstring(picture.sizeInBytes())
    red = np.frombuffer(bits, np.uint8).reshape(picture.height(), -1)[:, : 3 * picture.width()].reshape(-1, 3)
    # Above the legend, whose letters and dash are smooth.
    red = red[: 200 * picture.width()].astype(int)
    reddish = red[(red[:, 0] > red[:, 1] + 20) & (red[:, 1] == red[:, 2])]
    assert len(reddish) > 100
    # The lines of the grid over the curve make some of any.
    assert (len(np.unique(reddish, axis=0)) > 20) == smooth


def test_the_plot_is_saved_and_can_be_opened(person, tmp_path):
    draw(person, [[16, 3, 20], [16, 27, 100]])
    person.choose("values_as", "each from 0 to 1")
    save_as(tmp_path / "plot.svg")
    person.press("save_plot")
    assert ElementTree.parse(tmp_path / "plot.svg").getroot().tag.endswith("svg")
    save_as(tmp_path / "plot.png")
    person.press("save_plot")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 800
    assert "plot.png" in person.messages("done")[-1]


def test_the_difference_is_that_of_numpy(person):
    person.turn_to("Difference")
    person.press("subtract")
    person.wait_until_computed()
    layers = person.viewer.layers
    (added,) = (layer for layer in layers if "−" in layer.name)
    a, b = np.asarray(layers["nuclei average"].data), np.asarray(layers["nuclei cbif"].data)
    scale, offset = fit_brightness(b, a)
    np.testing.assert_allclose(np.asarray(added.data), a - (scale * b + offset), atol=1e-3)
    assert added.contrast_limits[0] == -added.contrast_limits[1]
    assert person.messages("done") == [f"Added '{added.name}': B × {scale:.4g} {offset:+.4g} is taken from A."]
    assert added.name not in [name for name, _, _ in person.rows()]


def test_the_residual_is_that_of_the_core(person, small_views):
    person.turn_to("Difference")
    person.choose("fused", "nuclei average")
    person.choose("view", "nuclei view 180")
    person.press("explain")
    person.wait_until_computed()
    added = person.viewer.layers["Residual of nuclei average in nuclei view 180"]
    fused = person.viewer.layers["nuclei average"].data
    one = small_views.views.select(["180"])
    (residual,) = reprojection(fused, one)
    expected = residual_map(fused, one, residual)
    np.testing.assert_allclose(added.data, expected, atol=1e-3)
    assert f"{residual.rms:.2f} times the expected noise" in person.messages("done")[0]
    # Most voxels are within the colours, also where they are far from the noise.
    limit = max(5, np.percentile(np.abs(expected), 99.5))
    np.testing.assert_allclose(added.contrast_limits, (-limit, limit), rtol=1e-5)


def compute(person):
    person.turn_to("Metrics")
    person.press("compute")
    person.wait_until_computed()


def test_the_table_holds_the_numbers_of_the_core_and_marks_the_best(person, small_views, tmp_path):
    compute(person)
    rows = person.table()
    names = ["nuclei view 0", "nuclei view 180", "nuclei average", "nuclei cbif"]
    data = {name: np.asarray(person.viewer.layers[name].data) for name in names}
    scores = {name: evaluate(volume, small_views.truth) for name, volume in data.items()}
    residuals = {name: reprojection(volume, small_views.views) for name, volume in data.items()}
    means = [np.mean([residual.rms for residual in residuals[name]]) for name in names]
    assert [row[0][0] for row in rows] == ["view 0", "view 180", "average", "cbif"]
    assert [row[RESIDUAL_COLUMN][0] for row in rows] == [f"{mean:.2f}" for mean in means]
    assert [row[PSNR_COLUMN][0] for row in rows] == [f"{scores[name].all.psnr:.1f}" for name in names]
    assert [row[RESIDUAL_COLUMN][1] for row in rows] == [mean == min(means) for mean in means]
    best = max(score.all.ssim for score in scores.values())
    assert [row[SSIM_COLUMN][1] for row in rows] == [scores[name].all.ssim == best for name in names]
    person.choose("part", "foreground")
    assert [row[PSNR_COLUMN][0] for row in person.table()] == [f"{scores[name].foreground.psnr:.1f}" for name in names]
    assert not person.see("compute").isEnabled()
    assert person.see("compute").toolTip() == "All is computed"

    save_as(tmp_path / "numbers")
    person.press("save_table")
    with (tmp_path / "numbers.csv").open(newline="") as file:
        written = {row["volume"]: row for row in csv.DictReader(file)}
    for name, mean in zip(names, means, strict=True):
        assert float(written[name]["residual_mean"]) == pytest.approx(mean, rel=1e-6)
        for residual in residuals[name]:
            assert float(written[name][f"residual_view_{residual.view}"]) == pytest.approx(residual.rms, rel=1e-6)
        for metric in METRICS:
            for part in PARTS if metric.needs == "truth" else ():
                expected = getattr(getattr(scores[name], part), metric.name)
                assert float(written[name][f"{metric.name}_{part}"]) == expected
        assert written[name]["ground_truth"] == "nuclei ground truth"
    assert [path.name for path in tmp_path.glob("*numbers*")] == ["numbers.csv"]


def test_without_a_ground_truth_there_are_residuals_only(person):
    person.choose("truth", "none")
    compute(person)
    assert [len(row) for row in person.table()] == [1 + sum(metric.needs != "truth" for metric in METRICS)] * len(
        person.table()
    )
    person.choose("truth", "nuclei average")
    assert [row[0][0] for row in person.table()] == ["view 0", "view 180", "cbif", "ground truth"]
    assert person.see("compute").isEnabled()


def test_what_is_known_stays_until_the_data_change(person):
    compute(person)
    layer = person.viewer.layers["nuclei cbif"]
    before = person.table()
    person.tick("nuclei cbif")
    assert len(person.table()) == 3
    person.tick("nuclei cbif")
    assert person.table() == before
    layer.data = np.roll(np.asarray(layer.data), 5, axis=2)
    assert person.table()[3][1][0] == ""
    assert person.words("metrics_hint").startswith("1 row is not computed yet")
    compute(person)
    assert person.table()[3][1][0] != before[3][1][0]


def test_the_residual_takes_lost_light_as_the_run_did_and_says_so(person, small_views):
    compute(person)
    assert person.words("metrics_hint") == (
        "Attenuation in the residual: fitted, as no recipe says what the volume was fused with."
    )
    layer = person.viewer.layers["nuclei average"]
    fused = fuse(small_views.views, Average())
    annotate(layer, recipe=fused.recipe)
    layer.data = np.asarray(fused.data)
    compute(person)
    plain = reprojection(fused.data, small_views.views, attenuation=False)
    (row,) = (row for row in person.table() if row[0][0] == "average")
    assert row[RESIDUAL_COLUMN][0] == f"{np.mean([one.rms for one in plain]):.2f}"
    told = person.words("metrics_hint").splitlines()
    assert told[0].startswith(
        "Attenuation in the residual of 'nuclei view 0', 'nuclei view 180', 'nuclei cbif': fitted"
    )
    assert told[1] == "Attenuation in the residual of 'nuclei average': none, as in its run."
    person.turn_to("Difference")
    person.choose("fused", "nuclei average")
    person.press("explain")
    person.wait_until_computed()
    assert f"{plain[0].rms:.2f} times the expected noise" in person.messages("done")[0]
    assert "Attenuation: none, as in its run." in person.messages("done")[0]


def test_a_volume_on_another_grid_is_told_in_words(person):
    person.viewer.add_image(np.ones((8, 8, 8), np.float32), name="small")
    person.tick("small")
    compute(person)
    (row,) = (row for row in person.table() if row[0][0].endswith("small"))
    assert [text for text, _ in row[1:]] == ["–"] * len(METRICS)
    assert "does not lie on the grid" in person.words("metrics_hint")
    assert "different grids" in person.words("metrics_hint")


def test_cancel_keeps_what_is_found_and_removing_a_layer_meanwhile_does_no_harm(person):
    person.turn_to("Metrics")
    person.press("compute")
    del person.viewer.layers["nuclei cbif"]
    if person.see("cancel").isVisible():
        person.press("cancel")
    person.bot.waitUntil(lambda: person.see("compute").isEnabled() or not person.see("cancel").isVisible())
    assert not person.see("cancel").isVisible()
    person.press("compute")
    person.wait_until_computed()
    assert all(text for row in person.table() for text, _ in row)


def test_the_figure_shows_the_slices_and_the_region_in_view(person, tmp_path):
    compute(person)
    save_as(tmp_path / "all.png")
    person.press("save_figure")
    # The file is there a moment before the panel says so.
    person.bot.waitUntil(lambda: "all.png" in "".join(person.messages("done")))
    person.viewer.scene.camera.zoom *= 3
    box = person.see("only_region", QCheckBox)
    person.bot.mouseClick(box, Qt.MouseButton.LeftButton)
    save_as(tmp_path / "part.svg")
    person.press("save_figure")
    person.bot.waitUntil(lambda: "part.svg" in "".join(person.messages("done")))
    with Image.open(tmp_path / "all.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    assert ElementTree.parse(tmp_path / "part.svg").getroot().tag.endswith("svg")
    assert "all.png" not in "".join(person.messages("done")), "the next message takes the place of the last one"


def test_a_series_is_compared_at_the_time_point_that_is_shown(empty, small_views):
    viewer = empty.viewer
    for view in small_views.views.views:
        notes = {"role": "view", "name": view.name, "psf": view.psf, "sample": "series"}
        data = np.stack([view.data, view.data[:, :, ::-1]])
        viewer.add_image(data, name=f"series view {view.name}", metadata={"mvfusion": notes})
    truth = np.stack([small_views.truth, small_views.truth[:, :, ::-1]])
    viewer.add_image(truth, name="series truth", metadata={"mvfusion": {"role": "truth"}})
    viewer.dims.set_current_step(0, 0)
    compute(empty)
    first = empty.table()
    viewer.dims.set_current_step(0, 1)
    empty.bot.wait(50)
    assert all(row[RESIDUAL_COLUMN][0] == "" for row in empty.table()), "another time point is another volume"
    compute(empty)
    assert [row[PSNR_COLUMN] for row in empty.table()] == [row[PSNR_COLUMN] for row in first], (
        "mirrored alike, scores stay"
    )
    views = small_views.views
    expected = reprojection(np.asarray(views.views[0].data)[:, :, ::-1], _mirrored(views))
    assert empty.table()[0][1][0] == f"{np.mean([residual.rms for residual in expected]):.2f}"


def _mirrored(views):
    return RegisteredViews([replace(view, data=np.asarray(view.data)[:, :, ::-1]) for view in views.views], views.grid)
