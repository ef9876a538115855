"""Views that count more in some places than in others: by a volume of weights, in a box, fading with depth."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from command_line import run
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.trust import Fade, with_trust
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.simulation import light_sheet_psf

SHAPE = (24, 26, 28)
GRID = Grid(SHAPE, (2.0, 1.0, 0.5), (10.0, 20.0, 30.0))
WHOLE = (slice(None),) * 3


def view_of(value, name="0", **more):
    """Of one value but for a voxel, as no view is."""
    values = np.full(SHAPE, value, np.float32)
    values[0, 0, 0] += 1
    return View(values, name, angle=float(name), **more)


def test_weights_are_how_much_a_view_counts_in_the_average(rng):
    weights = rng.random(SHAPE).astype(np.float32)
    views = RegisteredViews([with_trust(view_of(10), GRID, weights=weights), view_of(12, "90")], GRID)
    fused = fuse(views, make_method("average")).data
    expected = (views.views[0].data * weights + views.views[1].data) / (weights + 1)
    np.testing.assert_allclose(fused, expected, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_where_a_view_is_not_trusted_it_does_not_matter_to_any_method(rng, name):
    half = np.ones(SHAPE, np.float32)
    half[:, :, 14:] = 0
    psfs = [light_sheet_psf(angle, axial_fwhm=3, lateral_fwhm=1.5, shape=(7, 7, 7)) for angle in (0, 90)]
    light = rng.poisson(80, SHAPE).astype(np.float32)
    spoiled = np.where(half > 0, light, 1000 * rng.random(SHAPE)).astype(np.float32)
    made = {"ebmd": {"iterations": 2}, "wiener": {"attenuation": "none"}}.get(name, {})
    results = []
    for values, trust in ((light, half), (spoiled, half), (spoiled, None)):
        views = [View(values, "0", psf=psfs[0], angle=0.0), View(light, "90", psf=psfs[1], angle=90.0)]
        # The scale of the brightness comes from all pixels of a view; here all views have one.
        views[0] = replace(views[0], trust=trust)
        # Where nobody says that a part of it is not to be trusted, the view is brighter than the other.
        with pytest.warns(UserWarning, match="times as bright") if trust is None else nullcontext():
            fused = fuse(RegisteredViews(views), make_method(name, **made), device="cpu")
        results.append(fused.data[:, :, 20:])
    right, trusted, spoilt = results
    assert np.abs(trusted - right).max() < 0.35 * np.abs(spoilt - right).max()


def test_a_fade_falls_along_the_detection_axis():
    for angle, axis, size in ((0, 0, 2.0), (90, 1, 1.0)):
        view = with_trust(view_of(1, str(angle)), GRID, fade=Fade(4, 10))
        depth = np.arange(SHAPE[axis]) * size
        expected = np.interp(depth, [4, 10], [1, 0])
        trust = np.moveaxis(view.trust[WHOLE], axis, 0)
        np.testing.assert_allclose(trust[:, 3, 3], expected, atol=1e-6)
        assert np.ptp(trust.reshape(len(depth), -1), axis=1).max() < 1e-6
        other = with_trust(view, GRID, fade=Fade(10, 4)).trust
        np.testing.assert_allclose(np.moveaxis(other[WHOLE], axis, 0)[:, 3, 3], 1 - expected, atol=1e-6)
    # From the other side the first planes are the far ones.
    away = with_trust(view_of(1, "180"), GRID, fade=Fade(4, 10)).trust[WHOLE]
    np.testing.assert_allclose(away, with_trust(view_of(1), GRID, fade=Fade(4, 10)).trust[WHOLE][::-1], atol=1e-6)


def test_a_turned_view_fades_along_its_own_z():
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    view = with_trust(view_of(1, affine=turned * [[3], [3], [3], [1]]), GRID, fade=Fade(0, 30))
    np.testing.assert_allclose(view.trust[WHOLE][:, 1, 1], np.clip(1 - 3 * np.arange(24) / 30, 0, 1), atol=1e-6)


def test_a_box_is_in_the_world_and_has_soft_edges():
    view = with_trust(view_of(1), GRID, box_um=((14.0, 20.0, 30.0), (100.0, 100.0, 36.0)))
    trust = view.trust[WHOLE]
    assert not trust[:2].any()
    assert not trust[:, :, 13:].any()
    # It begins where the view does along x, and is 12 voxels wide: a quarter of that is its edge.
    np.testing.assert_allclose(trust[20, 12, :13], np.minimum(1, np.arange(13, 0, -1) / 3), rtol=1e-6)
    np.testing.assert_allclose(trust[:, 12, 2], np.clip((np.arange(24) - 1) / 8, 0, 1), atol=1e-6)
    box = Box((3, 4, 5), (11, 9, 28))
    np.testing.assert_array_equal(view.trust[box.slices], trust[box.slices])


def test_trust_of_a_view_elsewhere_is_interpolated_with_it():
    weights = np.broadcast_to(np.linspace(0, 1, SHAPE[2], dtype=np.float32), SHAPE)
    moved = GRID.affine.copy()
    moved[2, 3] += 0.25  # half a voxel
    views = RegisteredViews([with_trust(view_of(10, affine=moved), GRID, weights=weights), view_of(12, "90")], GRID)
    seen = views.coverage(GRID.box)[0, 5, 5]
    np.testing.assert_allclose(seen[1:-1], (weights[0, 0, 1:-1] + weights[0, 0, :-2]) / 2, atol=1e-6)
    assert seen[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weights": np.ones((3, 3, 3))}, r"shape \(3, 3, 3\), but the view \(24, 26, 28\)"),
        ({"box_um": ((0, 0, 0), (5, 5, 5))}, r"lies from \(10, 20, 30\) to \(56, 45, 43.5\) um, outside of its box"),
        ({"box_um": ((20, 20, 30), (20, 30, 40))}, "has no extent"),
        ({}, "needs weights, a box or a fade"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(given, said):
    with pytest.raises(InputError, match=said):
        with_trust(view_of(1), GRID, **given)
    with pytest.raises(InputError, match="has no width"):
        Fade(5, 5)
    with pytest.raises(InputError, match="no known angle"):
        with_trust(View(np.ones(SHAPE), "a"), GRID, fade=Fade(1, 2))


@pytest.mark.parametrize(
    ("value", "said"), [(255, "has the value 255 .* divide all of it"), (np.nan, "value nan"), (0, "trusted nowhere")]
)
def test_weights_that_are_none_are_named(rng, value, said):
    view = View(rng.random(SHAPE), "0", trust=np.full(SHAPE, value, np.float32))
    with pytest.raises(InputError, match=said):
        fuse(RegisteredViews([view, view_of(1, "90")], GRID), make_method("average"))


def test_the_command_line_and_its_recipe_take_trust_from_files_boxes_and_depths(tmp_path, rng):
    grid = Grid(SHAPE, (1.0, 1.0, 1.0))
    pixels = {name: rng.random(SHAPE, np.float32) + 1 for name in ("0", "90")}
    for name, values in pixels.items():
        write_zarr(tmp_path / f"{name}.zarr", values, grid)
    weights = rng.random(SHAPE, np.float32)
    write_zarr(tmp_path / "w.zarr", weights, grid)
    named = [f"--view={name}={tmp_path / name}.zarr" for name in pixels]
    trust = ["--trust", f"90={tmp_path / 'w.zarr'}", "--fade", "0=6,12", "--trust-box", "90=0,0,0,40,40,20"]
    run("fuse", *named, *trust, "--method", "average", "-o", tmp_path / "f.zarr")
    made = np.asarray(open_stored(tmp_path / "f.zarr").volume()[:])
    views = [
        with_trust(View(pixels["0"], "0", angle=0.0), grid, fade=Fade(6, 12)),
        with_trust(View(pixels["90"], "90", angle=90.0), grid, weights=weights, box_um=((0, 0, 0), (40, 40, 20))),
    ]
    with pytest.warns(UserWarning, match="or is trusted, in 12.5% of the fused volume"):
        expected = fuse(RegisteredViews(views, grid), make_method("average")).data
    np.testing.assert_allclose(made, expected, rtol=1e-5)
    recipe = tmp_path / "f.zarr.recipe.json"
    assert [bool(entry.trust_sha256) for entry in load_recipe(recipe).views] == [True, True]
    run("fuse", "--recipe", recipe, "-o", tmp_path / "again.zarr")
    np.testing.assert_array_equal(np.asarray(open_stored(tmp_path / "again.zarr").volume()[:]), made)
    write_zarr(tmp_path / "w.zarr", weights[::-1], grid, overwrite=True)
    failed = run("fuse", "--recipe", recipe, "-o", tmp_path / "other.zarr", code=2)
    assert "how much view '90'" in failed.stderr
    assert "give two depths" in run("fuse", *named, "--fade", "6", "-o", tmp_path / "x.zarr", code=2).stderr
