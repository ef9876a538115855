"""What is wrong with PSFs and pixels is said, and the fixes mend it: without Qt."""

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import drain
from napari_mvfusion.gui.layers.notes import PSFSaid
from napari_mvfusion.gui.panels.views.choices import psf_choices
from napari_mvfusion.gui.panels.views.judging import judge_psf
from napari_mvfusion.gui.panels.views.problems import pixel_problems
from napari_mvfusion.io.psf_files import open_psf
from napari_mvfusion.measures.pixel_facts import look_at
from napari_mvfusion.psf import fwhm, rotate_psf
from napari_mvfusion.psf.cuts import look_of
from napari_mvfusion.psf.frames import fit_into, is_same_frame, own_to_fused, turn_psf
from napari_mvfusion.psf.usable import check_usable
from napari_mvfusion.simulation import light_sheet_psf
from napari_mvfusion.system.words import sentence

PSF = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)


def spoilt_ones(rng):
    """What the command line mends, one flaw each, and a word of what it says about it."""
    hot, flat = PSF.copy(), np.minimum(PSF, PSF.max() / 3)
    hot[0, 0, 0] = 10 * PSF.max()
    return [
        (np.pad(PSF, ((1, 0), (0, 1), (1, 0))), "cropped"),
        (PSF * 99, "sum brought from 99"),
        (hot, "1 hot voxel removed"),
        (np.pad(PSF, ((20, 0), (0, 0), (0, 0))), "centre moved"),
        (np.pad(PSF, 6) * 1000 + 100 + rng.normal(0, 1, np.add(PSF.shape, 12)), "background"),
        (np.pad(PSF, 6) * 1000 + rng.normal(0, 0.2, np.add(PSF.shape, 12)), "noise"),
        (flat, "flat top"),
    ]


def test_a_good_psf_stays_as_it_is():
    judged = judge_psf(PSF, "view 'left'", (64, 64, 64))
    assert judged.psf is PSF
    assert (judged.notes, judged.problems) == ((), ())


@pytest.mark.parametrize("which", range(7))
def test_what_the_command_line_mends_is_mended_alike_and_said(which, rng, tmp_path):
    raw, words = spoilt_ones(rng)[which]
    raw = raw.astype(np.float32)
    tifffile.imwrite(tmp_path / "psf.tif", raw)
    opened = open_psf(tmp_path / "psf.tif", None, clean=True)
    judged = judge_psf(raw, "view 'left'", (64, 64, 64))
    np.testing.assert_array_equal(judged.psf, opened.psf)
    assert judged.notes == opened.notes
    assert any(words in note for note in judged.notes)
    assert not [problem for problem in judged.problems if problem.kind != "note"]
    again = judge_psf(judged.psf, "view 'left'", (64, 64, 64), said=PSFSaid(judged.psf, judged.notes))
    assert again.psf is judged.psf


def test_what_the_command_line_refuses_is_refused_in_its_words(tmp_path):
    two_peaks = np.zeros((9, 9, 25), np.float32)
    two_peaks[4, 4, 6] = two_peaks[4, 4, 18] = 1
    for raw in (np.zeros((5, 5, 5)), np.full((5, 5, 5), np.nan), two_peaks):
        tifffile.imwrite(tmp_path / "psf.tif", raw.astype(np.float32))
        refused = open_psf(tmp_path / "psf.tif", None, clean=True).flaw
        (problem,) = judge_psf(raw.astype(np.float32), str(tmp_path / "psf.tif"), (64, 64, 64)).problems
        assert problem.kind == "error"
        assert problem.text == sentence(f"{refused}.")
        assert problem.fixes[0].request == "choose"
    for raw in (np.ones((3, 3)), np.zeros((0, 3, 3))):
        (problem,) = judge_psf(raw, "view 'left'").problems
        assert (problem.kind, problem.fixes[0].request) == ("error", "choose")


def test_voxels_that_are_no_numbers_and_a_size_beyond_the_volume_are_mended_when_asked():
    raw = np.pad(PSF, ((0, 9), (1, 0), (0, 0))) * 99 + 0.05
    raw[0, 0, 0] = np.inf
    (problem,) = judge_psf(raw, "view 'left'", (13, 33, 33)).problems
    assert "NaN or infinite" in problem.text
    (fix,) = problem.fixes
    assert fix.label == "Set to 0"
    mended = fix.mend().entries
    assert judge_psf(mended["psf"], "view 'left'", (13, 33, 33), said=mended["psf_said"]).problems == ()
    assert mended["psf"].shape[0] == 13
    assert mended["psf"].sum() == pytest.approx(1, abs=1e-5)
    assert any("voxels that are no numbers" in note for note in mended["psf_said"].notes)
    (problem,) = judge_psf(PSF, "view 'left'", (8, 64, 64)).problems
    with pytest.raises(ValueError, match="view 'left' spans") as refused:
        check_usable(PSF, "view 'left'", (8, 64, 64))
    assert problem.text == sentence(f"{refused.value}.")
    assert problem.fixes[0].label == "Crop"
    assert problem.fixes[0].mend().entries["psf"].shape[0] == 7


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
