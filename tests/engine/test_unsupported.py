from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion import EBMD, JointWiener, RegisteredViews, find_unsupported, fuse
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.unsupported import NOTABLE
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.methods import cells
from napari_mvfusion.simulation import Simulation, embryo, light_sheet_psf, simulate

pytestmark = pytest.mark.usefixtures("one_thread")

ANGLES = (0.0, 90.0, 180.0, 270.0)


@cache
def recorded(attenuation: float = 0.0) -> Simulation:
    rng = np.random.default_rng(4)
    psfs = [light_sheet_psf(a, axial_fwhm=6, lateral_fwhm=2.5, shape=(13, 13, 13)) for a in ANGLES]
    return simulate(embryo(40, rng), ANGLES, psfs, snr=12.0, attenuation=attenuation, rng=rng)


@cache
def fused(attenuation: float = 0.0) -> np.ndarray:
    return np.asarray(fuse(recorded(attenuation).views, EBMD(iterations=12), device="cpu").data)


def blobs(shape: tuple[int, ...], bright: float) -> np.ndarray:
    """Structure that is in no view."""
    points = np.zeros(shape)
    points[tuple(np.random.default_rng(1).integers(6, 34, (3, 8)))] = 1
    made = ndimage.gaussian_filter(points, 1.5)
    return np.asarray(made * bright / made.max(), np.float32)


@pytest.mark.parametrize("attenuation", [0.0, 0.02])
def test_invented_structure_is_found_where_it_is_and_other_structure_is_not(attenuation: float) -> None:
    views, clean = recorded(attenuation).views, fused(attenuation)
    assert find_unsupported(clean, views).share < NOTABLE
    invented = blobs(clean.shape, 0.5 * float(np.percentile(clean, 99.5)))
    found = find_unsupported(clean + invented, views)
    assert found.values.dtype == np.float32
    assert found.values.min() >= 0
    assert 0.6 * invented.sum() < found.values.sum() < 1.3 * invented.sum()
    assert np.corrcoef(found.values.ravel(), invented.ravel())[0, 1] > 0.8
    assert found.share == pytest.approx(found.values.sum() / (clean + invented).sum(), rel=1e-3)
    assert f"{found.share:.1%}" in found.sentence


def test_units_of_the_volume_do_not_matter() -> None:
    views, volume = recorded().views, fused() + blobs(fused().shape, float(fused().max()))
    once, again = find_unsupported(volume, views), find_unsupported(7 * volume, views)
    assert again.share == pytest.approx(once.share, rel=1e-4)
    assert np.allclose(again.values, 7 * once.values, atol=1e-3 * again.values.max())


def test_an_average_keeps_blurred_light_that_the_views_speak_against() -> None:
    views = recorded().views
    mean = views.read(views.grid.box).mean(axis=0)
    kept, little = find_unsupported(mean, views), find_unsupported(fused(), views)
    assert kept.share > 5 * max(little.share, NOTABLE)
    assert (kept.caution, little.caution) == ("may be invented or misplaced", "")


def test_cells_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    views, volume = recorded().views, fused() + blobs(fused().shape, float(fused().max()))
    whole = find_unsupported(volume, views).values
    for name, value in (("_BLOCK_SIDE", 36), ("FILTER_MARGIN", 8), ("_FADE", 2)):
        monkeypatch.setattr(cells, name, value)
    in_cells = find_unsupported(volume, views).values
    assert not np.array_equal(whole, in_cells)
    assert np.abs(whole - in_cells).max() < 0.03 * whole.max()


def test_the_attenuation_of_the_run_is_taken() -> None:
    views = recorded(0.02).views
    run = fuse(views, JointWiener(attenuation="none"), device="cpu")
    asked = find_unsupported(run.data, views, attenuation=attenuation_of_run(run.recipe, views))
    # Estimated, other light is expected than that of a run that allowed for none.
    assert asked.share < find_unsupported(run.data, views).share


def test_dark_volumes_have_no_light_to_support() -> None:
    found = find_unsupported(np.zeros(fused().shape, np.float32), recorded().views)
    assert found.share == 0
    assert not found.values.any()


def test_what_cannot_be_compared_is_named() -> None:
    views, volume = recorded().views, fused().copy()
    with pytest.raises(InputError, match="shape"):
        find_unsupported(volume[1:], views)
    volume[3, 4, 5] = np.nan
    with pytest.raises(InputError, match=r"the fused volume has a NaN or infinite value at \(z, y, x\) = \(3, 4, 5\)"):
        find_unsupported(volume, views)
    with pytest.raises(InputError, match="PSF"):
        find_unsupported(fused(), RegisteredViews([type(v)(v.data, v.name) for v in views.views], views.grid))


def test_it_can_be_stopped() -> None:
    said: list[float] = []
    with pytest.raises(Interrupted):
        find_unsupported(
            fused(), recorded().views, report=lambda text, share: said.append(share), cancel=lambda: bool(said)
        )
    assert said[-1] < 1
