"""What is wrong with PSFs is said, and the fixes mend it."""

import numpy as np
import pytest
import tifffile

from napari_mvfusion.data.views import drain
from napari_mvfusion.io.formats import volumes_called
from napari_mvfusion.io.psf_files import ViewPSF, open_psf, prepare_files
from napari_mvfusion.measures.psf_problems import bring_to_frame, judge_own, judge_psf, sum_up_orientation
from napari_mvfusion.psf import resample_psf
from napari_mvfusion.psf.mirror import MirrorVerdict
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
    again = judge_psf(judged.psf, "view 'left'", (64, 64, 64), said=ViewPSF(judged.psf, judged.notes))
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


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (("right", "mirrored", "mirrored"), ("warning", "2 of 3 PSFs seem to be mirrored.")),
        (("right", "undecided"), ("done", "No PSF seems to be mirrored; for 1 of 2 it cannot be told.")),
        (("undecided", "undecided"), ("done", "The views do not tell whether PSFs are mirrored.")),
        (("right", "right"), ("done", "All PSFs have the right orientation.")),
    ],
)
def test_what_views_say_about_orientations_is_summed_up(found, said):
    assert sum_up_orientation([MirrorVerdict(str(n), each, 2.0, 0.5, 9.0) for n, each in enumerate(found)]) == said


def test_of_several_psf_files_one_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    good, zeros, broken = files = [tmp_path / name for name in ("psf_0.tif", "zero_psf.tif", "psf_90.tif")]
    tifffile.imwrite(good, PSF)
    tifffile.imwrite(zeros, np.zeros_like(PSF))
    broken.write_bytes(b"no TIFF")
    found, problems = drain(prepare_files(files, (1.0, 1.0, 1.0)))
    assert set(found) == {good, zeros}
    np.testing.assert_array_equal(found[good].psf, open_psf(good, (1.0, 1.0, 1.0), clean=True).psf)
    assert found[zeros].flaw == open_psf(zeros, (1.0, 1.0, 1.0), clean=True).flaw != ""
    assert len(problems) == 1
    assert str(broken) in problems[0]
    assert volumes_called(tmp_path, "psf_") == [good, broken]
    assert volumes_called(tmp_path, "beads") == sorted(files)


def test_a_psf_in_the_frame_of_its_view_is_mended_there_and_made_ready_before_it_is_brought_to_the_fused_one():
    spoilt = PSF.copy()
    spoilt[0, 0, 0] = np.nan
    (problem,) = judge_own(spoilt, "view 'left'")
    (fix,) = problem.fixes
    mended = fix.mend().entries
    assert mended.keys() == {"psf_own", "psf_matrix"}
    assert np.isfinite(mended["psf_own"]).all()
    matrix = np.diag([1.0, 2.0, 1.0])
    placed = bring_to_frame(PSF * 99, "view 'left'", matrix, ViewPSF(notes=("measured",)))
    ready = judge_psf(PSF * 99, "view 'left'")
    np.testing.assert_array_equal(placed.psf, resample_psf(ready.psf, matrix))
    assert placed.notes == ("measured", *ready.notes)
    assert bring_to_frame(np.zeros((5, 5, 5)), "view 'left'", matrix, ViewPSF()).psf is None
