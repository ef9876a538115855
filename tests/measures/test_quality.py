"""Scores against scikit-image and plain formulas; streaming does not change them."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import ndimage
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures import quality
from napari_mvfusion.measures.quality import Metrics, evaluate
from napari_mvfusion.simulation import embryo, nuclei

SHAPE = (40, 44, 48)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """An embryo, cut so that no two axes are alike and it reaches the border."""
    return embryo(56, np.random.default_rng(0))[8:48, 6:50, 4:52]


@pytest.fixture(scope="module")
def fused(truth: np.ndarray) -> np.ndarray:
    """A blurred and noisy estimate in units of its own."""
    noise = np.random.default_rng(1).normal(0, 0.05, truth.shape)
    return (300 * (ndimage.gaussian_filter(truth, 1) + noise) + 1000).astype(np.float32)


def by_scikit_image(fused: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """The same scores from another package, in float64 and on whole volumes."""
    low, high = np.percentile(truth, (0.1, 99.9))
    t = (truth.astype(np.float64) - low) / (high - low)
    scale, offset = np.polyfit(fused.ravel().astype(np.float64), t.ravel(), 1)
    f = scale * fused.astype(np.float64) + offset
    span = float(t.max() - t.min())
    ssim, ssim_map = structural_similarity(
        t, f, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    inside = t > 0
    inner = (slice(5, -5),) * 3
    return {
        "all": {
            "nrmse": normalized_root_mse(t, f, normalization="min-max"),
            "psnr": peak_signal_noise_ratio(t, f, data_range=span),
            "ssim": ssim,
            "cc": np.corrcoef(t.ravel(), f.ravel())[0, 1],
        },
        "foreground": {
            "nrmse": np.sqrt(np.mean((t - f)[inside] ** 2)) / span,
            "psnr": peak_signal_noise_ratio(t[inside], f[inside], data_range=span),
            "ssim": ssim_map[inner][inside[inner]].mean(),
            "cc": np.corrcoef(t[inside], f[inside])[0, 1],
        },
    }


def assert_alike(one: Metrics, expected: dict[str, dict[str, float]], tolerance: float = 1e-5) -> None:
    found = one.as_dict()
    for part in ("all", "foreground"):
        assert found[part] == pytest.approx(expected[part], rel=tolerance, abs=tolerance)


def test_scores_are_those_of_scikit_image(fused: np.ndarray, truth: np.ndarray) -> None:
    found = evaluate(fused, truth)
    assert_alike(found, by_scikit_image(fused, truth))
    assert found.foreground_fraction == pytest.approx((truth > np.percentile(truth, 0.1)).mean(), abs=1e-9)


def test_scores_of_nuclei_and_of_a_truth_with_noise_too() -> None:
    truth = nuclei((40, 40, 80), np.random.default_rng(0))
    truth = truth + np.random.default_rng(1).normal(0.1, 0.02, truth.shape)
    fused = ndimage.uniform_filter(truth, 3)
    assert_alike(evaluate(fused, truth), by_scikit_image(fused, truth))


def test_units_do_not_matter(fused: np.ndarray, truth: np.ndarray) -> None:
    expected = evaluate(fused, truth).as_dict()
    other = evaluate(fused * 0.01 - 7, truth * 4000 + 100).as_dict()
    for part in ("all", "foreground"):
        assert other[part] == pytest.approx(expected[part], rel=1e-3)
    assert evaluate(-fused, truth).all.cc == pytest.approx(-evaluate(fused, truth).all.cc)


def test_slabs_and_lazy_arrays_give_the_same(
    fused: np.ndarray, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(fused, truth).as_dict()
    monkeypatch.setattr(quality, "_SLAB_VOXELS", 7 * SHAPE[1] * SHAPE[2])
    lazy = evaluate(zarr.array(fused, chunks=(8, 16, 16)), da.from_array(truth, chunks=(16, 16, 16))).as_dict()
    for part in ("all", "foreground"):
        assert lazy[part] == pytest.approx(whole[part], rel=1e-6)


def test_volumes_thinner_than_the_window_are_scored(fused: np.ndarray, truth: np.ndarray) -> None:
    thin = evaluate(fused[18:22], truth[18:22])
    assert 0 < thin.foreground.ssim < 1
    assert 0.8 < thin.all.cc < 1


def test_percentiles_from_histograms_are_close_to_the_exact_ones(
    truth: np.ndarray, fused: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = [np.percentile(v, (0.1, 99.9)) for v in (truth, fused)]
    monkeypatch.setattr(quality, "_EXACT_VOXELS", 0)
    monkeypatch.setattr(quality, "_SLAB_VOXELS", 9 * SHAPE[1] * SHAPE[2])
    for volume, expected in zip((truth, fused), exact, strict=True):
        found = quality._percentiles(volume, SHAPE, (0.1, 99.9))
        # Between two neighbouring values an exact percentile interpolates; a histogram stops at one of them.
        gap = float(np.diff(np.sort(volume, axis=None)[[-100, -50]])[0])
        assert found == pytest.approx(tuple(expected), abs=max(gap, 1e-6 * float(np.ptp(volume))))


def test_a_perfect_result_has_no_error(truth: np.ndarray) -> None:
    found = evaluate(truth, truth)
    assert found.all.nrmse < 1e-7
    assert found.all.ssim == pytest.approx(1, abs=1e-5)
    assert (found.all.cc, found.foreground.cc) == pytest.approx((1, 1))
    json.loads(json.dumps(found.as_dict(), allow_nan=False))
    perfect = quality.Scores(0.0, float("inf"), 1.0, 1.0)
    assert json.dumps(Metrics(perfect, perfect, 1.0).as_dict(), allow_nan=False).count("null") == 2


def test_a_constant_result_has_no_correlation(truth: np.ndarray) -> None:
    found = evaluate(np.full(SHAPE, 3, np.uint8), truth)
    assert found.all.cc == found.foreground.cc == 0
    t = truth / (np.percentile(truth, 99.9) - np.percentile(truth, 0.1))
    assert found.all.nrmse == pytest.approx(t.std() / np.ptp(t), rel=1e-4)


def test_cells_are_written_as_in_the_published_tables(fused: np.ndarray, truth: np.ndarray) -> None:
    found = evaluate(fused, truth)
    assert found.cells()[0] == f"{found.all.nrmse:.3f} / {found.foreground.nrmse:.3f}"
    assert found.cells()[1] == f"{found.all.psnr:.1f} / {found.foreground.psnr:.1f}"


def test_what_cannot_be_scored_is_refused(fused: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"fused volume has shape \(40, 44, 47\), but the ground truth \(40, 44, 48\)"):
        evaluate(fused[..., 1:], truth)
    with pytest.raises(InputError, match="three axes"):
        evaluate(fused[0], truth[0])
    with pytest.raises(InputError, match="ground truth is 2 in nearly every voxel"):
        evaluate(fused, np.full(SHAPE, 2.0))
    for name, broken in (("fused volume", 0), ("ground truth", 1)):
        pair = [fused.copy(), truth.copy()]
        pair[broken][3, 4, 5] = np.nan
        with pytest.raises(
            InputError, match=rf"{name} has a NaN or infinite value at \(z, y, x\) = \(3, 4, 5\): replace"
        ):
            evaluate(*pair)


def test_moments_are_those_of_whole_arrays() -> None:
    rng = np.random.default_rng(0)
    x = 1e4 + rng.random(1000)
    y = 3 * x + rng.random(1000)
    moments = PairMoments()
    for part in np.array_split(np.arange(1000), 7):
        moments.add(y[part], x[part])
    moments.add(y[:0], x[:0])
    scale, offset = moments.fit()
    slope, intercept = np.polynomial.Polynomial.fit(x, y, 1).convert().coef[::-1]
    assert (scale, offset) == pytest.approx((slope, intercept), rel=1e-6)
    assert moments.left_over(scale, offset) == pytest.approx(((y - scale * x - offset) ** 2).sum(), rel=1e-6)
    assert moments.left_over(2.9, 5) == pytest.approx(((y - 2.9 * x - 5) ** 2).sum(), rel=1e-6)
    assert moments.fit(with_offset=False)[0] == pytest.approx((x @ y) / (x @ x), rel=1e-9)
    assert moments.correlation() == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
