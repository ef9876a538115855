"""PSFs measured from beads in the panel, against the PSFs that the beads were blurred with."""

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton
from views_person import ViewsPerson, choose_in_dialog, known

from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.panels.views.beads_form import BeadRow
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.psf import fwhm
from napari_mvfusion.simulation import bead_volume, light_sheet_psf, sample


@pytest.fixture
def person(model, qtbot):
    panel = ViewsPanel(model)
    qtbot.addWidget(panel, before_close_func=lambda widget: widget.setParent(None))
    panel.resize(390, 900)
    panel.show()
    qtbot.waitExposed(panel)
    return ViewsPerson(panel, qtbot)


@pytest.fixture(scope="module")
def recorded():
    """Two views without noise to speak of, the PSFs of their microscope, and beads."""
    psfs = [light_sheet_psf(angle, axial_fwhm=6, lateral_fwhm=3) for angle in (0, 90)]
    made = sample("nuclei", 32, angles=(0, 90))
    beads = [bead_volume(psf, (112, 112, 112), np.random.default_rng(n), separation=0.8) for n, psf in enumerate(psfs)]
    return made, psfs, beads


@pytest.fixture
def layers(model, person, recorded):
    """The views in the panel, with modelled PSFs that are not those of the beads, and the form unfolded."""
    made, _, _ = recorded
    found = [model.add_image(data, **look) for data, look, _ in view_layers(made.views, sample="nuclei")]
    person.settle()
    person.press("fold")
    return found


def forms(person):
    return [row for row in person.panel.findChildren(BeadRow) if row.isVisibleTo(person.panel)]


def test_bead_layers_are_matched_measured_and_used(model, person, recorded, layers):
    _, psfs, beads = recorded
    before = [known(layer)["psf"] for layer in layers]
    for angle, volume in zip((90, 0), beads[::-1], strict=True):
        model.add_image(volume.volume, name=f"beads {angle}")
    person.settle()
    assert [row.findChild(QComboBox, "beads").currentText() for row in forms(person)] == ["beads 0", "beads 90"]
    person.press("measure")
    assert person.see("cancel_beads").isVisibleTo(person.panel)
    person.settle()
    assert [known(layer)["psf"] for layer in layers] == before
    for row in forms(person):
        assert "beads used" in row.findChild(QLabel, "measured").text()
    assert person.see("use", QPushButton).text() == "Use these 2 PSFs"
    person.press("use")
    person.settle()
    for layer, psf in zip(layers, psfs, strict=True):
        assert fwhm(known(layer)["psf"]) == pytest.approx(fwhm(psf), rel=0.03)
        assert "beads of beads" in known(layer)["psf_source"]
        assert known(layer)["inputs"] is None
    assert person.messages("done") == ["2 views have the measured PSF now."]
    assert person.rows()[0].problems == []
    person.rows()[0].choose("Undo: measured from beads")
    assert known(layers[0])["psf"] is before[0]


def test_files_of_a_folder_points_and_a_failure_in_words(model, person, recorded, layers, tmp_path):
    _, psfs, beads = recorded
    tifffile.imwrite(tmp_path / "view_0_beads.tif", beads[0].volume)
    tifffile.imwrite(
        tmp_path / "view_90_beads.tif", np.random.default_rng(0).poisson(9, (64, 64, 64)).astype(np.uint16)
    )
    model.add_points(beads[0].positions, name="picked")
    person.settle()
    choose_in_dialog(tmp_path)
    person.press("beads_folder")
    first, second = forms(person)
    assert first.findChild(QComboBox, "beads").currentText() == "view_0_beads.tif"
    points = first.findChild(QComboBox, "points")
    points.setCurrentIndex(points.findText("picked"))
    person.press("measure")
    person.settle()
    assert first.measured.beads >= 4
    text = second.findChild(QLabel, "measured").text()
    assert text.startswith("No beads were found")
    assert person.messages("error")[0].startswith("Beads of 1 view could not be measured")
    assert person.see("use", QPushButton).text() == "Use this PSF"
    before = known(layers[1])["psf"]
    person.press("use")
    assert fwhm(known(layers[0])["psf"]) == pytest.approx(fwhm(psfs[0]), rel=0.03)
    assert known(layers[1])["psf"] is before


def test_measuring_can_be_cancelled(model, person, recorded, layers):
    _, _, beads = recorded
    for angle, volume in zip((0, 90), beads, strict=True):
        model.add_image(np.tile(volume.volume, (1, 2, 2)), name=f"beads {angle}")
    person.settle()
    person.press("measure")
    person.bot.wait(200)
    person.press("cancel_beads")
    assert person.messages("warning") == ["Measuring was cancelled. What was measured by then stays."]
    assert person.see("measure").isEnabled()
    assert not person.see("cancel_beads").isVisibleTo(person.panel)
    person.settle()
    assert all(row.measured is None for row in forms(person))


def test_beads_of_other_voxels_are_resampled(model, person, recorded, layers):
    _, psfs, beads = recorded
    for layer in layers:
        layer.scale = (0.5, 0.5, 0.5)
    model.add_image(beads[0].volume, name="beads 0", scale=(0.25, 0.25, 0.25), units="um")
    person.settle()
    person.press("measure")
    person.settle()
    assert "resampled from voxels of 0.25 × 0.25 × 0.25 µm" in forms(person)[0].measured.text
    person.press("use")
    # Voxels of twice the size widen a PSF a little.
    assert fwhm(known(layers[0])["psf"])[0] == pytest.approx(fwhm(psfs[0])[0] / 2, rel=0.1)


def test_measured_psfs_come_back_from_their_beads(model, person, quad_psfs):
    psfs = {angle: prepare_psf(psf).psf for angle, psf in quad_psfs.items()}
    made = sample("embryo", 64, psfs=[np.ones((3, 3, 3)) / 27] * 4)
    found = {}
    for data, look, _ in view_layers(made.views, sample="embryo"):
        layer = model.add_image(data, **look)
        found[int(known(layer)["angle"])] = layer
    for angle, psf in psfs.items():
        beads = bead_volume(psf, (150, 150, 150), np.random.default_rng(angle), 20, separation=0.8)
        model.add_image(beads.volume, name=f"beads {angle}")
    person.settle()
    person.press("fold")
    person.press("measure")
    person.settle()
    person.press("use")
    person.settle()
    for angle, psf in psfs.items():
        assert fwhm(known(found[angle])["psf"]) == pytest.approx(fwhm(psf), rel=0.03)
