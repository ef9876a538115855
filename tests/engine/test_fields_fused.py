"""How much light every method gives where a view recorded nothing: against the ground truth, and against explicit masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_mvfusion.cli.app import app
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import CBIF, EBMD, Average, LearnedFusion
from napari_mvfusion.methods.base import Method
from napari_mvfusion.simulation import Simulation, sample

SIZE = 32
METHODS: Sequence[Method] = (Average(), CBIF(), EBMD(iterations=10), LearnedFusion(mirrored=False))
# Other views show what one lacks, but each lost other light on its way.
ALIKE = 0.12


@pytest.fixture(scope="module")
def recorded() -> Simulation:
    return sample("embryo", SIZE, offset=100, dtype="uint16")


def field(shape: str) -> np.ndarray:
    z, y, x = np.indices((SIZE,) * 3)
    return {
        "12 of 32 planes": z >= 12,
        "wedge": z + 0.7 * y >= 0.75 * SIZE + 0.05,
        "box": (z >= 5) & (z < SIZE - 3) & (y >= 9) & (y < SIZE - 9) & (x >= 4),
    }[shape]


def ending(views: RegisteredViews, seen: np.ndarray, **known: object) -> RegisteredViews:
    """The views, the first of which is 0 where it saw nothing."""
    first, *others = views.views
    data = np.where(seen, np.asarray(first.data), 0).astype(np.asarray(first.data).dtype)
    return RegisteredViews([replace(first, data=data, **known), *others], views.grid)  # type: ignore[arg-type]


def fused(views: RegisteredViews, method: Method) -> np.ndarray:
    result = drain(fuse_events(views, method))
    assert result is not None
    return np.asarray(result.data, np.float64)


def read(path: Path) -> np.ndarray:
    return np.asarray(open_volume(path)[0][:, :, :])


def light(volume: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> float:
    """Light where the first view saw nothing beside that elsewhere, as a multiple of what the truth has."""
    return float(volume[~seen].mean() / volume[seen].mean() / (truth[~seen].mean() / truth[seen].mean()))


@pytest.fixture(scope="module")
def whole(recorded: Simulation) -> dict[str, np.ndarray]:
    """What methods make of the views where nothing is lacking; filled as it is asked for."""
    return {}


@pytest.mark.parametrize("shape", ["12 of 32 planes", "wedge", "box"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_light_is_that_of_the_ground_truth(
    recorded: Simulation, whole: dict[str, np.ndarray], method: Method, shape: str
) -> None:
    seen, truth = field(shape), np.asarray(recorded.truth, np.float64)
    if method.name not in whole:
        whole[method.name] = fused(recorded.views, method)
    found = fused(ending(recorded.views, seen, no_data="auto"), method)
    told = fused(ending(recorded.views, seen, mask=seen), method)
    assert np.isfinite(found).all()
    assert light(found, truth, seen) == pytest.approx(light(told, truth, seen), rel=0.01)
    usual = light(whole[method.name], truth, seen)
    assert light(found, truth, seen) == pytest.approx(usual, rel=ALIKE)
    if method.name == "average":
        assert light(fused(ending(recorded.views, seen), method), truth, seen) < 0.8 * usual


def test_the_light_is_right_with_measured_psfs(quad_psfs: dict[float, np.ndarray]) -> None:
    middle = (slice(15, 36),) * 3
    psfs = [prepare_psf(quad_psfs[angle][middle]).psf for angle in (0, 90, 180, 270)]
    simulation = sample("embryo", SIZE, psfs=psfs, offset=100, dtype="uint16")
    seen, truth = field("12 of 32 planes"), np.asarray(simulation.truth, np.float64)
    method = EBMD(iterations=5)
    found = fused(ending(simulation.views, seen, no_data="auto"), method)
    usual = light(fused(simulation.views, method), truth, seen)
    assert light(found, truth, seen) == pytest.approx(usual, rel=ALIKE)


@pytest.mark.long
def test_the_command_line_takes_masks_and_every_zero_and_repeats_its_recipe(
    recorded: Simulation, tmp_path: Path
) -> None:
    seen = field("12 of 32 planes")
    folder = tmp_path / "in"
    plain = [replace(view, mask=None, offset=0.0) for view in recorded.views.views]
    write_views_folder(folder, ending(RegisteredViews(plain, recorded.views.grid), seen), "a")
    write_tiff(tmp_path / "mask.tif", seen.astype(np.uint8), recorded.views.grid)

    def run(name: str, *options: str) -> np.ndarray:
        call = ["fuse", str(folder), "--method", "average", "--offset", "100", "-o", str(tmp_path / name), *options]
        result = CliRunner().invoke(app, call)
        assert result.exit_code == 0, result.output
        return read(tmp_path / name)

    recognised, blind = run("auto.tif"), run("none.tif", "--no-data", "none")
    masked = run("masked.tif", "--no-data", "none", "--mask", f"0={tmp_path / 'mask.tif'}")
    zeros = run("zeros.tif", "--no-data", "0")
    np.testing.assert_array_equal(masked, recognised)
    np.testing.assert_array_equal(zeros, recognised)
    assert blind[~seen].mean() < 0.8 * recognised[~seen].mean()
    recipe = load_recipe(recipe_path(tmp_path / "masked.tif"))
    assert recipe.inputs is not None
    assert (recipe.inputs.no_data, list(recipe.inputs.masks)) == ("none", ["0"])
    drain(recipe.repeat(tmp_path / "again.tif"))
    np.testing.assert_array_equal(read(tmp_path / "again.tif"), masked)
