from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.geometry import Box, Grid, Triple
from napari_mvfusion.data.trust import Fade, with_trust
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.attenuation import (
    Transmission,
    doubt_about_transmission,
    faint_transmission,
    find_transmission,
    why_no_transmission,
)
from napari_mvfusion.methods import Average, LearnedFusion
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation import Simulation, embryo, light_sheet_psf, sample, simulate
from napari_mvfusion.simulation.recording import attenuate_at

ANGLES = (0.0, 90.0, 180.0, 270.0)
CPU = torch.device("cpu")
REFERENCE = 289


def recorded(attenuation: float, angles: tuple[float, ...] = ANGLES) -> tuple[RegisteredViews, np.ndarray]:
    made = _simulated(attenuation, angles)
    return RegisteredViews(made.views.views, made.views.grid), made.truth


@cache
def _simulated(attenuation: float, angles: tuple[float, ...]) -> Simulation:
    rng = np.random.default_rng(3)
    psfs = [light_sheet_psf(a, axial_fwhm=7, lateral_fwhm=2.5, shape=(15, 15, 15)) for a in angles]
    made = simulate(embryo(64, rng), angles, psfs, attenuation=attenuation, rng=rng)
    for values in (made.truth, *(np.asarray(view.data) for view in made.views.views)):
        values.flags.writeable = False  # the tests share them
    return made


def transmission(truth: np.ndarray, angle: float, attenuation: float) -> np.ndarray:
    """What the simulator lets through, followed voxel by voxel along the light."""
    dimmed = attenuate_at(truth / truth.max(), angle, attenuation * REFERENCE / truth.shape[1])
    ratio = np.ones_like(truth)
    bright = truth > 0.05 * truth.max()
    ratio[bright] = dimmed[bright] * truth.max() / truth[bright]
    # Views are scaled to the light of the truth.
    return ratio * truth.sum() / (ratio * truth).sum()


def error(found: np.ndarray, wanted: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square difference, where there is light."""
    return float(np.sqrt((np.square(found - wanted) * truth).mean() / truth.mean()))


@pytest.mark.parametrize(
    "angles", [ANGLES, (0.0, 120.0, 240.0), (20.0, 200.0), (0.0, 90.0)], ids=["four", "three", "opposed", "two"]
)
@pytest.mark.parametrize("attenuation", [0.005, 0.01, 0.02])
def test_attenuation_is_what_the_specimen_took(angles: tuple[float, ...], attenuation: float) -> None:
    views, truth = recorded(attenuation, angles)
    views.statistics()
    found = find_transmission(views)
    assert found is not None
    assert found.strengths[0] == max(found.strengths) > 0
    light = found.over(views.grid.box, CPU).numpy()
    for values, angle in zip(light, angles, strict=True):
        wanted = transmission(truth, angle, attenuation)
        assert error(values, wanted, truth) < 0.4 * error(np.ones_like(truth), wanted, truth)


@pytest.mark.parametrize("attenuation", [0.0, 0.01])
@pytest.mark.parametrize("faded", [(0,), (0, 1, 2, 3)], ids=["one view", "all views"])
def test_how_much_views_count_says_nothing_of_the_light_that_they_lost(
    attenuation: float, faded: tuple[int, ...]
) -> None:
    """Trust is what a user thinks of a view; light is found in the pixels as they were recorded."""
    views, _ = recorded(attenuation)
    weights = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None] * np.ones(views.grid.shape, np.float32)
    plain = find_transmission(views)
    assert (plain is None) == (attenuation == 0)
    for trust in ({"fade": Fade(16, 40)}, {"weights": weights}):
        trusted = [with_trust(view, views.grid, **trust) if n in faded else view for n, view in enumerate(views.views)]
        found = find_transmission(RegisteredViews(trusted, views.grid))
        if plain is None or found is None:
            assert found is plain
        else:
            assert found.strengths == plain.strengths
            np.testing.assert_array_equal(found.values, plain.values)


def test_attenuation_with_the_measured_psfs(test_data) -> None:
    psfs = [prepare_psf(test_data / f"psf/quad_view/psf_{a:g}.tif").psf for a in ANGLES]
    rng = np.random.default_rng(0)
    truth = embryo(96, rng)
    views = simulate(truth, ANGLES, psfs, attenuation=0.01, rng=rng).views
    found = find_transmission(views)
    assert found is not None
    for values, angle in zip(found.over(views.grid.box, CPU).numpy(), ANGLES, strict=True):
        assert error(values, transmission(truth, angle, 0.01), truth) < 0.1


@pytest.mark.parametrize("snr", [5.0, 50.0])
def test_where_no_light_is_lost_none_is_missed(snr: float, test_data) -> None:
    """PSFs that differ between views, and noise, must not be taken for attenuation."""
    first = prepare_psf(test_data / "psf/quad_view/psf_0.tif").psf
    angles = (0.0, 50.0, 180.0)
    rng = np.random.default_rng(0)
    psfs = [rotate_psf(first, angle) for angle in angles]
    views = simulate(embryo(64, rng), angles, psfs, attenuation=0.0, snr=snr, rng=rng).views
    found = find_transmission(views)
    if found is not None:
        assert np.abs(found.over(views.grid.box, CPU).numpy() - 1).mean() < 0.03


def test_the_light_of_the_result_is_the_mean_of_the_views() -> None:
    views, _ = recorded(0.01)
    found = find_transmission(views)
    assert found is not None
    mean = views.read(views.grid.box).mean(axis=0)
    cells = mean.reshape(*(side for n in mean.shape for side in (n // found.cell, found.cell))).mean(axis=(1, 3, 5))
    assert (cells / found.values.mean(axis=0)).sum() == pytest.approx(cells.sum(), rel=1e-3)


def test_gains_of_views_belong_to_what_passed() -> None:
    views, _ = recorded(0.01)
    dim = RegisteredViews(
        replace(view, data=np.asarray(view.data) * np.float32(0.7 if view.name == "90" else 1)) for view in views.views
    )
    plain, found = find_transmission(views), find_transmission(dim)
    assert plain is not None
    assert found is not None
    ratio = found.values / plain.values
    np.testing.assert_allclose(ratio[1] / ratio[0], 0.7, rtol=0.03)
    np.testing.assert_allclose(ratio[2] / ratio[0], 1, rtol=0.03)


@pytest.mark.parametrize("gain", [0.1, 4.0, 10.0])
def test_another_exposure_of_one_view_is_not_taken_for_light_from_nowhere(gain: float) -> None:
    views, truth = recorded(0.01)
    plain = find_transmission(views)
    brighter = [
        replace(view, data=np.asarray(view.data) * (gain if n == 1 else 1)) for n, view in enumerate(views.views)
    ]
    other = RegisteredViews(brighter, views.grid)
    other.statistics()
    assert doubt_about_transmission(other) == ""
    found = find_transmission(other)
    assert plain is not None
    assert found is not None
    before, after = (each.over(views.grid.box, CPU).numpy() for each in (plain, found))
    # Each view's light relative to that of its first neighbour, up to the gain.
    ratio = (after[1] / after[0]) / (before[1] / before[0])
    assert error(ratio / gain, np.ones_like(truth), truth) < 0.15


def test_voxels_that_are_no_cubes() -> None:
    """Every second plane of the fused volume, twice as thick, and views at 45 degrees: ways must not bend."""
    angles = (45.0, 135.0, 225.0)
    views, truth = recorded(0.01, angles)
    halves = []
    for view in views.views:
        assert view.psf is not None
        psf = np.asarray(view.psf).reshape(15, 15, 15)[1::2]
        halves.append(View(np.asarray(view.data)[::2], view.name, psf / psf.sum(), view.angle))
    thick = RegisteredViews(halves, Grid((32, 64, 64), (2.0, 1.0, 1.0)))
    found = find_transmission(thick)
    assert found is not None
    for values, angle in zip(found.over(thick.grid.box, CPU).numpy(), angles, strict=True):
        wanted = transmission(truth, angle, 0.01)[::2]
        assert error(values, wanted, truth[::2]) < 0.4 * error(np.ones_like(wanted), wanted, truth[::2])


@pytest.mark.parametrize("missing", ["angle", "psf", "views", "light"])
def test_nothing_is_known_without_angles_psfs_and_other_views(missing: str) -> None:
    views, _ = recorded(0.01)
    given = list(views.views)
    if missing == "views":
        given = given[:1]
    elif missing == "light":
        given = [replace(view, data=np.zeros((64, 64, 64), np.float32)) for view in given]
    else:
        given[2] = replace(given[2], **{missing: None})
    assert find_transmission(RegisteredViews(given)) is None


def test_a_region_sees_its_part_of_the_whole() -> None:
    views, _ = recorded(0.01)
    whole = find_transmission(views)
    box = Box((10, 20, 6), (40, 50, 60))
    part = views.region(box, views.statistics())
    found = find_transmission(part)
    assert whole is not None
    assert found is not None
    expected = whole.over(views.grid.box, CPU)[(slice(None), *box.slices)]
    np.testing.assert_allclose(found.over(part.in_frame(part.grid.box), CPU), expected, rtol=1e-5)


def test_between_cells_it_is_linear() -> None:
    shape: Triple = (4, 3, 5)
    z, y, x = np.indices(shape, np.float32)
    found = Transmission(3, (z + 10 * y + 100 * x)[None], (0,) * 6)
    values = found.over(Box((4, 3, 2), (8, 5, 9)), CPU).numpy()[0]
    z, y, x = (((np.arange(a, b) + 0.5) / 3 - 0.5) for a, b in ((4, 8), (3, 5), (2, 9)))
    np.testing.assert_allclose(values, z[:, None, None] + 10 * y[:, None] + 100 * x, rtol=1e-5)


@pytest.mark.long
def test_what_was_found_is_kept_for_the_same_views_only() -> None:
    views, _ = recorded(0.02)
    statistics = views.statistics()
    found = find_transmission(views)
    assert find_transmission(views.region(Box((8, 8, 8), (40, 40, 40)), statistics)) is found
    wide = [replace(view, psf=rotate_psf(view.psf, 5)) for view in views.views]
    for changed in (
        RegisteredViews(wide, views.grid),
        RegisteredViews([replace(view, angle=view.angle + 1) for view in views.views], views.grid),
        views.select([view.name for view in views.views[:3]]),
    ):
        again = changed.region(changed.grid.box, statistics[: len(changed)])
        other = find_transmission(again)
        assert found is not None
        assert other is not None
        assert other.values.shape != found.values.shape or not np.array_equal(other.values, found.values)
    assert find_transmission(views) is not found  # only the last
    assert np.array_equal(find_transmission(views).values, found.values)


@pytest.mark.parametrize("shape", [(70, 45, 61), (5, 200, 90)])
def test_overviews_are_means_over_cells(shape: Triple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mvfusion.data.overviews._OVERVIEW_CELLS", 2000)
    monkeypatch.setattr("napari_mvfusion.data.scanning._SCAN_VOXELS", 7 * shape[1] * shape[2])
    rng = np.random.default_rng(0)
    data = rng.random(shape, np.float32)
    mask = rng.random(shape) > 0.3
    plain, masked = (
        numbers.overview for numbers in RegisteredViews([View(data, "a"), View(data, "b", mask=mask)]).statistics()
    )
    assert plain is not None
    assert masked is not None
    assert plain.cell > 1
    for cell in np.ndindex(plain.values.shape):
        part = tuple(slice(c * plain.cell, (c + 1) * plain.cell) for c in cell)
        assert plain.values[cell] == pytest.approx(data[part].mean(), rel=1e-4)
        assert plain.covered[cell] == 1
        assert masked.values[cell] == pytest.approx(data[part][mask[part]].mean(), rel=1e-4)
        assert masked.covered[cell] == pytest.approx(mask[part].mean(), rel=1e-4)


@pytest.mark.parametrize("name", ["nuclei", "embryo"])
@pytest.mark.parametrize("lost", [12, 16])
def test_zeros_that_nobody_takes_for_no_data_are_not_taken_for_attenuation(name: str, lost: int) -> None:
    made = sample(name, 32).views
    first = np.array(made.views[0].data)
    first[:lost] = 0
    views = RegisteredViews([replace(made.views[0], data=first), *made.views[1:]], made.grid)
    assert find_transmission(views) is None
    assert "cannot be told" in doubt_about_transmission(views)


@pytest.mark.parametrize("name", ["nuclei", "embryo"])
def test_a_fade_along_z_keeps_the_mean_of_the_light(name: str) -> None:
    made = sample(name, 32).views
    fade = np.linspace(1, 0.14, 32, dtype=np.float32)[:, None, None]
    faded = [replace(made.views[0], data=np.asarray(made.views[0].data) * fade), *made.views[1:]]
    views = RegisteredViews(faded, made.grid)
    found = find_transmission(views)
    mean = views.read(views.grid.box).mean(axis=0)
    if found is None:
        assert doubt_about_transmission(views)
    else:
        assert (mean / found.over(views.grid.box, CPU).numpy().mean(axis=0)).sum() == pytest.approx(
            mean.sum(), rel=0.02
        )


def fading(depth: int, kind: str) -> np.ndarray:
    along = np.arange(depth) / (depth - 1)
    return {
        "by 86 %": 0.14**along,
        "by 86 % the other way": 0.14 ** (1 - along),
        "by 86 %, then 0": np.where(along < 0.6, 0.14 ** (along / 0.6), 0),
        "linearly to 0": np.clip(1 - along / 0.6, 0, 1),
    }[kind][:, None, None].astype(np.float32)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("kind", ["by 86 %", "by 86 % the other way", "by 86 %, then 0", "linearly to 0"])
@pytest.mark.long
def test_views_that_fade_keep_their_light(kind: str, every: bool) -> None:
    simulation = sample("embryo", 32, angles=(0.0, 180.0))
    fade = fading(simulation.views.grid.shape[0], kind)
    views = [
        replace(view, data=np.asarray(view.data) * fade if every or v == 0 else view.data, no_data="auto")
        for v, view in enumerate(simulation.views.views)
    ]
    mean, made = (
        np.asarray(drain(fuse_events(RegisteredViews(views), method)).data, np.float64)
        # The network alone: updates from the views keep up to 30 % more, as `wiener` does of views like these.
        for method in (Average(), LearnedFusion(mirrored=False, refined=False))
    )
    assert made.mean() == pytest.approx(mean.mean(), rel=0.2)
    # Where one of the halves has most of the light, it has it in the result, too.
    brighter = slice(0, 16) if mean[:16].sum() > mean[16:].sum() else slice(16, 32)
    assert made[brighter].mean() == pytest.approx(mean[brighter].mean(), rel=0.25)


def test_lost_light_that_explains_too_little_is_noted_with_the_share_and_none_where_views_do_not_differ() -> None:
    rng = np.random.default_rng(2)
    angles = (0.0, 90.0, 180.0, 270.0)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in angles]
    made = simulate(embryo(32, rng), angles, psfs, rng=rng, attenuation=0.003).views
    wave = 1 + 0.4 * np.sin(0.6 * np.arange(32, dtype=np.float32))
    first = replace(made.views[0], data=np.asarray(made.views[0].data) * wave)
    waved = RegisteredViews([first, *made.views[1:]], made.grid)

    def said(views: RegisteredViews, **options: str) -> list[str]:
        events = fuse_events(views, Average.model_validate(options))
        said = [event.message for event in events if isinstance(event, (Noted, Warned))]
        return [message for message in said if re.search(r"light that|lost light was|attenuation of the", message)]

    (line,) = said(waved, attenuation="estimated")
    assert re.search(r"what looks like it leaves \d\d% of what views differ by unexplained: it is taken as none", line)
    assert "--transmission VIEW=FILE" in line
    assert said(waved) == []
    assert find_transmission(waved) is None
    assert not doubt_about_transmission(waved)
    assert faint_transmission(waved) in why_no_transmission(waved)
    same = RegisteredViews([replace(view, data=made.views[0].data, psf=psfs[0]) for view in made.views], made.grid)
    assert said(same, attenuation="estimated") == []
