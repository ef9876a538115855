"""What is done to a PSF before it is used: hot voxels, noise, its centre, and voxels of another size."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import load_psf, prepare_psf, read_psf
from napari_mvfusion.psf import describe_psf, fwhm
from napari_mvfusion.psf.centre import find_core
from napari_mvfusion.simulation import light_sheet_psf

SIGMA = np.array([4.0, 1.5, 1.5])


def gaussian(shape, sigma=SIGMA, middle=None):
    """A Gaussian with the sum 1; its middle in voxels from the corner, the middle voxel when None."""
    middle = [n // 2 for n in shape] if middle is None else middle
    lines = [np.exp(-0.5 * ((np.arange(n) - m) / s) ** 2) for n, m, s in zip(shape, middle, sigma, strict=True)]
    values = np.einsum("i,j,k->ijk", *lines)
    return values / values.sum()


def middle_of(values, size=None):
    """The middle of an array, cut or padded to a size."""
    size = values.shape if size is None else size
    wide = np.zeros([max(n, k) for n, k in zip(values.shape, size, strict=True)])
    wide[tuple(slice((w - n) // 2, (w + n) // 2) for w, n in zip(wide.shape, values.shape, strict=True))] = values
    return wide[tuple(slice((w - k) // 2, (w + k + 1) // 2) for w, k in zip(wide.shape, size, strict=True))]


def shift_between(one, other):
    """By how many voxels one volume lies beside another: peak of the correlation, by a parabola on each axis."""
    one = middle_of(one, other.shape)
    spectrum = np.fft.rfftn(one) * np.fft.rfftn(other).conj()
    correlation = np.fft.fftshift(np.fft.irfftn(spectrum, other.shape, axes=(0, 1, 2)))
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    found = []
    for axis, (p, n) in enumerate(zip(peak, other.shape, strict=True)):
        low, mid, high = (correlation[tuple(q + d * (a == axis) for a, q in enumerate(peak))] for d in (-1, 0, 1))
        found.append(p - n // 2 + 0.5 * (low - high) / (low - 2 * mid + high))
    return np.array(found)


def test_the_measured_psfs_of_four_views_are_only_cropped(quad_psfs):
    """Their middle voxels are their centres, and they have no noise: not a value changes."""
    for raw in quad_psfs.values():
        prepared = prepare_psf(raw).psf
        same = middle_of(raw, prepared.shape)
        assert prepared == pytest.approx(same / same.sum(), rel=1e-6, abs=1e-12)


def test_the_measured_psfs_of_two_views_move_by_less_than_before(two_view_psfs):
    """Their cores lie half a voxel off along y and x: they are moved by that, and keep their widths."""
    for raw in two_view_psfs.values():
        prepared = prepare_psf(raw)
        assert "centre moved to the middle by (0, -0." in " ".join(prepared.notes)
        assert np.abs(shift_between(prepared.psf, raw)).max() < 0.6
        assert fwhm(prepared.psf) == pytest.approx(fwhm(raw), rel=0.06)


@pytest.mark.parametrize("measured", [False, True])
def test_a_flat_top_does_not_move_a_psf(quad_psfs, measured):
    for psf in [*quad_psfs.values()][:2] if measured else [gaussian((25, 11, 11))]:
        clipped = prepare_psf(np.minimum(psf, psf.max() / 3))
        assert np.abs(shift_between(clipped.psf, prepare_psf(psf).psf)).max() < 0.25
        assert "flat top" in " ".join(clipped.notes)
        assert "flat" in describe_psf(np.minimum(psf, psf.max() / 3)).topics


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 1, 1), (12, 5, 9), (13, 6, 6), (12, 5, 5), (24, 5, 0)])
@pytest.mark.parametrize("times", [0.5, 3.0, 20.0])
def test_a_hot_voxel_changes_nothing_but_itself(place, times):
    psf = gaussian((25, 11, 11))
    hot = psf.copy()
    hot[place] += times * psf.max()
    if times < 1 and psf[place] > 0.05 * psf.max():
        pytest.skip("it does not stand out of the flank")
    if place == (12, 5, 5) and times < 3:
        pytest.skip("a tip as sharp as this could be one")
    prepared = prepare_psf(hot)
    assert prepared.psf == pytest.approx(middle_of(prepare_psf(psf).psf, prepared.psf.shape), abs=0.08 * psf.max())
    assert np.abs(shift_between(prepared.psf, psf)).max() < 0.02
    assert "1 hot voxel removed" in prepared.notes


@pytest.mark.parametrize("sigma", [0.01, 0.3, 0.5, 0.6, 0.8])
def test_a_psf_sharper_than_a_voxel_is_no_hot_voxel(sigma):
    psf = gaussian((9, 9, 9), (sigma,) * 3)
    prepared = prepare_psf(psf, energy=1.0)
    assert middle_of(prepared.psf, psf.shape) == pytest.approx(psf, abs=1e-6)
    assert not any("hot" in note or "centre" in note for note in prepared.notes)


def test_measured_psfs_have_no_hot_voxels(quad_psfs, two_view_psfs):
    for psf in [*quad_psfs.values(), *two_view_psfs.values()]:
        assert "hot" not in " ".join(prepare_psf(psf).notes)


@pytest.mark.parametrize(
    ("shape", "middle"),
    [
        ((20, 8, 8), (9.5, 3.5, 3.5)),
        ((20, 8, 9), (10, 4, 4)),
        ((20, 8, 8), (9, 4, 3.5)),
        ((25, 11, 11), (14.4, 5, 4.3)),
        ((31, 31, 31), (15, 9.5, 20.5)),
    ],
)
def test_a_centre_between_voxels_is_brought_to_the_middle(shape, middle):
    sigma = SIGMA * 0.7
    prepared = prepare_psf(gaussian(shape, sigma, middle), energy=0.9999).psf
    assert all(n % 2 for n in prepared.shape)
    assert prepared == pytest.approx(gaussian(prepared.shape, sigma), abs=0.04 * float(prepared.max()))
    offsets = np.subtract(ndimage.center_of_mass(prepared), [n // 2 for n in prepared.shape])
    assert np.abs(offsets).max() < 0.05


def test_the_middle_voxel_of_an_odd_psf_is_taken_at_its_word_within_a_quarter_of_a_voxel():
    """Views are registered to what the maker of a PSF called its middle; asymmetry moves a centroid that far."""
    psf = gaussian((25, 11, 11), middle=(12.3, 5.2, 4.85))
    same = prepare_psf(psf, energy=1.0)
    assert middle_of(same.psf, psf.shape) == pytest.approx(psf, abs=1e-7)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0])
def test_an_asymmetric_psf_whose_peak_is_in_the_middle_stays_where_it_is(angle):
    """The views lie where the simulation put them: as of a microscope, at the peak of the PSF."""
    psf = light_sheet_psf(angle)
    assert np.abs(np.subtract(find_core(psf).centre, [n // 2 for n in psf.shape])).max() > 0.4
    same = middle_of(psf, prepare_psf(psf).psf.shape)
    assert prepare_psf(psf).psf == pytest.approx(same / same.sum(), rel=1e-6, abs=1e-12)


def test_noise_does_not_become_haze(rng):
    clean = gaussian((41, 27, 27))
    noisy = 1000 * clean / clean.max() + 100 + rng.normal(0, 3, clean.shape)
    prepared = prepare_psf(np.rint(noisy).astype(np.uint16))
    true = middle_of(clean, prepared.psf.shape)
    core = true > 0.01 * true.max()
    assert prepared.psf[~core].sum() == pytest.approx(true[~core].sum(), abs=0.015)
    # What is left is the noise of the core's own voxels.
    assert np.abs(prepared.psf - true).sum() < 0.05
    text = " ".join(prepared.notes)
    assert 99.9 < float(text.split("background ")[1].split()[0]) < 100.1
    assert 2.5 < float(text.split("noise of standard deviation ")[1].split()[0]) < 3.2
    assert {"background", "noise"} <= set(describe_psf(noisy).topics)


@pytest.mark.parametrize("sd", [0.3, 1.0, 3.0])
def test_true_haze_stays_in_the_noise(rng, sd):
    """A tenth of the light lies far from the core, in each voxel below the noise."""
    core, haze = gaussian((61, 61, 61), (4, 1.5, 1.5)), gaussian((61, 61, 61), (8, 7, 7))
    clean = 0.9 * core + 0.1 * haze
    noisy = 1000 * clean / clean.max() + 50 + rng.normal(0, sd, clean.shape)
    prepared = prepare_psf(noisy, energy=1.0).psf
    near = middle_of(core, prepared.shape) > 1e-3 * core.max()
    true = middle_of(clean, prepared.shape)[~near].sum()
    assert prepared[~near].sum() == pytest.approx(true, rel=0.25 if sd < 3 else 0.5)
    assert prepared.max() == pytest.approx(clean.max(), rel=0.05)


def test_two_peaks_of_like_height_are_refused_and_side_lobes_are_not():
    psf = np.pad(gaussian((25, 11, 11)), 12)
    for other, refused in ((0.9, True), (0.4, False)):
        double = psf + other * np.roll(psf, 9, axis=2)
        if refused:
            with pytest.raises(InputError, match=r"view '0' has separate peaks of like height at .*crop it to one"):
                prepare_psf(double, name="view '0'")
            assert "peaks" in describe_psf(double).topics
        else:
            assert np.abs(shift_between(prepare_psf(double + 0.4 * np.roll(psf, -9, axis=2)).psf, psf)).max() < 0.1


@pytest.mark.parametrize(("own", "grid"), [((0.1, 0.1, 0.1), (0.2, 0.2, 0.2)), ((0.3, 0.1, 0.1), (0.2, 0.2, 0.2))])
def test_a_psf_of_other_voxels_becomes_what_it_is_on_those_of_the_views(own, grid):
    sigma_um = np.array([0.8, 0.3, 0.3])
    psf = gaussian((49, 27, 27), sigma_um / own)
    prepared = prepare_psf(psf, voxel_size_um=own, grid_size_um=grid, energy=0.9999)
    right = gaussian(prepared.psf.shape, sigma_um / grid)
    # The light of an output voxel is that of its whole volume, which is a little wider than a sample.
    assert prepared.psf == pytest.approx(right, abs=0.06 * right.max())
    assert np.abs(shift_between(prepared.psf, right)).max() < 0.02
    assert f"resampled from voxels of {own[0]:g} x 0.1 x 0.1 to 0.2 x 0.2 x 0.2 um" in prepared.notes


def test_voxel_sizes_that_are_the_same_unknown_or_impossible():
    psf = gaussian((25, 11, 11))
    assert prepare_psf(psf, voxel_size_um=(0.2,) * 3, grid_size_um=(0.2001,) * 3, energy=1.0).notes == ()
    assert prepare_psf(psf, voxel_size_um=(0.2,) * 3, energy=1.0).notes == ()
    assert "used voxel for voxel" in " ".join(prepare_psf(psf, grid_size_um=(0.2,) * 3).notes)
    with pytest.raises(InputError, match="check the voxel sizes and their units"):
        prepare_psf(psf, voxel_size_um=(100.0,) * 3, grid_size_um=(0.1,) * 3)
    with pytest.raises(InputError, match="check its voxel size, or crop it"):
        prepare_psf(np.pad(psf, 20), voxel_size_um=(4.0,) * 3, grid_size_um=(0.1,) * 3, energy=1.0)


@pytest.mark.parametrize("kind", ["imagej", "ome", "none", "ours"])
def test_the_voxel_size_of_a_psf_file_is_read(tmp_path, kind):
    path, psf = tmp_path / "psf.tif", gaussian((5, 7, 7)).astype(np.float32)
    if kind == "imagej":
        metadata = {"spacing": 0.4, "unit": "um", "axes": "ZYX"}
        tifffile.imwrite(path, psf, imagej=True, resolution=(10, 10), metadata=metadata)
    elif kind == "ome":
        sizes = {"PhysicalSizeZ": 400, "PhysicalSizeY": 100, "PhysicalSizeX": 100}
        units = {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
        tifffile.imwrite(path, psf, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    elif kind == "none":
        tifffile.imwrite(path, psf)
    else:
        from napari_mvfusion.data.geometry import Grid
        from napari_mvfusion.io.tiff.writer import write_tiff

        write_tiff(path, psf, Grid((5, 7, 7)))
    stored = read_psf(path)
    assert np.array_equal(stored.values, psf)
    if kind in ("none", "ours"):
        assert stored.voxel_size_um is None
    else:
        assert stored.voxel_size_um == pytest.approx((0.4, 0.1, 0.1))


def test_a_psf_of_one_plane_blurs_within_planes(tmp_path):
    plane = gaussian((1, 9, 9), (1, 1, 1))[0].astype(np.float32)
    for name, values in (("flat", plane), ("deep", plane[None])):
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
        assert np.array_equal(load_psf(tmp_path / f"{name}.tif"), plane[None])
        prepared = prepare_psf(tmp_path / f"{name}.tif").psf
        assert prepared.shape[0] == 1
        assert middle_of(prepared, (1, 9, 9)) == pytest.approx(plane[None], abs=1e-3)


@pytest.mark.parametrize("factor", [1e-300, 1e-40, 1e30, 1e300])
def test_a_psf_of_any_brightness_is_the_psf_that_it_is(tmp_path, factor):
    z, y, x = np.meshgrid(np.arange(-4, 5), np.arange(-3, 4), np.arange(-3, 4), indexing="ij")
    psf = 1000 * np.exp(-(z**2 / 4 + y**2 / 2 + x**2 / 2))
    for name, values in (("ordinary", psf), ("extreme", psf * factor)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack")
    expected, found = (prepare_psf(tmp_path / f"{name}.tif").psf for name in ("ordinary", "extreme"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
