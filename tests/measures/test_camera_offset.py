"""Camera offsets that were not subtracted, or more than there is: what is said, and that nothing is said without reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from napari_mvfusion.cli.app import app
from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.camera_offset import find_dark_levels, light_of_nothing
from napari_mvfusion.measures.gains import find_gains
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import embryo, light_sheet_psf, nuclei, simulate

ANGLES = {"two": (0.0, 90.0), "opposite": (0.0, 180.0), "four": (0.0, 90.0, 180.0, 270.0)}
SIZE = 32


@cache
def expected(kind: str, angles: str) -> tuple[View, ...]:
    """Views without noise or background, the brightest voxels about 1."""
    rng = np.random.default_rng(4)
    if kind == "spots":
        truth = np.zeros((SIZE,) * 3)
        truth[tuple(rng.integers(3, SIZE - 3, (25, 3)).T)] = rng.uniform(0.3, 1, 25)
        truth = ndimage.gaussian_filter(truth, 1.5)
    else:
        truth = embryo(SIZE, rng) if kind == "embryo" else nuclei((SIZE, SIZE, 2 * SIZE), rng)
    psfs = [light_sheet_psf(a, axial_fwhm=6, lateral_fwhm=2, shape=(13, 13, 13)) for a in ANGLES[angles]]
    views = simulate(truth, ANGLES[angles], psfs, rng=rng, poisson=False, attenuation=0.01).views.views
    light = [np.maximum(np.asarray(view.data, np.float64) - np.asarray(view.data).min(), 0) for view in views]
    brightest = max(np.quantile(each, 0.9999) for each in light)
    return tuple(replace(view, data=each / brightest) for view, each in zip(views, light, strict=True))


def recorded(
    kind: str,
    angles: str,
    photons: float,
    *,
    noise: float,
    background: float = 0.0,
    offset: float = 0.0,
    given: float = 0.0,
) -> RegisteredViews:
    rng = np.random.default_rng(int(photons))
    views = []
    for view in expected(kind, angles):
        counts = rng.poisson(np.asarray(view.data) * photons + background) + noise * rng.standard_normal(view.shape)
        views.append(replace(view, data=np.maximum(np.rint(counts + offset), 0).astype(np.uint16), offset=given))
    return RegisteredViews(views)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("kind", ["embryo", "nuclei", "spots"])
def test_nothing_is_said_where_the_offset_is_0_or_given(kind: str, angles: str, noise: float) -> None:
    for photons in (30, 200, 3000):
        for background in (0.0, 5.0):
            dark = find_dark_levels(recorded(kind, angles, photons, noise=noise, background=background))
            assert not any(each is not None and (each.missing or each.cut) for each in dark)
            offset, given = 100.0, 100.0 + background
            views = recorded(kind, angles, photons, noise=noise, background=background, offset=offset, given=given)
            assert not any(each is not None and (each.missing or each.cut) for each in find_dark_levels(views))


def test_even_light_is_no_offset() -> None:
    rng = np.random.default_rng(0)
    views = RegisteredViews([View(rng.poisson(50, (24, 30, 31)).astype(np.float32), name) for name in "ab"])
    assert not any(each is not None and each.missing for each in find_dark_levels(views))


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("kind", ["embryo", "nuclei", "spots"])
def test_an_offset_that_was_not_subtracted_is_found(kind: str, angles: str) -> None:
    for photons in (30, 200):
        dark = find_dark_levels(recorded(kind, angles, photons, noise=2, offset=100))
        for each in dark:
            assert each is not None
            assert each.missing
            assert each.level == pytest.approx(100, abs=2)
            assert each.spread == pytest.approx(2, abs=1)


def test_a_gain_is_found_behind_an_offset() -> None:
    views = recorded("nuclei", "four", 300, noise=2, offset=100)
    first, *others = views.views
    counts = (np.asarray(first.data, np.float64) - 100) * 4 + 100
    brighter = RegisteredViews([replace(first, data=np.rint(counts).clip(0).astype(np.uint16)), *others])
    assert find_gains(brighter)[0] < 2
    allowed = find_gains(brighter, light_of_nothing(brighter, find_dark_levels(brighter)))
    assert allowed[0] == pytest.approx(4, rel=0.2)
    assert allowed[1:] == (1, 1, 1)


def said(views: RegisteredViews) -> list[str]:
    return [event.message for event in fuse_events(views, Average()) if isinstance(event, Warned)]


def test_a_run_says_the_offset_to_give_and_nothing_once_it_is_given(tmp_path: Path) -> None:
    views = recorded("embryo", "two", 200, noise=2, offset=100)
    (line,) = said(views)
    assert "--offset 100," in line
    write_views_folder(tmp_path / "in", views, tag="s")
    call = ["fuse", str(tmp_path / "in"), "--method", "average", "-o", str(tmp_path / "out.tif")]
    told = CliRunner().invoke(app, call)
    assert told.exit_code == 0
    assert "--offset 100," in told.output
    quiet = CliRunner().invoke(app, [*call, "--offset", "100", "--overwrite"])
    assert quiet.exit_code == 0
    assert "warning" not in quiet.output


def test_views_of_two_cameras_are_told_one_by_one() -> None:
    first, second = recorded("embryo", "two", 200, noise=2, offset=100).views
    views = RegisteredViews([first, replace(second, data=np.asarray(second.data) + 10)])
    (line,) = said(views)
    assert "--offset 0=100 --offset 90=110" in line
    (line,) = said(RegisteredViews([replace(views.views[0], offset=100.0), views.views[1]]))
    assert "(--offset 90=110," in line


def test_an_offset_above_the_background_is_said_to_cut() -> None:
    views = recorded("embryo", "two", 200, noise=2, offset=100, given=120)
    lines = said(views)
    assert len(lines) == 2
    for view, line in zip(views.views, lines, strict=True):
        cut = float((np.asarray(view.data) < 120).mean())
        assert f"{view.label} lies above" in line
        assert f"--offset {view.name}=100" in line
        assert abs(float(line.split("%")[0].split()[-1]) / 100 - cut) < 0.05


def test_an_offset_that_was_subtracted_before_is_said_to_cut(tmp_path: Path) -> None:
    views = recorded("spots", "two", 30, noise=0)
    write_views_folder(tmp_path / "in", views, tag="s")
    opened = Inputs(source=str(tmp_path / "in"), offset=5.0).open()
    lines = said(opened)
    assert len(lines) == 2
    assert all("lie below its camera offset of 5" in line for line in lines)
