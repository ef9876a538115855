"""Noise splitting, fitted transmissions and resimulation: what is known of how views came about."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from test_training_own import Fixed

from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import drain
from napari_mvfusion.errors import InputError
from napari_mvfusion.models import build
from napari_mvfusion.training.config import LossWeights, TrainConfig, make_config
from napari_mvfusion.training.noise_splitting import NOISE_SPLIT, split_noise
from napari_mvfusion.training.objectives import Supervised
from napari_mvfusion.training.own_views import OwnViews
from napari_mvfusion.training.presets import fine_tune_values
from napari_mvfusion.training.resimulation import fit_transmissions, generate, resimulate
from napari_mvfusion.training.self_supervised import ScoreViews, SelfSupervised
from napari_mvfusion.training.training_samples import Recording, TrainingVolume, cut, run_network, upright
from small_training import CPU, OWN, PAPER, UNIVERSAL, own_views, psf

pytestmark = pytest.mark.usefixtures("one_thread")
SPLIT_CONFIG = OWN | {"weights": fine_tune_values("self", None)["weights"], "data": {"copies": 2}}


def bright(seed=0, shape=(40, 36, 32)):
    """A specimen of soft blobs on a weak ground, brightness 0.1 to 1."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return (0.1 + 0.9 * (values - values.min()) / np.ptp(values)).astype(np.float32)


def blurred(latent, kernel):
    """By another package, in float64, mirrored at the border."""
    return ndimage.convolve(latent.astype(np.float64), kernel.astype(np.float64), mode="mirror")


def recorded(latent, transmissions, photons, rng):
    """A block of views with the noise of counted photons."""
    kernels = tuple(psf(axis) for axis in (0, 1))
    expected = [blurred(latent * t, k) for t, k in zip(transmissions, kernels, strict=True)]
    views = np.stack([rng.poisson(e * photons) / photons for e in expected]).astype(np.float16)
    return TrainingVolume({"views": views}, 1.0, 1.0, Recording(("a", "b"), kernels, (Noise(1 / photons, 0.0),) * 2))


def test_errors_of_split_views_are_independent_and_as_large_as_they_should_be():
    rng = np.random.default_rng(0)
    clean = np.stack([bright(0, (64, 64, 64)), bright(1, (64, 64, 64))])
    noise = (Noise(0.01, 4e-4), Noise(0.0, 1e-3))
    pixels = [rng.poisson(clean[0] / 0.01) * 0.01 + rng.normal(0, 0.02, clean[0].shape)]
    pixels.append(clean[1] + rng.normal(0, 1e-3**0.5, clean[1].shape))
    first, second = split_noise(np.stack(pixels).astype(np.float32), clean, noise, rng)
    for v, known in enumerate(noise):
        variance = known.gain * clean[v] + known.read_variance
        errors = [(half[v] - clean[v]) / np.sqrt(variance) for half in (first, second)]
        assert np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1] == pytest.approx(0, abs=0.01)
        assert errors[0].var() == pytest.approx(1 + NOISE_SPLIT**2, rel=0.01)
        assert errors[1].var() == pytest.approx(1 + NOISE_SPLIT**-2, rel=0.01)


def test_what_views_lost_is_found_from_the_truth():
    latent = bright()
    z, y, _ = np.meshgrid(*(np.linspace(0, 1, n) for n in latent.shape), indexing="ij")
    lost = np.stack([np.exp(-1.2 * z), 0.6 + 0.4 * y]).astype(np.float32)
    volume = recorded(latent, lost, 400, np.random.default_rng(0))
    found = fit_transmissions(latent, volume, CPU)
    # The smoothing flattens the slope at the border.
    inner = (slice(None), *(slice(6, -6),) * 3)
    np.testing.assert_allclose(found[inner], lost[inner], rtol=0.06)


def test_a_view_without_data_somewhere_does_not_change_what_others_lost():
    latent = bright()
    volume = recorded(latent, np.ones((2, *latent.shape)), 400, np.random.default_rng(0))
    coverage = np.ones((2, *latent.shape), np.float16)
    coverage[1, :20] = 0
    arrays = {"views": volume.arrays["views"] * coverage, "coverage": coverage}
    found = fit_transmissions(latent, TrainingVolume(arrays, 1.0, 1.0, volume.recording), CPU)
    np.testing.assert_allclose(found[0], 1, atol=0.05)
    np.testing.assert_allclose(found[1, 26:], 1, atol=0.08)


@pytest.mark.parametrize("architecture", [UNIVERSAL, PAPER.model_dump()], ids=["universal", "paper"])
def test_a_result_is_recorded_again_as_the_views_were(architecture):
    config = make_config(SPLIT_CONFIG | {"architecture": architecture}, "test")
    views, _ = own_views()
    source = OwnViews(config, [views], CPU)
    drain(source.begin(0))
    (volume,) = source.volumes
    result = bright(3, volume.shape)
    again = resimulate(result, volume, config.architecture, np.random.default_rng(5), CPU)
    made, axes, flips = again.volume, again.axes, again.flips
    assert sorted(made.shape) == sorted(volume.shape)
    target = made.arrays["target"].astype(np.float32) * made.scale
    # The same specimen, turned: the same values.
    np.testing.assert_allclose(np.sort(target.ravel()), np.sort(result.ravel()), rtol=2e-3, atol=2e-3)
    # With the PSFs of the views, and their noise.
    lost = volume.arrays["fitted_transmission"].astype(np.float64)
    for corner in ((0, 0, 0), (4, 12, 8), (24, 16, 16)):
        part = result[tuple(slice(c, c + 16) for c in corner)]
        there = target[tuple(slice(c, c + 16) for c in again.corner(corner, (16, 16, 16)))]
        np.testing.assert_allclose(there, np.flip(part.transpose(axes), flips), rtol=2e-3, atol=2e-3)
    for v, kernel in enumerate(volume.recording.psfs):
        expected = blurred(np.flip((lost[v] * result).transpose(axes), flips), kernel)
        error = made.arrays["views"][v].astype(np.float64) * made.scale - expected
        noise = volume.recording.noise[v]
        assert (error**2).mean() == pytest.approx((noise.gain * expected + noise.read_variance).mean(), rel=0.05)


def test_the_network_reads_one_part_of_split_views_and_is_compared_with_the_other():
    views, _ = own_views(photons=100.0)
    source = OwnViews(TrainConfig.model_validate(SPLIT_CONFIG), [views], CPU)
    drain(source.begin(0))
    (volume,) = source.volumes
    whole = [volume.arrays["views"][(..., *box.slices)] for _, box in source.split.held_out]
    (tile,) = source.validation()
    assert tile.arrays["views"].tobytes() == whole[0].tobytes()
    assert tile.noise_split is not None
    first, second = (tile.noise_split.arrays[name].astype(np.float32) for name in ("views", "split_target"))
    middle = (first / NOISE_SPLIT + second * NOISE_SPLIT) / (NOISE_SPLIT + 1 / NOISE_SPLIT)
    np.testing.assert_allclose(middle, whole[0].astype(np.float32), atol=6e-3)
    samples = [source.draw(step)[0] for step in range(12)]
    for sample in samples:
        assert {"split_target", "expected", "fitted_transmission"} <= sample.tensors.keys()
        assert sample.example is not None
        assert "target" in sample.example.tensors
    again = OwnViews(TrainConfig.model_validate(SPLIT_CONFIG), [views], CPU)
    drain(again.begin(0))
    twins = [again.draw(step)[0] for step in range(12)]
    for sample, twin in zip(samples, twins, strict=True):
        assert torch.equal(sample.tensors["views"], twin.tensors["views"])
        assert torch.equal(sample.example.target, twin.example.target)


def test_what_is_found_again_shows_nothing_that_is_held_out():
    views, _ = own_views()
    source = OwnViews(TrainConfig.model_validate(SPLIT_CONFIG | {"batch": 4}), [views], CPU)
    drain(source.begin(0))
    marked = np.zeros(source.volumes[0].shape, np.float32)
    for _, box in source.split.held_out:
        marked[box.slices] = 1
    for again in source._resimulated[0]:
        again.volume.arrays["target"][:] = np.flip(marked.transpose(again.axes), again.flips)
    examples = [sample.example for step in range(20) for sample in source.draw(step)]
    assert not any(example.target.any() for example in examples)


def test_the_losses_are_the_weighted_difference_from_the_other_half_and_from_what_was_recorded_again():
    weights = LossWeights(likelihood="split", gains="start", cycle=0.5, resimulated=2.0, gradient=0.0, floor=0.03)
    views, _ = own_views()
    source = OwnViews(TrainConfig.model_validate(SPLIT_CONFIG | {"weights": weights}), [views], CPU)
    drain(source.begin(0))
    (sample,) = source.draw(3)
    network = build(TrainConfig.model_validate(SPLIT_CONFIG).architecture)
    losses = SelfSupervised(weights).losses(network, sample)
    assert set(losses) == {"cycle", "resimulated"}
    latent = upright(run_network(network, sample).detach(), sample)[0, 0].numpy().astype(np.float64)
    t = {
        n: upright(sample.tensors[n], sample)[0].numpy()
        for n in ("views", "split_target", "expected", "fitted_transmission")
    }
    parts = []
    for v, (kernel, noise) in enumerate(zip(sample.recording.psfs, sample.recording.noise, strict=True)):
        fitted = signal.fftconvolve(t["fitted_transmission"][v] * latent, kernel, "valid")
        inner = tuple(slice(n // 2, -(n // 2)) for n in kernel.shape)
        view, other, expected = (t[n][v][inner].astype(np.float64) for n in ("views", "split_target", "expected"))
        fitted *= (fitted * view).sum() / (fitted**2).sum()
        variance = 5 * (noise.gain * expected.clip(0) + noise.read_variance + 0.03**2)
        parts.append(((fitted - other) ** 2 / variance).mean())
    assert losses["cycle"].item() == pytest.approx(0.5 * np.mean(parts), rel=1e-4)
    resimulation_loss = Supervised(LossWeights(absolute=0.1, square=18.0, light=300.0)).losses(network, sample.example)
    assert losses["resimulated"].item() == pytest.approx(2 * sum(resimulation_loss.values()).item(), rel=1e-5)


def test_noise_that_is_learned_lowers_the_residual_but_not_the_structure_residual():
    """The truth explains the views up to their noise; a fit of the noise only seems better."""
    latent, rng = bright(0, (32, 32, 32)), np.random.default_rng(1)
    clean = np.stack([blurred(latent, psf(axis)) for axis in (0, 1)])
    photons, kernels = 60, tuple(psf(axis) for axis in (0, 1))
    pixels = (rng.poisson(clean * photons) / photons).astype(np.float32)
    noise = (Noise(1 / photons, 0.0),) * 2
    first, second = split_noise(pixels, clean.astype(np.float32), noise, rng)
    ones = np.ones_like(pixels, np.float16)
    recording = Recording(("a", "b"), kernels, noise)
    half = {"views": first, "split_target": second, "expected": clean, "fitted_transmission": ones}
    half = {name: values.astype(np.float16) for name, values in half.items()}
    whole = {"views": pixels.astype(np.float16), "fitted_transmission": ones}
    volume = TrainingVolume(whole, 1.0, 1.0, recording, TrainingVolume(half, 1.0, 1.0, recording))
    score = ScoreViews(LossWeights(likelihood="split", gains="start"))
    assert score.decides == "structure_residual"
    truth = score(Fixed(latent), [volume], CPU)
    assert truth["residual"] == pytest.approx(1, abs=0.03)
    assert truth["structure_residual"] == pytest.approx(0, abs=0.1)

    def fit_noise(seen):
        """Landweber iterations without end: what fits one noise best."""
        estimate = latent.astype(np.float64)
        for _ in range(60):
            for v, kernel in enumerate(kernels):
                estimate += blurred(seen[v] - blurred(estimate, kernel), kernel[::-1, ::-1, ::-1])
        return estimate.astype(np.float32)

    spoiled = score(Fixed(fit_noise(pixels)), [volume], CPU)
    assert spoiled["residual"] < 0.95 * truth["residual"]
    # The network reads the first half: what it learns of that noise is an error against the other.
    halves = score(Fixed(fit_noise(first)), [volume], CPU)
    assert halves["structure_residual"] > truth["structure_residual"] + 0.02
    darker = score(Fixed(ndimage.gaussian_filter(latent, 2)), [volume], CPU)
    assert darker["structure_residual"] > truth["structure_residual"] + 0.02


def test_a_block_passes_the_network_in_parts_as_it_does_whole(monkeypatch):
    views, _ = own_views((40, 36, 33))
    source = OwnViews(TrainConfig.model_validate(OWN), [views], CPU)
    drain(source.begin(0))
    (volume,) = source.volumes
    torch.manual_seed(0)
    network = build(TrainConfig.model_validate(OWN).architecture)
    whole = generate(network, volume, CPU)
    assert whole.shape == (40, 36, 33)
    expected = run_network(network, cut(volume, (0, 0, 0), (40, 36, 32), CPU)).detach().numpy()[0, 0]
    np.testing.assert_allclose(whole[..., :32], expected, atol=1e-6)
    monkeypatch.setattr("napari_mvfusion.training.resimulation._WHOLE_SIDE", 16)
    monkeypatch.setattr("napari_mvfusion.training.resimulation._PART_SIDE", 16)
    np.testing.assert_allclose(generate(network, volume, CPU), whole, atol=0.02)
    assert network.training


def test_brightness_cannot_be_left_free():
    with pytest.raises(InputError, match=r"leaves the brightness free: set weights\.resimulated above 0"):
        make_config(OWN | {"weights": {"gains": "start"}}, "test")
