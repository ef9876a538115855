"""The menus of a view: what can be chosen, and why something cannot."""

import numpy as np

from napari_mvfusion.gui.panels.views.menus import psf_choices
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation import light_sheet_psf

PSF = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)


def test_the_menu_offers_what_is_possible_and_says_why_not():
    none = {c.fix.label: c for c in psf_choices({"angle": 90.0}, [], (1, 1, 1), own_frame=False)}
    assert none.keys() == {"Choose file…", "Take from another view"}
    assert not none["Take from another view"].possible
    some = {c.fix.label: c for c in psf_choices({"psf": PSF, "angle": None}, [], (1, 1, 1), own_frame=False, undo="x")}
    assert not some["Turn to this view's angle"].possible
    assert some["Turn to this view's angle"].fix.tip == "Enter the angle of this view first"
    assert not some["Lies in this view's own frame"].possible
    assert some["Undo: x"].possible
    others = [("front", {"psf": PSF, "angle": 0.0}), ("back", {"psf": None, "angle": 180.0})]
    turned = [c for c in psf_choices({"angle": 270.0}, others, (1, 1, 1), own_frame=True) if c.group.startswith("Turn")]
    assert [c.fix.label for c in turned] == ["front, by -90°"]
    change = turned[0].fix.mend()
    np.testing.assert_array_equal(change.entries["psf"], rotate_psf(PSF, -90))
    assert change.entries["psf_source"] == "PSF of front, turned by -90°"
