"""Thin volumes and extreme numbers: a method gives the right result, or says in one line why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.scaled_volume import ScaledVolume, unit_for
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import CBIF, EBMD, Average, LearnedFusion
from napari_mvfusion.methods.base import Method, TileInput
from napari_mvfusion.simulation import light_sheet_psf
from small_models import SMALL, save

ANGLES = (0.0, 90.0)
SHAPES = [
    (1, 1, 9),
    (1, 9, 9),
    (2, 9, 9),
    (3, 9, 9),
    (9, 2, 9),
    (9, 9, 3),
    (9, 1, 2),
    (2, 2, 2),
    (3, 1, 40),
    (5, 30, 31),
]
RANGES = [1e-30, 1e-15, 1e-9, 1e15, 1e20, 1e30, float(2**47)]
METHODS = ["average", "cbif", "entropy", "ebmd", "generator"]


@pytest.fixture
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Method]:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    return {
        "average": Average(),
        "cbif": CBIF(),
        "entropy": CBIF(weights="entropy"),
        "ebmd": EBMD(iterations=2),
        "generator": LearnedFusion(model=save(folder, "small", SMALL)),
    }


def views_of(shape: tuple[int, int, int], factor: float = 1.0, dtype: type = np.float32) -> RegisteredViews:
    rng = np.random.default_rng(3)
    views = []
    for angle in ANGLES:
        psf = light_sheet_psf(angle, axial_fwhm=2, lateral_fwhm=1.5, shape=(3, 3, 3))
        for axis, n in enumerate(shape):
            psf = psf if n >= 3 else psf.take([1], axis)
        pixels = (rng.poisson(40, shape) + 10).astype(np.float64) * factor
        views.append(View(pixels.astype(dtype), f"{angle:g}", psf=psf / psf.sum(), angle=angle))
    return RegisteredViews(views)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_fuses_thin_volumes(name: str, shape: tuple[int, int, int], methods: dict[str, Method]) -> None:
    views = views_of(shape)
    fused = np.asarray(fuse(views, methods[name]).data)
    assert fused.shape == shape
    assert np.isfinite(fused).all()
    # Light is neither lost nor made, and thin volumes hold no structure that could move far from the views.
    assert fused.mean() == pytest.approx(views.read(views.grid.box).mean(), rel=0.2)


@pytest.mark.parametrize("factor", RANGES)
@pytest.mark.parametrize("name", METHODS)
def test_the_result_scales_with_the_views_however_large_they_are(
    name: str, factor: float, methods: dict[str, Method]
) -> None:
    ordinary = np.asarray(fuse(views_of((6, 12, 12)), methods[name]).data)
    fused = np.asarray(fuse(views_of((6, 12, 12), factor), methods[name]).data)
    np.testing.assert_allclose(fused.astype(np.float64) / factor, ordinary, rtol=2e-3, atol=2e-3 * ordinary.max())


@pytest.mark.parametrize("name", METHODS)
def test_whole_numbers_up_to_their_maximum_give_finite_results(name: str, methods: dict[str, Method]) -> None:
    views = views_of((6, 12, 12))
    changed = []
    for view in views.views:
        pixels = np.asarray(view.data).astype(np.int64) * 2**56
        pixels[0, :4] = np.iinfo(np.int64).max
        changed.append(View(pixels, view.name, psf=view.psf, angle=view.angle))
    fused = np.asarray(fuse(RegisteredViews(changed), methods[name]).data)
    assert np.isfinite(fused).all()
    assert 1e18 < fused.mean() < 1e19


def test_previews_scale_too(methods: dict[str, Method]) -> None:
    box = Box((0, 2, 2), (6, 10, 10))
    ordinary, large = (
        [*Previewer(views_of((6, 12, 12), factor), torch.device("cpu")).run(CBIF(), box)][-1].values
        for factor in (1.0, 1e20)
    )
    np.testing.assert_allclose(large.astype(np.float64) / 1e20, ordinary, rtol=1e-3)


def test_units_are_powers_of_two_and_leave_ordinary_views_alone() -> None:
    assert unit_for([65535.0, 4.0e9, 1e-6]) == 1
    assert unit_for([0.0]) == 1
    unit = unit_for([1e20, 3.0])
    assert np.log2(unit) % 1 == 0
    assert 0.5 <= 1e20 / unit < 1
    pixels = np.full((2, 2, 2), 1e20, np.float32)
    np.testing.assert_array_equal(ScaledVolume(pixels, unit)[0:1] * unit, pixels[0:1])


class Broken(Average):
    """A method whose last tile is no number."""

    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: object) -> torch.Tensor:
        values = super().fuse_tile(tile, views, precomputed)
        if tile.tile.stop[0] > 64:
            values[-1, 2, 3] = torch.nan
        return values


@pytest.mark.parametrize("ending", [".zarr", ".tif", None])
def test_a_result_that_is_no_number_is_never_written(ending: str | None, tmp_path: Path) -> None:
    views = views_of((70, 8, 8))
    out = None if ending is None else tmp_path / f"fused{ending}"
    with pytest.raises(InputError, match=r"not a finite number at \(z, y, x\) = \(69, 2, 3\)"):
        fuse(views, Broken(), out=out, tile=(64, 8, 8))
    assert out is None or not out.exists()


def test_an_estimate_that_is_no_number_ends_the_run(methods: dict[str, Method]) -> None:
    views = views_of((6, 12, 12))
    assert drain(views.scan())
    pixels = np.asarray(views.views[0].data).copy()
    pixels[3, 6, 6] = 3e38
    broken = RegisteredViews([View(pixels, "0", psf=views.views[0].psf, angle=0.0), views.views[1]])
    with (
        pytest.warns(UserWarning, match="1 hot pixel"),
        pytest.raises(InputError, match="not a finite number"),
    ):
        fuse(broken, EBMD(iterations=2, lambda_=0))
