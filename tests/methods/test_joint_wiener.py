"""The joint Wiener deconvolution: the formula, the noise that it leaves alone, and the light that was lost."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.imaging.smoothing import convolved, smoothed
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD, JointWiener
from napari_mvfusion.methods.joint_updates import level_for
from napari_mvfusion.simulation import embryo, light_sheet_psf, nuclei, simulate

ANGLES = (0.0, 90.0, 180.0, 270.0)
CPU = torch.device("cpu")


def fused(views: RegisteredViews, method: JointWiener | EBMD) -> np.ndarray:
    return np.asarray(fuse(views, method, device="cpu").data)


def error(volume: np.ndarray, truth: np.ndarray) -> float:
    return evaluate(volume, truth).all.nrmse


def recorded(size: int, folder: Path | None = None, **microscope: float) -> tuple[RegisteredViews, np.ndarray]:
    """Views of an embryo, with measured PSFs from a folder or with Gaussian ones."""
    rng = np.random.default_rng(7)
    if folder is None:
        psfs = [light_sheet_psf(angle, axial_fwhm=6, lateral_fwhm=2, shape=(15, 15, 15)) for angle in ANGLES]
    else:
        psfs = [prepare_psf(folder / f"psf_{angle:g}.tif").psf for angle in ANGLES]
    made = simulate(embryo(size, rng), ANGLES, psfs, rng=rng, **microscope)  # type: ignore[arg-type]
    return made.views, made.truth


def double_precision(
    views: RegisteredViews, level: float, iterations: int, scale: float, light: np.ndarray
) -> np.ndarray:
    """The updates with whole arrays in float64, on a volume that is mirrored by hand so that nothing wraps round.

    `light` (view, z, y, x) is the share of it that each view got.
    """
    shape = views.grid.shape
    passed = light.mean(axis=0)
    pad = [min(32, n - 1) for n in shape]
    wide = [(p, p) for p in pad]
    sizes = [n + 2 * p for n, p in zip(shape, pad, strict=True)]
    # As long as the filter's, which takes good lengths and leaves zeros in between.
    sizes = [-(-n // 4) * 4 for n in sizes]
    seen = views.read(views.grid.box).astype(np.float64) / scale

    def circle(volume: np.ndarray) -> np.ndarray:
        mirrored = np.pad(volume, wide, mode="reflect")
        return np.roll(
            np.pad(mirrored, [(0, n - m) for n, m in zip(sizes, mirrored.shape, strict=True)]),
            [-p for p in pad],
            (0, 1, 2),
        )

    def transfer(psf: np.ndarray) -> np.ndarray:
        block = np.zeros(sizes)
        block[tuple(slice(n) for n in psf.shape)] = psf / psf.sum(dtype=float)
        return np.fft.fftn(np.roll(block, [-(n // 2) for n in psf.shape], (0, 1, 2)))

    transfers = [transfer(view.psf) for view in views.views if view.psf is not None]
    power = sum(np.abs(h) ** 2 for h in transfers) / len(transfers) + level

    def crop(volume: np.ndarray) -> np.ndarray:
        return volume[tuple(slice(n) for n in shape)]

    def blurred(volume: np.ndarray) -> list[np.ndarray]:
        return [
            crop(np.fft.ifftn(np.fft.fftn(circle(volume * t)) * h).real) for h, t in zip(transfers, light, strict=True)
        ]

    def back(volumes: list[np.ndarray]) -> np.ndarray:
        total = sum(np.conj(h) * np.fft.fftn(circle(v)) for h, v in zip(transfers, volumes, strict=True))
        return crop(np.fft.ifftn(total / len(transfers) / power).real)

    gains = [float((np.abs(h) ** 2 / power**2).mean()) / len(transfers) ** 2 for h in transfers]
    lit = np.pad(np.ones(shape), [(0, n - m) for n, m in zip(sizes, shape, strict=True)])
    within = [crop(np.fft.ifftn(np.fft.fftn(lit) * h).real) for h in transfers]
    statistics = views.statistics()
    dark = 0.03
    image = before = np.maximum(back(list(seen / passed)), 0)
    for update in range(2, iterations + 1):
        ahead = (update - 2) / (update + 1)
        point = np.maximum(image + ahead * (image - before), 0)
        raw = blurred(point)
        expected = [np.maximum(r, 0) for r in raw]
        weight = np.sqrt(point * np.mean(expected, axis=0) / passed) + dark
        differences = [
            w * (x - r) / (e + dark * passed) for w, x, r, e in zip(within, seen, raw, expected, strict=True)
        ]
        step = weight * back(differences)
        noise = sum(
            w**2 * gain * n.noise / scale**2 / (n.mean / scale + dark) * (e + dark) / (e + dark * passed) ** 2
            for w, gain, n, e in zip(within, gains, statistics, expected, strict=True)
        )
        unsure = np.mean([w * (1 - w) for w in within], axis=0) / 4
        noise = (noise + unsure**2) * weight**2
        local = [ndimage.gaussian_filter(v, 1.5, mode="nearest", truncate=3) for v in (step**2, noise)]
        share = np.maximum(1 - local[1] / (local[0] + 1e-20), 0)
        before, image = image, np.maximum(point + share * step, 0)
    return np.asarray(image * scale)


@pytest.mark.parametrize("attenuation", ["none", "given"])
def test_updates_are_those_of_the_formula_in_double_precision(attenuation: Literal["none", "given"]) -> None:
    rng = np.random.default_rng(3)
    truth = ndimage.gaussian_filter(rng.random((18, 24, 20)), 1.2).astype(np.float32)
    truth = np.clip(truth - 0.45, 0, None)
    psfs = [light_sheet_psf(angle, axial_fwhm=5, lateral_fwhm=2, shape=(11, 11, 11)) for angle in ANGLES]
    views = simulate(truth, ANGLES, psfs, attenuation=0.0, snr=12.0, rng=rng).views
    light = np.ones((len(ANGLES), *truth.shape), np.float32)
    if attenuation == "given":
        light = rng.uniform(0.3, 1.0, light.shape).astype(np.float32)
        light = np.stack([ndimage.gaussian_filter(one, 3) for one in light])
        given = [replace(view, transmission=one) for view, one in zip(views.views, light, strict=True)]
        views = RegisteredViews(given, views.grid)
    drain(views.scan())
    statistics = views.statistics()
    squares = sum(n.mean_square * n.covered_voxels for n in statistics)
    scale = squares / sum(n.mean * n.covered_voxels for n in statistics)
    level = level_for(statistics, [n.noise for n in statistics])
    # Shares of the light count relative to their mean, by which the result is brighter.
    share = light.mean(dtype=np.float64)
    expected = double_precision(views, level, 5, scale, light / share) / share
    found = fused(views, JointWiener(iterations=5, attenuation=attenuation))
    assert np.abs(found - expected).max() < 2e-4 * np.ptp(expected)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0)])
@pytest.mark.parametrize("shape", [(8, 10, 12), (9, 16, 11)])
def test_noise_gains_are_the_energy_of_the_back_projectors(shape: Triple, weights: tuple[float, float]) -> None:
    psfs = [light_sheet_psf(angle, axial_fwhm=4, lateral_fwhm=2, shape=(7, 7, 7)) for angle in (0.0, 90.0)]
    bank = WienerBank([psf / psf.sum() for psf in psfs], weights, (0.02,), 0, CPU)
    for v, gain in enumerate(bank.noise_gains(shape, (0, 0, 0))):
        point = torch.zeros((2, *shape))
        point[v, 0, 0, 0] = 1
        # With no margin the block is its own circle where its sizes are good lengths; else only most of the energy is.
        spread = float(bank.at_base_level(point, (0, 0, 0)).square().sum())
        assert gain == pytest.approx(spread, rel=1e-4 if all(n % 4 == 0 for n in shape) else 0.5)


def test_what_comes_from_within_is_a_blur_in_the_dark() -> None:
    psf = light_sheet_psf(0.0, axial_fwhm=6, lateral_fwhm=2, shape=(15, 9, 9))
    psf = np.roll(psf, 1, axis=2) / psf.sum()
    found = WienerBank([psf], [1.0], (0.02,), 0, CPU).from_within(torch.ones((12, 10, 14)), (6, 6, 6))
    expected = ndimage.convolve(np.ones((12, 10, 14)), psf, mode="constant")
    assert np.abs(found[0].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(("snr", "attenuation"), [(4.0, 0.0), (20.0, 0.0), (20.0, 0.02)])
def test_updates_end_by_themselves_where_more_would_gain_nothing(snr: float, attenuation: float) -> None:
    views, truth = recorded(40, snr=snr, attenuation=attenuation)
    run = fuse(views, JointWiener(), device="cpu")
    found = re.fullmatch(
        r"ended after (\d+) iterations: what is left to be found is noise", run.recipe["run"]["outcome"]
    )
    assert found
    number = int(found[1])
    np.testing.assert_array_equal(np.asarray(run.data), fused(views, JointWiener(iterations=number)))
    errors = [error(fused(views, JointWiener(iterations=n)), truth) for n in (2, 4, 8, 16, 24)]
    assert error(np.asarray(run.data), truth) < 1.02 * min(errors)


def test_a_number_that_is_given_is_taken_and_not_spoken_of() -> None:
    views, _ = recorded(32, snr=4.0)
    run = fuse(views, JointWiener(iterations=20), device="cpu")
    assert "outcome" not in run.recipe["run"]
    assert not np.array_equal(np.asarray(run.data), fused(views, JointWiener(iterations=19)))


def test_where_it_ends_does_not_depend_on_tiles() -> None:
    views, _ = recorded(32, snr=10.0)
    whole, tiled = (fuse(views, JointWiener(), device="cpu", tile=tile) for tile in (None, (16, 16, 32)))
    np.testing.assert_array_equal(np.asarray(whole.data), np.asarray(tiled.data))
    assert whole.recipe["run"]["outcome"] == tiled.recipe["run"]["outcome"]


@pytest.mark.long
def test_what_is_cut_off_by_the_border_does_no_harm(test_data: Path) -> None:
    # Two opposed views and little noise: what the border does not tell would be made up for inside.
    rng = np.random.default_rng(4)
    psfs = [prepare_psf(test_data / "psf" / "two_view" / f"psf_{angle:g}.tif").psf for angle in (0.0, 180.0)]
    made = simulate(nuclei(48, rng), (0.0, 180.0), psfs, snr=31.6, attenuation=0.0, rng=rng)
    assert error(fused(made.views, JointWiener()), made.truth) < 0.97 * error(fused(made.views, EBMD()), made.truth)


@pytest.mark.parametrize("snr", [4.0, 20.0])
def test_further_updates_do_no_harm(snr: float) -> None:
    views, truth = recorded(40, snr=snr, attenuation=0.0)
    errors = [error(fused(views, JointWiener(iterations=n)), truth) for n in (1, 4, 8, 20)]
    assert errors[2] < errors[0]
    assert errors[2] < 1.02 * min(errors)
    assert errors[3] < 1.03 * min(errors)


@pytest.mark.parametrize("specimen", ["cells", "shell"])
def test_short_psfs_in_bright_light_do_not_make_updates_grow(specimen: str) -> None:
    """Momentum that was never given up broke smooth bodies to pieces: peaks four times too bright after 24 updates."""
    rng = np.random.default_rng(1)
    z, y, x = np.indices((40, 40, 40)) - 19.5
    if specimen == "shell":
        radius = np.sqrt(z**2 + y**2 + x**2)
        truth = ((radius > 9) & (radius < 14)).astype(np.float64) + 0.02
    else:
        truth = np.full((40, 40, 40), 0.02)
        for place, size in zip(rng.uniform(-13, 13, (30, 3)), rng.uniform(2, 3.5, 30), strict=True):
            inside = (z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2 < size**2
            truth[inside] = 1
    truth = ndimage.gaussian_filter(truth, 0.6).astype(np.float32)
    psfs = [light_sheet_psf(angle, axial_fwhm=5, lateral_fwhm=3.5, shape=(15, 15, 15)) for angle in ANGLES]
    views = simulate(truth, ANGLES, psfs, snr=70.0, attenuation=0.0, rng=rng).views
    errors = [error(fused(views, JointWiener(iterations=n)), truth) for n in (8, 24, 60)]
    assert max(errors[1:]) < 1.1 * errors[0]
    assert error(fused(views, JointWiener()), truth) < 1.1 * errors[0]


def test_lost_light_is_given_back_where_it_was_lost() -> None:
    dim, truth = recorded(48, snr=20.0, attenuation=0.02)
    with_it, without = (error(fused(dim, JointWiener(attenuation=a)), truth) for a in ("estimated", "none"))
    assert with_it < 0.9 * without
    bright, truth = recorded(48, snr=20.0, attenuation=0.0)
    with_it, without = (error(fused(bright, JointWiener(attenuation=a)), truth) for a in ("estimated", "none"))
    assert with_it < 1.01 * without


def test_views_without_angles_count_as_equally_bright() -> None:
    views, _ = recorded(32, snr=20.0)
    unknown = RegisteredViews([View(v.data, v.name, psf=v.psf) for v in views.views])
    known = fused(views, JointWiener(attenuation="none"))
    np.testing.assert_array_equal(fused(unknown, JointWiener()), known)


@pytest.mark.long
def test_it_is_sharper_than_ebmd_with_measured_psfs(test_data: Path) -> None:
    views, truth = recorded(64, test_data / "psf" / "quad_view", snr=20.0)
    ebmd = EBMD.model_validate({"iterations": 48, "lambda": 0.004, "attenuation": "none"})
    assert error(fused(views, JointWiener()), truth) < 0.9 * error(fused(views, ebmd), truth)


def test_the_level_follows_the_noise_within_bounds() -> None:
    levels = []
    for snr in (1.0, 3.0, 10.0, 30.0, 1000.0):
        views, _ = recorded(32, snr=snr, attenuation=0.0)
        drain(views.scan())
        levels.append(level_for(views.statistics(), [n.noise for n in views.statistics()]))
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == 0.06
    assert levels[-1] == 0.01
    assert 0.01 < levels[2] < 0.06


def test_a_view_without_a_psf_is_named() -> None:
    views, _ = recorded(32)
    lacking = views.with_psfs([None, *(view.psf for view in views.views[1:])])
    with pytest.raises(InputError, match="'0'"):
        fuse(lacking, JointWiener(), device="cpu")


@pytest.mark.parametrize("shape", [(20, 24, 28), (5, 30, 6)])
def test_smoothing_is_that_of_scipy(shape: Triple) -> None:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = ndimage.gaussian_filter(values.numpy().astype(np.float64), 1.5, mode="nearest", truncate=3)
    assert np.abs(smoothed([values], 1.5)[0].numpy() - expected).max() < 1e-5
    assert np.abs(convolved(values, 1.5).numpy() - expected).max() < 1e-5
