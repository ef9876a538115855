"""The broad training set: what it draws, what it never draws, and that its physics is that of its parts."""

import numpy as np
import pytest
from scipy import ndimage, signal

from napari_mvfusion.errors import InputError
from napari_mvfusion.psf import fwhm
from napari_mvfusion.simulation.attenuation_laws import ATTENUATION_LAWS, light_left, matter_of
from napari_mvfusion.simulation.families import HELD_OUT, TRAINED, trained_with
from napari_mvfusion.simulation.family_scenes import (
    LARGEST_SHIFT,
    Microscope,
    SceneSetup,
    family_scene,
    random_setup,
    record_specimen,
)
from napari_mvfusion.simulation.psf_families import BROAD_AXIAL, PSF_FAMILIES, Flaws, draw_told_psfs, random_flaws
from napari_mvfusion.simulation.scenes import BACKGROUND
from napari_mvfusion.simulation.specimen_families import SPECIMEN_FAMILIES
from napari_mvfusion.training.config import SceneSettings, TrainConfig
from napari_mvfusion.training.scene_pool import ScenePool
from small_training import CPU, SCENES

CLEAR = Microscope((0.0, 90.0), axial=(5.0, 5.0), lateral=(2.5, 2.5), snr=300.0)


def recorded(seed, specimen="nuclei_cluster", size=40, **changes):
    """A scene with a microscope that sees nearly without noise, and with what is changed of it."""
    microscope = Microscope(**(vars(CLEAR) | changes))
    return record_specimen(SceneSetup(specimen, False, microscope), size, np.random.default_rng(seed))


def pixels_of(scene):
    return scene.views.read(scene.views.grid.box)


@pytest.fixture(scope="module")
def setups():
    """What three hundred scenes would be made of; nothing is drawn yet."""
    return [random_setup(np.random.default_rng([5, index])) for index in range(300)]


def test_training_never_draws_a_held_out_family(setups):
    drawn = {
        "specimens": {setup.specimen for setup in setups},
        "psfs": {setup.microscope.psfs for setup in setups},
        "attenuation": {setup.microscope.law for setup in setups},
    }
    for part, known in (("specimens", SPECIMEN_FAMILIES), ("psfs", PSF_FAMILIES), ("attenuation", ATTENUATION_LAWS)):
        trained, held_out = set(getattr(TRAINED, part)), set(getattr(HELD_OUT, part))
        assert drawn[part] == trained
        assert not trained & held_out
        assert held_out <= set(known)
        # Nor under another name.
        assert not {known[name] for name in trained - {BACKGROUND}} & {known[name] for name in held_out}
    assert len(HELD_OUT.specimens) >= 2
    assert len(HELD_OUT.psfs) >= 2


@pytest.mark.parametrize("kind", HELD_OUT.specimens)
def test_a_configuration_cannot_ask_for_held_out_specimens(kind):
    with pytest.raises(InputError, match=f"'{kind}' are held out"):
        trained_with({kind: 1})
    with pytest.raises(ValueError, match="held out"):
        SceneSettings.model_validate({"families": "broad", "kinds": {"dense": 1, kind: 0.5}})


def test_the_set_covers_what_it_promises(setups):
    microscopes = [setup.microscope for setup in setups]
    assert {len(m.angles) for m in microscopes} == set(range(2, 9))
    assert {m.spacing for m in microscopes} == {1, 2, 3, 4}
    assert max(m.registration for m in microscopes) <= LARGEST_SHIFT
    for name in ("attenuation", "scattered", "registration", "haze", "read_noise", "offset"):
        share = np.mean([getattr(m, name) != 0 for m in microscopes])
        assert 0.15 < share < 0.85, name
    flaws = [flaw for m in microscopes for flaw in m.flaws]
    assert 0.05 < max(abs(np.log(flaw.width)) for flaw in flaws) <= 0.1
    assert 0.8 < max(np.linalg.norm(flaw.off_centre) for flaw in flaws) <= 1
    assert 0.1 < np.mean([flaw == Flaws() for flaw in flaws]) < 0.6


def test_a_scene_depends_on_its_numbers_alone():
    first, again, other = (family_scene(3, i, size=32, views=(2, 3)) for i in (5, 5, 6))
    np.testing.assert_array_equal(pixels_of(first), pixels_of(again))
    np.testing.assert_array_equal(first.truth, again.truth)
    assert not np.array_equal(first.truth, other.truth)


def test_scenes_of_all_families_can_be_trained_on():
    for index, families in enumerate((TRAINED, TRAINED, HELD_OUT)):
        scene = family_scene(8, index, families, size=24, views=(2, 4))
        assert scene.truth.shape == (24, 24, 24)
        for values in (scene.truth, pixels_of(scene)):
            assert np.isfinite(values).all()
            assert values.min() >= 0
        for view in scene.views.views:
            assert all(n % 2 for n in view.psf.shape)
            assert view.psf.sum(dtype=float) == pytest.approx(1, abs=1e-5)


# PSFs


@pytest.mark.parametrize("family", PSF_FAMILIES)
def test_psfs_of_a_family_are_kernels_as_long_as_asked(family):
    lengths = []
    for seed, axial in enumerate((4.0, 8.0)):
        rng = np.random.default_rng(seed)
        along, across = draw_told_psfs(family, (0, 90), (Flaws(),) * 2, rng, axial=(axial,) * 2, lateral=(2.0, 2.0))
        for psf in (along, across):
            assert psf.true is psf.told
            assert psf.true.min() >= 0
            assert np.unravel_index(psf.true.argmax(), psf.true.shape) == tuple(n // 2 for n in psf.true.shape)
        lengths.append(fwhm(along.true)[0])
        assert BROAD_AXIAL[0] - 1 < lengths[-1] < 2.2 * axial
    assert lengths[1] > 1.3 * lengths[0]


def test_no_held_out_family_has_the_shape_of_a_trained_one():
    drawn = {}
    for family in PSF_FAMILIES:
        rng = np.random.default_rng(2)
        (psf,) = draw_told_psfs(family, (0,), (Flaws(),), rng, axial=(8.0, 8.0), lateral=(3.0, 3.0))
        drawn[family] = np.pad(psf.true, [(26 - n // 2,) * 2 for n in psf.true.shape])
    for held_out in HELD_OUT.psfs:
        for trained in TRAINED.psfs:
            # Share of the light that lies elsewhere.
            assert np.abs(drawn[held_out] - drawn[trained]).sum() / 2 > 0.15, (held_out, trained)


def test_told_psfs_have_the_flaws_they_are_given():
    def told(**changes):
        (psf,) = draw_told_psfs(
            "sheet", (0,), (Flaws(**changes),), np.random.default_rng(0), axial=(8.0, 8.0), lateral=(3.0, 3.0)
        )
        return psf

    def centre(values):
        return np.array(ndimage.center_of_mass(values)) - np.array(values.shape) // 2

    right = told(energy=0.99)
    wide = told(width=1.1)
    assert np.array(fwhm(wide.told)) == pytest.approx(1.1 * np.array(fwhm(wide.true)), rel=0.03)
    moved = told(off_centre=(0.5, -0.8, 0.3))
    np.testing.assert_allclose(centre(moved.told) - centre(right.true), (0.5, -0.8, 0.3), atol=0.15)
    hazy = told(background=0.01)
    assert hazy.told.min() > 0.5 * 0.01 * hazy.told.max()
    noisy = told(noise=0.02, energy=0.99).told
    assert noisy.shape == right.told.shape
    assert np.std(noisy / noisy.max() - right.told / right.told.max()) > 0.005
    assert told(energy=0.85).told.size < right.true.size
    assert 0.2 < np.mean([random_flaws(np.random.default_rng(seed)) == Flaws() for seed in range(200)]) < 0.5


# Light


@pytest.mark.parametrize("angle", [0.0, 90.0, 30.0])
def test_light_falls_along_its_ways_as_beer_and_lambert_say(angle):
    grid = np.indices((48, 48, 16)) - np.array([23.5, 23.5, 7.5])[:, None, None, None]
    matter = np.exp(-0.5 * (grid**2).sum(axis=0) / 8**2).astype(np.float32)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    far, near = np.array([-s, c, 0]), np.array([-c, -s, 0])

    def met(voxel, towards):
        path = np.array(voxel)[:, None] + towards[:, None] * np.arange(0, 60, 0.25)
        return ndimage.map_coordinates(matter, path, order=1).sum() * 0.25

    lit = light_left(matter, angle, ("lit",), 0.05)
    seen = light_left(matter, angle, ("seen",), 0.05)
    both = light_left(matter, angle, ("lit", "seen"), 0.05)
    sides = light_left(matter, angle, ("lit from both sides",), 0.05)
    # Between cells of the coarse grid the product is interpolated, not its factors.
    np.testing.assert_allclose(both, lit * seen, rtol=0.01)
    for voxel in ((24, 24, 8), (18, 28, 8), (30, 20, 6)):
        assert lit[voxel] == pytest.approx(np.exp(-0.05 * met(voxel, far)), rel=0.04)
        assert seen[voxel] == pytest.approx(np.exp(-0.05 * met(voxel, near)), rel=0.04)
        expected = (np.exp(-0.05 * met(voxel, far)) + np.exp(-0.05 * met(voxel, -far))) / 2
        assert sides[voxel] == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("law", ATTENUATION_LAWS)
def test_every_law_absorbs_as_much_in_all(law):
    specimen = SPECIMEN_FAMILIES["nuclei_cluster"]((40, 44, 48), np.random.default_rng(1), isolated=True)
    matter = matter_of(law, specimen, np.random.default_rng(2))
    assert matter.shape == specimen.shape
    assert matter.min() >= 0
    assert matter.sum(dtype=float) == pytest.approx(specimen.sum(dtype=float), rel=1e-4)


# Recording


def test_a_clear_view_is_the_truth_under_its_psf():
    scene = recorded(3)
    for view, pixels in zip(scene.views.views, pixels_of(scene), strict=True):
        blurred = signal.fftconvolve(scene.truth.astype(float), view.psf, mode="same")
        assert np.corrcoef(blurred.ravel(), pixels.ravel())[0, 1] > 0.999
        assert pixels.mean() == pytest.approx(scene.truth.mean(), rel=0.02)


def test_registration_is_wrong_by_as_much_as_asked_and_the_mean_stays():
    still, moved = (recorded(3, registration=wrong) for wrong in (0.0, 0.6))
    shifts = []
    for a, b in zip(pixels_of(still), pixels_of(moved), strict=True):
        shifts.append([ndimage.center_of_mass(b)[axis] - ndimage.center_of_mass(a)[axis] for axis in range(3)])
    lengths = np.linalg.norm(shifts, axis=1)
    assert lengths.max() == pytest.approx(0.6, abs=0.06)
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.06)
    np.testing.assert_array_equal(still.truth, moved.truth)


def test_scattered_light_is_blurred_more_the_deeper_it_comes_from():
    plain, hazy = (recorded(3, angles=(0.0,), scattered=share, scatter_sigma=4.0) for share in (0.0, 0.7))
    rough = []
    for scene in (plain, hazy):
        image = pixels_of(scene)[0]
        gradient = np.abs(np.diff(image, axis=2)).sum(axis=(1, 2))
        rough.append(gradient / np.maximum(image.sum(axis=(1, 2)), 1e-6))
    bright = np.flatnonzero(pixels_of(plain)[0].sum(axis=(1, 2)) > 0.2 * pixels_of(plain)[0].sum(axis=(1, 2)).max())
    near, far = bright[: len(bright) // 3], bright[-(len(bright) // 3) :]
    kept = rough[1] / np.maximum(rough[0], 1e-6)
    assert kept[far].mean() < kept[near].mean()
    assert pixels_of(hazy)[0].sum() == pytest.approx(pixels_of(plain)[0].sum(), rel=0.05)


def test_a_full_camera_and_a_wrong_offset_show():
    plain, full, lifted = recorded(3), recorded(3, full=0.5), recorded(3, offset=0.05)
    assert pixels_of(full).max() <= 0.51 * pixels_of(plain).max()
    corner = (slice(None), *[slice(0, 3)] * 3)
    assert pixels_of(lifted)[corner].mean() > pixels_of(plain)[corner].mean() + 0.02 * pixels_of(plain).max()


def test_views_of_one_angle_keep_their_own_names():
    assert recorded(3, angles=(0.0, 0.0)).views.names == ("0", "0-2")


@pytest.mark.parametrize(
    ("specimen", "changes", "message"),
    [
        ("cells", {}, "no specimen 'cells'"),
        ("dense", {"law": "fog"}, "no attenuation 'fog'"),
        ("dense", {"angles": ()}, "at least one"),
        ("dense", {"flaws": (Flaws(),)}, "1 flaws of PSFs for 2 angles"),
        ("dense", {"snr": 0.0}, "SNR above 0"),
    ],
)
def test_a_microscope_that_cannot_be_is_refused(specimen, changes, message):
    with pytest.raises(InputError, match=message):
        recorded(0, specimen, 24, **changes)


# Training


def test_the_broad_set_is_measured_on_held_out_families_too():
    scenes = {"size": 24 + 8, "families": "broad", "least_views": 2, "most_views": 2, "workers": 0}
    config = TrainConfig.model_validate(SCENES | {"scenes": scenes})
    assert config.scenes.axial == BROAD_AXIAL
    volumes = ScenePool(config, CPU).validation()
    assert [volume.held_out for volume in volumes] == [False, True]
