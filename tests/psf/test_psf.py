"""PSFs: checks in words, harmless cleaning, exact turns, and the mirror check, on the measured ones."""

import os
import random
import warnings

import numpy as np
import pytest
import tifffile
from scipy import ndimage, signal

from faults.malformed import mutated_bytes
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import load_psf, prepare_psf
from napari_mvfusion.psf import (
    check_mirror,
    check_psf,
    clean_psf,
    crop_psf,
    describe_psf,
    fwhm,
    make_odd,
    measure_psf,
    resample_psf,
    rotate_psf,
)
from napari_mvfusion.simulation import embryo
from napari_mvfusion.simulation.microscope import blur


def gaussian(shape, covariance, centre=(0.0, 0.0, 0.0)):
    """A Gaussian in float64, its centre given from the middle voxel."""
    offsets = [np.arange(n) - n // 2 - c for n, c in zip(shape, centre, strict=True)]
    grid = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1)
    inverse = np.linalg.inv(covariance)
    values = np.exp(-0.5 * np.einsum("...i,ij,...j->...", grid, inverse, grid))
    return values / values.sum()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p[0], "has 2 axes"),
        (lambda p: p[:0], "is empty"),
        (lambda p: p[1:], r"even shape \(8, 9, 9\).*crop or pad"),
        (lambda p: np.where(p == p.max(), np.nan, p), "NaN or infinite"),
        (lambda p: -p, "no positive sum"),
        (lambda p: np.zeros_like(p), "no positive sum"),
        (lambda p: np.pad(p, 4), r"larger than the volume of \(16, 16, 16\)"),
    ],
)
def test_a_psf_that_cannot_be_used_is_named_with_the_fix(spoil, words):
    psf = gaussian((9, 9, 9), np.eye(3))
    with pytest.raises(InputError, match=words) as caught:
        check_psf(spoil(psf), "view '90'", (16, 16, 16))
    assert "view '90'" in str(caught.value)


def test_a_good_psf_has_no_warnings_and_an_odd_one_has_them_in_words(quad_psfs):
    for angle, psf in quad_psfs.items():
        assert check_psf(psf, str(angle)) == []
    good = gaussian((21, 21, 21), 4 * np.eye(3))
    assert "off the middle" in check_psf(np.roll(good, 4, axis=0), "x")[0]
    assert "sum 7" in check_psf(7 * good, "x")[0]
    assert any("background" in note for note in check_psf((good + 1e-4) / (good + 1e-4).sum(), "x"))
    assert any("negative" in note for note in check_psf(good - 0.02 * good.max() * (good < 1e-9), "x"))


@pytest.mark.parametrize(("angle", "axis"), [(0, 0), (90, 1), (180, 0), (270, 1)])
def test_the_measured_psfs_are_long_along_the_axis_of_their_view(quad_psfs, angle, axis):
    widths = fwhm(quad_psfs[angle])
    assert 11 < widths[axis] < 15
    assert all(3 < w < 4.5 for a, w in enumerate(widths) if a != axis)


def test_the_width_of_a_gaussian_is_what_the_formula_says():
    psf = gaussian((41, 31, 31), np.diag([25.0, 4.0, 2.25]), centre=(3, 0, -2))
    expected = 2 * np.sqrt(2 * np.log(2)) * np.array([5, 2, 1.5])
    assert fwhm(psf) == pytest.approx(expected, rel=0.02)


def test_cleaning_the_measured_psfs_does_no_harm(quad_psfs, rng):
    """What the default crop leaves out changes a blurred embryo by less than its noise would at any useful SNR."""
    specimen = embryo(96, rng)
    for psf in quad_psfs.values():
        cleaned = prepare_psf(psf).psf
        assert cleaned.size < psf.size / 8
        assert all(n % 2 for n in cleaned.shape)
        assert cleaned.sum() == pytest.approx(1, abs=1e-5)
        whole, small = blur(specimen, psf), blur(specimen, cleaned)
        assert np.abs(whole - small).max() < 0.005 * whole.max()


def test_cleaning_twice_changes_nothing(quad_psfs, two_view_psfs):
    for psf in [*quad_psfs.values(), *two_view_psfs.values()]:
        once = clean_psf(psf, energy=1.0)
        assert clean_psf(once, energy=1.0) == pytest.approx(once, abs=1e-8)


def test_raw_measured_psfs_are_made_usable_and_what_was_done_is_said(two_view_psfs):
    for psf in two_view_psfs.values():
        prepared = prepare_psf(psf)
        assert prepared.psf.sum() == pytest.approx(1, abs=1e-5)
        assert prepared.psf.min() >= 0
        assert np.unravel_index(prepared.psf.argmax(), prepared.psf.shape) == tuple(n // 2 for n in prepared.psf.shape)
        text = " ".join(prepared.notes)
        for words in ("negative values", "centre moved to the middle", "cropped", "sum brought from"):
            assert words in text


@pytest.mark.long
def test_a_theoretical_psf_of_128_voxels_becomes_a_small_kernel():
    psf = gaussian((128, 128, 128), np.diag([30.0, 3.0, 3.0]), centre=(-1, -1, -1)).astype(np.float32)
    prepared = prepare_psf(psf)
    assert all(n % 2 for n in prepared.psf.shape)
    assert prepared.psf.shape[0] < 50
    assert max(prepared.psf.shape[1:]) < 20


def test_the_crop_keeps_the_energy_it_promises(quad_psfs):
    for energy in (0.9, 0.99, 0.999):
        kept = crop_psf(quad_psfs[0], energy)
        assert energy <= kept.sum() / quad_psfs[0].sum() <= 1
        assert kept.max() == quad_psfs[0].max()
        assert kept[tuple(n // 2 for n in kept.shape)] == kept.max()


def test_a_background_is_removed():
    good = gaussian((31, 31, 31), 4 * np.eye(3))
    cleaned = clean_psf(good + 0.002 * good.max(), energy=1.0)
    assert np.abs(cleaned - good).max() < 0.01 * good.max()


def test_even_sides_lose_the_plane_that_is_further_from_the_peak():
    psf = gaussian((8, 9, 9), np.eye(3))
    odd = make_odd(psf)
    assert odd.shape == (7, 9, 9)
    assert odd[3, 4, 4] == psf.max()


@pytest.mark.parametrize("angle", [30.0, 45.0, 110.0])
def test_a_turned_gaussian_is_the_gaussian_with_the_turned_covariance(angle):
    """Oracle: the formula of the Gaussian in float64."""
    covariance = np.diag([25.0, 4.0, 4.0])
    psf = gaussian((45, 21, 21), covariance)
    turned = rotate_psf(psf, angle)
    a = np.deg2rad(angle)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    expected = gaussian(turned.shape, rotation @ covariance @ rotation.T)
    assert np.abs(turned - expected).max() < 0.01 * expected.max()


def test_right_angles_are_exact_and_agree_with_numpy(quad_psfs):
    psf = quad_psfs[0]
    assert np.abs(rotate_psf(psf, 0) - psf / psf.sum(dtype=np.float64)).max() < 1e-8
    # About x, z goes to y: numpy turns the first of the two axes towards the second.
    expected = np.rot90(psf, 1, axes=(0, 1))
    assert np.abs(rotate_psf(psf, 90) - expected).max() < 1e-8
    four = psf
    for _ in range(4):
        four = rotate_psf(four, 90)
    assert np.abs(four - psf).max() < 1e-8


def test_a_turned_measured_psf_keeps_its_peak_and_its_width(quad_psfs):
    turned = rotate_psf(quad_psfs[0], 40)
    assert np.unravel_index(turned.argmax(), turned.shape) == tuple(n // 2 for n in turned.shape)
    back = rotate_psf(turned, -40)
    assert fwhm(back)[0] == pytest.approx(fwhm(quad_psfs[0])[0], rel=0.05)


def test_a_psf_on_a_coarser_grid_is_averaged_over_its_voxels():
    fine = gaussian((41, 41, 41), 16 * np.eye(3))
    coarse = resample_psf(fine, np.eye(3) / 4)
    assert fwhm(coarse)[0] == pytest.approx(fwhm(fine)[0] / 4, rel=0.15)
    # A grid-sized spike must not be lost or doubled between the samples.
    spike = np.zeros((41, 41, 41))
    spike[20, 20, 20] = 1
    assert resample_psf(spike, np.eye(3) / 3).max() > 0.3


def test_anisotropic_voxels(rng):
    psf = gaussian((31, 31, 31), np.diag([16.0, 4.0, 4.0]))
    stretched = resample_psf(psf, np.diag([0.5, 1.0, 1.0]))
    assert fwhm(stretched) == pytest.approx(np.array(fwhm(psf)) * [0.5, 1, 1], rel=0.1)


def test_impossible_matrices_and_even_psfs_are_refused():
    psf = gaussian((9, 9, 9), np.eye(3))
    with pytest.raises(InputError, match="invertible"):
        resample_psf(psf, np.zeros((3, 3)))
    with pytest.raises(InputError, match="make its sides odd"):
        resample_psf(psf[1:], np.eye(3))


def two_views(psfs, rng, size=80):
    specimen = embryo(size, rng) + 0.02
    photons = [400 * signal.fftconvolve(specimen, psf, mode="same") for psf in psfs]
    return np.stack([rng.poisson(np.maximum(image, 0)) for image in photons]).astype(np.float32)


@pytest.mark.parametrize("upside_down", [(), (0,), (0, 1)])
def test_a_measured_psf_that_was_saved_upside_down_is_found(two_view_psfs, rng, upside_down):
    psfs = [prepare_psf(psf).psf for psf in two_view_psfs.values()]
    views = two_views(psfs, rng)
    given = [psf[::-1, ::-1, ::-1] if i in upside_down else psf for i, psf in enumerate(psfs)]
    verdicts = check_mirror(views, given, ["0", "180"])
    for i, verdict in enumerate(verdicts):
        wrong = "right" if i in upside_down else "mirrored"
        assert verdict.verdict != wrong, verdict
    if len(upside_down) == 1:
        assert verdicts[0].verdict == "mirrored"
        assert "flipped on all axes" in verdicts[0].message


def test_the_quad_view_psfs_explain_their_views_as_they_are(quad_psfs, rng):
    psfs = [prepare_psf(psf).psf for psf in quad_psfs.values()]
    verdicts = check_mirror(two_views(psfs, rng), psfs, [str(a) for a in quad_psfs])
    assert "mirrored" not in {verdict.verdict for verdict in verdicts}
    assert {verdict.verdict for verdict in verdicts} & {"right"}


def test_a_symmetric_psf_is_undecided(rng):
    psfs = [gaussian((15, 7, 7), np.diag([9.0, 2.0, 2.0])), gaussian((7, 15, 7), np.diag([2.0, 9.0, 2.0]))]
    for verdict in check_mirror(two_views(psfs, rng, 64), psfs, ["a", "b"]):
        assert verdict.verdict == "undecided"
        assert verdict.asymmetry < 1e-6


def test_loading(tmp_path, quad_psfs):
    tifffile.imwrite(tmp_path / "p.tif", quad_psfs[0])
    assert (load_psf(tmp_path / "p.tif") == quad_psfs[0]).all()
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "empty.tif").touch()
    for name, words in (
        ("none", "does not exist"),
        ("text", "is no TIFF file"),
        ("empty", "0 bytes"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_psf(tmp_path / f"{name}.tif")
        assert f"{name}.tif" in str(caught.value)


def test_the_description_measures_what_it_says(two_view_psfs):
    info = describe_psf(two_view_psfs[0])
    assert info.total == pytest.approx(289, abs=1)
    assert info.centre_offset == pytest.approx(
        np.array(ndimage.center_of_mass(np.maximum(two_view_psfs[0], 0))) - np.array(info.shape) // 2, abs=1e-3
    )
    assert info.minimum < 0


def test_an_error_of_the_progress_ends_the_check_between_two_updates(rng):
    psfs = [gaussian((15, 7, 7), np.diag([9.0, 2.0, 2.0])), gaussian((7, 15, 7), np.diag([2.0, 9.0, 2.0]))]
    shares = []

    def enough(share):
        shares.append(share)
        if len(shares) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        check_mirror(two_views(psfs, rng, 64), psfs, ["a", "b"], progress=enough)
    assert shares == [0, 0, 0]


def test_a_psf_of_a_size_that_none_has_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "psf.tif"
    tifffile.imwrite(
        path, np.zeros((3, 16, 16), np.uint16), compression="zlib", rowsperstrip=16, photometric="minisblack"
    )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                page.tags[name].overwrite(9000)
    for read in (load_psf, prepare_psf):
        with pytest.raises(InputError, match=r"psf\.tif has 3 x 9000 x 9000 voxels, and a PSF may have 8\.4 million"):
            read(path)


def test_a_bead_volume_beyond_memory_is_refused_before_it_is_read():
    pixels = np.broadcast_to(np.float32(0), (999, 999, 999))
    with pytest.raises(InputError, match=r"999 x 999 x 999 voxels.*cut out a part with isolated beads"):
        measure_psf(pixels)


def test_a_pipe_is_no_psf(tmp_path):
    os.mkfifo(tmp_path / "psf.tif")
    with pytest.raises(InputError, match="is a pipe, socket or device"):
        load_psf(tmp_path / "psf.tif")


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"ome": True, "metadata": {"axes": "ZYX"}}])
def test_damaged_psfs_are_read_or_refused(tmp_path, quad_psfs, how):
    path = tmp_path / "psf.tif"
    tifffile.imwrite(path, quad_psfs[0][20:31, 20:31, 20:31], photometric="minisblack", **how)
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(25):
            path.write_bytes(mutated_bytes(content, random.Random(seed), within=(None, 400)[seed % 2]))
            message = ""
            try:
                prepare_psf(path)
            except InputError as error:
                message = str(error)
            assert "\n" not in message
