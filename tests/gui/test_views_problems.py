"""What is wrong with PSFs and pixels is said, and the fixes mend it: without Qt."""

import dask.array as da
import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import drain
from napari_mvfusion.gui.views.choices import psf_choices
from napari_mvfusion.gui.views.cuts import look_of
from napari_mvfusion.gui.views.kernels import fit_into, is_same_frame, own_to_fused, turn_psf
from napari_mvfusion.gui.views.pixels import look_at
from napari_mvfusion.gui.views.problems import pixel_problems, psf_problems
from napari_mvfusion.psf import fwhm, rotate_psf
from napari_mvfusion.simulation import light_sheet_psf

PSF = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)


def mended(problem, number=0):
    return problem.fixes[number].mend().entries["psf"]


def test_a_good_psf_has_no_problems():
    assert psf_problems(PSF, (64, 64, 64)) == []


def test_all_flaws_together_are_mended_by_one_fix():
    raw = np.pad(PSF, ((0, 9), (1, 0), (0, 0))) * 99 + 0.05
    raw[0, 0, 0] = np.inf
    raw[0, 0, 1] = -5
    problems = psf_problems(raw, (33, 33, 33))
    assert [problem.kind for problem in problems[:3]] == ["error", "error", "error"]
    assert len(problems) >= 6
    psf = mended(problems[0], 1)
    assert problems[0].fixes[1].label == "Fix all"
    assert psf_problems(psf, (33, 33, 33)) == []
    assert fwhm(psf) == pytest.approx(fwhm(PSF), rel=0.02)


@pytest.mark.parametrize("psf", [np.zeros((3, 3, 3)), np.ones((3, 3)), np.zeros((0, 3, 3))])
def test_what_is_no_psf_can_only_be_replaced(psf):
    (problem,) = psf_problems(psf)
    assert problem.kind == "error"
    assert problem.fixes[0].request == "choose"


def test_each_fix_mends_its_own_problem_and_leaves_the_rest():
    problems = psf_problems(np.pad(PSF * 5, ((0, 8), (0, 0), (0, 0))))
    assert [problem.fixes[0].label for problem in problems] == ["Centre", "Normalise"] or len(problems) == 2
    one_less = psf_problems(mended(problems[-1]))
    assert [p.text[:12] for p in one_less] == [p.text[:12] for p in problems[:-1]]


def test_a_crop_to_the_volume_keeps_the_middle():
    psf = fit_into(PSF, (8, 9, 64))
    assert psf.shape == (7, 9, PSF.shape[2])
    assert psf.sum() == pytest.approx(1, abs=1e-6)
    assert np.unravel_index(psf.argmax(), psf.shape) == tuple(n // 2 for n in psf.shape)


def test_turning_in_space_is_turning_in_voxels_only_for_cubes():
    np.testing.assert_array_equal(turn_psf(PSF, 90, (0.5, 0.5, 0.5)), rotate_psf(PSF, 90))
    # Voxels four times as deep as wide: 6 voxels along z are 24 along y.
    turned = turn_psf(PSF, 90, (2.0, 0.5, 0.5))
    assert fwhm(turned)[1] == pytest.approx(4 * fwhm(PSF)[0], rel=0.05)


def test_the_own_frame_of_a_view():
    grid = Grid((4, 4, 4), (1.0, 0.5, 0.5), (3, 2, 1))
    assert is_same_frame(own_to_fused(grid.affine, grid))
    turned = np.eye(4)
    turned[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 0.5]]
    matrix = own_to_fused(turned, grid)
    np.testing.assert_allclose(matrix, [[0, 1, 0], [-2, 0, 0], [0, 0, 1]])
    assert not is_same_frame(matrix)


def test_cuts_go_through_the_peak_and_show_tails():
    psf = np.zeros((5, 7, 9), np.float32)
    psf[1, 2, 3] = 1
    psf[4, 2, 3] = 0.04
    look = look_of(psf, (2.0, 1.0, 0.5))
    yx, zx, zy = look.cuts
    assert (yx.picture[2, 3], zx.picture[1, 3], zy.picture[1, 2]) == (255, 255, 255)
    assert zx.picture[4, 3] == round(255 * 0.2)
    assert (yx.size_um, zx.size_um, zy.size_um) == ((7.0, 4.5), (10.0, 4.5), (10.0, 7.0))
    np.testing.assert_allclose(look.fwhm_um, np.multiply(look.fwhm_voxels, (2, 1, 0.5)))
    assert look_of(np.full((3, 3, 3), np.nan), (1, 1, 1)) is None


@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=3)])
@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_pixels_are_counted_as_numpy_does(rng, wrap, leading):
    data = rng.normal(size=(*leading, 9, 8, 7)).astype(np.float32)
    data[..., 4, 3, 2] = np.nan
    facts = drain(look_at(wrap(data)))
    assert facts.bad == np.isnan(data).sum()
    assert facts.first_bad == (*(0 for _ in leading), 4, 3, 2)
    assert (facts.minimum, facts.maximum) == (np.nanmin(data), np.nanmax(data))
    assert facts.whole
    problems = pixel_problems(facts, wrap(data), offset=0, mask=None)
    assert [problem.fixes[0].label for problem in problems] == ["Leave out", "Set offset"]
    change = problems[0].fixes[0].mend()
    np.testing.assert_array_equal(np.asarray(change.data), np.nan_to_num(data))
    assert np.asarray(change.entries["mask"]).shape == (9, 8, 7)
    assert not np.asarray(change.entries["mask"])[4, 3, 2]


def test_of_huge_volumes_some_planes_are_read():
    class Huge:
        shape, dtype, ndim = (4096, 2048, 2048), np.dtype(np.uint16), 3
        read = 0

        def __getitem__(self, index):
            self.read += 1
            return np.full((1, 1, 1), 7, np.uint16)

    huge = Huge()
    facts = drain(look_at(huge))
    assert huge.read == 128 + 4  # the noise is estimated from four places
    assert not facts.whole
    assert facts.empty
    (problem,) = pixel_problems(facts, huge, offset=0, mask=None)
    assert problem.text == "All voxels are 7 (of the planes that were looked at): this view adds nothing."


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


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray])
def test_hot_pixels_are_counted_and_can_be_removed(wrap, rng):
    data = rng.poisson(100, (2, 12, 20, 20)).astype(np.uint16)
    data[0, 5, 6, 7] = data[0, 0, 3, 3] = data[1, 11, 9, 9] = 60000
    facts = drain(look_at(wrap(data)))
    assert facts.hot == 3
    (problem,) = pixel_problems(facts, wrap(data), offset=0, mask=None)
    assert (problem.kind, problem.text, problem.fixes[0].label) == ("warning", "3 hot pixels.", "Remove")
    mended = problem.fixes[0].mend()
    assert (mended.entries, mended.data) == ({"remove_hot": True}, None)
    (note,) = pixel_problems(facts, wrap(data), offset=0, mask=None, remove_hot=True)
    assert note.kind == "note"
    assert note.fixes[0].mend().entries == {"remove_hot": False}
