from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.simulation import light_sheet_psf
from napari_mvfusion.training.config import make_config
from napari_mvfusion.training.objectives import Supervised
from napari_mvfusion.training.scene_pool import make_volume
from napari_mvfusion.training.training_samples import cut
from napari_mvfusion.training.unmended import Unmended, unmended

PSFS = tuple(light_sheet_psf(a, axial_fwhm=6, lateral_fwhm=2, shape=(13, 13, 9)) for a in (0.0, 70.0))
WEIGHTS = (0.5, 1.5)


def test_what_is_left_is_what_updates_leave() -> None:
    """Against the updates themselves, in float64 and by convolutions that wrap; light is even, so they are linear."""
    level, sides = 0.02, (20, 16, 24)
    error = np.random.default_rng(0).normal(size=sides)
    blurred_point = np.zeros(sides)
    blurred_point[0, 0, 0] = 1
    power = sum(
        w / len(PSFS) * np.abs(np.fft.fftn(ndimage.convolve(blurred_point, np.float64(psf), mode="wrap"))) ** 2
        for psf, w in zip(PSFS, WEIGHTS, strict=True)
    )

    def brought_back(image: np.ndarray) -> np.ndarray:
        """What an update brings back of an image that should be 0."""
        seen = [ndimage.convolve(image, np.float64(psf), mode="wrap") for psf in PSFS]
        carried = [
            w / len(PSFS) * ndimage.correlate(s, np.float64(psf), mode="wrap")
            for s, psf, w in zip(seen, PSFS, WEIGHTS, strict=True)
        ]
        return np.fft.ifftn(np.fft.fftn(sum(carried)) / (power + level)).real

    before, image = error, error - brought_back(error)
    for update in range(2, 9):
        point = image + (update - 1) / (update + 2) * (image - before)
        before, image = image, point - brought_back(point)
    share = Unmended(PSFS, WEIGHTS, level).share(sides)
    np.testing.assert_allclose(unmended(torch.from_numpy(error), share).numpy(), image, atol=2e-5)
    assert np.abs(image).max() < 0.9 * np.abs(error).max()


def test_a_psf_larger_than_the_tile_wraps_as_its_light_does() -> None:
    small = (10, 8, 12)
    point = np.zeros(small)
    point[0, 0, 0] = 1
    seen = np.abs(np.fft.fftn(ndimage.convolve(point, np.float64(PSFS[0]), mode="wrap"))) ** 2
    rest = 0.1 / (seen + 0.1)
    share = Unmended(PSFS[:1], (1.0,), 0.1).share(small).numpy()
    # After one update `rest` is left; all eight leave less where a pattern was seen, and all of it where it was not.
    assert np.abs(share[seen > 0.5]).max() < rest[seen > 0.5].max()
    np.testing.assert_allclose(share[seen < 1e-6], 1, atol=1e-3)


def test_it_turns_with_the_tile() -> None:
    config = make_config(
        {
            "mode": "supervised",
            "tile": [24, 24, 24],
            "architecture": {"kind": "universal", "view_maps": 2, "maps": 4, "deep_maps": 4},
            "scenes": {"size": 32, "families": "broad", "most_views": 3},
        },
        "test",
    )
    volume = make_volume(config.scenes, config.architecture, 1, 0, refined=True)
    straight = cut(volume, (0, 4, 0), (24, 24, 24), torch.device("cpu"))
    axes = np.array([2, 0, 1])
    turned = cut(volume, (0, 4, 0), (24, 24, 24), torch.device("cpu"), flips=[-3, -1], axes=axes)
    assert straight.unmended is not None
    assert turned.unmended is not None
    assert not torch.allclose(straight.unmended, turned.unmended, atol=1e-3)
    left = unmended(straight.target, straight.unmended).flip(-3, -1).permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(unmended(turned.target, turned.unmended), left, atol=1e-4, rtol=0)
    assert make_volume(config.scenes, config.architecture, 1, 0).unmended is None
    # It is a part of the loss where it counts.
    for weight in (0.0, 3.0):
        weights = config.weights.model_copy(update={"unmended": weight})
        parts = Supervised(weights)._parts(torch.zeros_like(straight.target), straight)
        assert ("unmended" in parts) == (weight > 0)


def test_the_level_is_that_of_the_updates() -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(32, 32, 32)), 3)
    pixels = rng.poisson((50 + 20 * smooth / smooth.std()).clip(1))
    views = RegisteredViews([View(pixels.astype(np.float32), str(n), psf) for n, psf in enumerate(PSFS)])
    for _ in views.scan():
        pass
    found = Unmended.of(views)
    assert found.weights == pytest.approx((1.0, 1.0))
    assert 0.01 <= found.level <= 0.06
