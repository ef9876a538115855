"""PSFs are turned, cropped and brought from the frame of their view to the fused one; cuts show them."""

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.psf import fwhm, rotate_psf
from napari_mvfusion.psf.cuts import look_of
from napari_mvfusion.psf.frames import fit_into, is_same_frame, own_to_fused, turn_psf
from napari_mvfusion.simulation import light_sheet_psf

PSF = light_sheet_psf(0, axial_fwhm=6, lateral_fwhm=2)


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


def test_widths_are_in_um_along_axes_whose_voxel_size_is_known():
    psf = np.ones((3, 3, 3), np.float32)
    assert [width is None for width in look_of(psf, (1.0, 2.0, 2.0), (False, True, True)).fwhm_um] == [
        True,
        False,
        False,
    ]
