"""The weights that come with the package: what they hold, and that they do what they are shipped for."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD, LearnedFusion
from napari_mvfusion.models import list_models, load_model
from napari_mvfusion.simulation import embryo, simulate
from napari_mvfusion.training.config import make_config

SHIPPED = [entry for entry in list_models() if entry.shipped]
ANGLES = (0.0, 90.0, 180.0, 270.0)


def test_universal_is_there() -> None:
    assert "universal" in [entry.name for entry in SHIPPED]


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_a_shipped_model_says_how_it_was_made(entry) -> None:
    network, card = load_model(entry.name)
    assert card.licence == "BSD-3-Clause"
    assert card.title
    assert card.metrics["nrmse"] > 0
    assert str(card.training["command"]).startswith("mvfusion train --config docs/training/")
    config = make_config(card.training["config"], "the card")
    assert config.architecture == card.architecture == network.architecture


def test_all_weights_together_are_small() -> None:
    assert sum(entry.path.stat().st_size for entry in SHIPPED) <= 10e6


def test_universal_beats_deconvolution_that_forgets_lost_light_on_measured_psfs_that_it_has_never_seen(
    quad_psfs,
) -> None:
    rng = np.random.default_rng(20)
    made = simulate(embryo(64, rng), ANGLES, [quad_psfs[int(angle)] for angle in ANGLES], rng=rng)
    papers = EBMD.model_validate(dict(EBMD.presets["Paper"]))
    forgetful = EBMD(iterations=24, attenuation="none")
    universal, published, accelerated = (
        evaluate(fuse(made.views, method).data, made.truth) for method in (LearnedFusion(), papers, forgetful)
    )
    for deconvolved, ratio in ((published, 0.85), (accelerated, 0.9)):
        for part in ("all", "foreground"):
            a, b = getattr(universal, part), getattr(deconvolved, part)
            assert a.nrmse < ratio * b.nrmse
            assert a.cc > b.cc
        # Over all voxels of a specimen as small as this, EBMD's darker background is ahead in SSIM.
        assert universal.foreground.ssim > deconvolved.foreground.ssim


@pytest.mark.parametrize("photons", [2, 20, 200])
def test_universal_invents_nothing_in_noise(quad_psfs, photons: int) -> None:
    """Views of even light: the result is smoother, its extremes are at most those of a view, and the light stays."""
    rng = np.random.default_rng(photons)
    shape = (52, 52, 52)
    noise = [rng.poisson(photons, shape).astype(np.float32) for _ in ANGLES]
    views = RegisteredViews(
        View(pixels, f"{angle:g}", quad_psfs[int(angle)], angle) for angle, pixels in zip(ANGLES, noise, strict=True)
    )
    fused = np.asarray(fuse(views, LearnedFusion()).data)
    assert fused.std() < noise[0].std()
    assert np.abs(fused - fused.mean()).max() < np.abs(noise[0] - photons).max()
    assert fused.mean() == pytest.approx(photons, rel=0.05)
