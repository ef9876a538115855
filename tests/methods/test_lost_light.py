"""Means that allow for lost light, and transmissions that are given: in Python, by files, and in recipes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import warm_process
from command_line import run
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.measures.given_transmission import given_transmission
from napari_mvfusion.methods import CBIF, EBMD, Average, make_method, method_of_recipe

SHAPE = (14, 16, 18)


def passed(axis, shape=SHAPE):
    along = np.linspace(0.25, 1, shape[axis], dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(along.reshape([-1 if a == axis else 1 for a in range(3)]), shape))


def dimmed(rng, **options):
    """A specimen, and two views of it without blur or noise that lost light."""
    truth = 50 + 100 * rng.random(SHAPE, np.float32)
    light = [passed(0), passed(1)]
    return truth, [View(truth * t, f"{90 * i}", transmission=t, **options) for i, t in enumerate(light)]


@pytest.mark.parametrize("kind", [Average, CBIF])
def test_means_bring_views_to_their_brightness(rng, kind):
    truth, views = dimmed(rng)
    np.testing.assert_allclose(fuse(RegisteredViews(views), kind(attenuation="given")).data, truth, rtol=1e-5)
    with pytest.warns(UserWarning, match="not used"):
        plain = fuse(RegisteredViews(views), kind())
    assert np.abs(plain.data / truth - 1).max() > 0.3


def test_a_view_that_lost_light_counts_less(rng):
    """The weights of least noise, with which the mean over many draws is as noisy as photons allow."""
    truth, views = dimmed(rng)
    first, second = (replace(view, data=rng.poisson(view.data).astype(np.float32)) for view in views)
    mask = np.ones(SHAPE, bool)
    mask[:3] = False
    noisy = RegisteredViews([replace(first, weight=2.0), replace(second, mask=mask)])
    x, t = np.stack([first.data, second.data]).astype(float), np.stack([passed(0), passed(1)]).astype(float)
    w = np.stack([np.full(SHAPE, 2.0), mask.astype(float)])
    fused = fuse(noisy, Average(attenuation="given"), tile=(6, 16, 18)).data
    np.testing.assert_allclose(fused, (w * t * (x / t)).sum(axis=0) / (w * t).sum(axis=0), rtol=1e-5)
    alike = fuse(RegisteredViews([first, second]), Average(attenuation="given")).data
    evenly = (x / t).mean(axis=0)
    assert np.square(alike - truth).sum() < 0.97 * np.square(evenly - truth).sum()


def test_what_old_recipes_mean_is_the_plain_mean():
    for name in ("average", "cbif", "ebmd"):
        assert method_of_recipe(name, {}).attenuation == "none"
    assert make_method("ebmd").attenuation == "estimated"


def test_given_transmissions_are_averaged_over_cells(monkeypatch):
    views = RegisteredViews([View(np.ones(SHAPE, np.float32), "0", transmission=passed(2))])
    found = given_transmission(views)
    assert found.cell == 1
    np.testing.assert_array_equal(found.values[0], passed(2))
    monkeypatch.setattr("napari_mvfusion.measures.given_transmission._CELLS", 64)
    coarse = given_transmission(views)
    assert coarse.cell == 4
    for cell in np.ndindex(coarse.values.shape[1:]):
        part = tuple(slice(4 * i, 4 * i + 4) for i in cell)
        assert coarse.values[0][cell] == pytest.approx(passed(2)[part].mean(), rel=1e-6)
    smooth = coarse.of(0, Box((2, 2, 2), (12, 12, 14)), torch.device("cpu"))
    np.testing.assert_allclose(smooth, passed(2)[2:12, 2:12, 2:14], rtol=1e-5)


@pytest.mark.parametrize("cells", [2**21, 300])
def test_of_a_region_only_what_lies_in_it_is_read(monkeypatch, rng, cells):
    monkeypatch.setattr("napari_mvfusion.measures.given_transmission._CELLS", cells)
    whole = rng.uniform(0.5, 1, SHAPE).astype(np.float32)
    box = Box((5, 6, 3), (9, 12, 11))
    around = whole.copy()
    cell = 1 if cells > whole.size else 3
    around[: (5 // cell - 1) * cell] = around[:, :, (11 // cell + 2) * cell :] = np.nan
    views, part = (RegisteredViews([View(np.ones(SHAPE), "0", transmission=each)]) for each in (whole, around))
    expected = given_transmission(views)
    assert expected.cell == cell
    found = given_transmission(part.region(box))
    np.testing.assert_array_equal(found.over(box, torch.device("cpu")), expected.over(box, torch.device("cpu")))


def test_what_is_no_transmission_is_named(rng):
    truth, (first, second) = dimmed(rng)
    with pytest.raises(InputError, match=r"'90' has no transmission.*--transmission"):
        fuse(RegisteredViews([first, replace(second, transmission=None)]), Average(attenuation="given"))
    for value in (0, 80, np.nan):
        wrong = passed(1).copy()
        wrong[3, 2, 1] = value
        with pytest.raises(InputError, match=r"'90' is .* at voxel \(3, 2, 1\).*at most 1"):
            fuse(RegisteredViews([first, replace(second, transmission=wrong)]), Average(attenuation="given"))
    with pytest.raises(InputError, match=r"transmission of view '90' has shape \(2, 2, 2\)"):
        RegisteredViews([first, replace(second, transmission=np.ones((2, 2, 2)))])
    assert "not used" in Average().check(RegisteredViews([first, second]))[0]
    assert truth.min() > 0


_PEAK = """
import sys
import numpy as np
sys.path[:0] = sys.argv[1:3]
from peak_memory import used_and_stated
from test_contract import QUICK, pixels_of, views_of
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.methods import make_method
name = sys.argv[3]
method = make_method(name, attenuation="given", **QUICK.get(name, {}))
for shape, side in (((30, 30, 30), 30), ((96, 100, 104), 64), ((96, 100, 104), 104)):
    light = [np.linspace(0.5, 1, shape[0], dtype=np.float32)[:, None, None] * np.ones(shape, np.float32)] * 3
    views = views_of([values.astype(np.float32) for values in pixels_of(shape)], transmission=light)
    box = Box(tuple((n - min(n, side)) // 2 for n in shape), tuple((n + min(n, side)) // 2 for n in shape))
    print(*used_and_stated(method, views, box))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
@pytest.mark.parametrize("name", ["average", "cbif", "wiener", "ebmd"])
@pytest.mark.long
def test_memory_with_transmissions_stays_within_the_stated_bound(name):
    """In a process of its own, for a tile in the middle and for the whole volume, after a small one."""
    here = Path(__file__).parent
    done = warm_process.run(_PEAK, here, here.parent, name)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[1:]:
        used, bound = map(int, line.split())
        assert used < bound


def test_the_coarse_preview_takes_what_is_given(rng):
    truth = 50 + 100 * rng.random((40, 40, 40), np.float32)
    light = [passed(axis, truth.shape) for axis in (0, 1)]
    psf = np.pad(np.ones((1, 1, 1)), 1)
    views = RegisteredViews([View(truth * t, f"{i}", psf=psf, transmission=t) for i, t in enumerate(light)])
    previewer = Previewer(views, torch.device("cpu"))
    method = EBMD(iterations=2, attenuation="given")
    list(previewer.run(method, views.grid.box))  # the first picture of a region is a filtered one
    coarse, *_ = previewer.run(EBMD(iterations=3, attenuation="given"), views.grid.box)
    assert coarse.label == "coarse"
    assert np.corrcoef(coarse.values.ravel(), truth.ravel())[0, 1] > 0.3


def test_files_of_transmissions_on_the_command_line_and_in_recipes(rng, tmp_path):
    truth, views = dimmed(rng)
    words = []
    for view in views:
        tifffile.imwrite(tmp_path / f"a_view_{view.name}.tif", view.data)
        tifffile.imwrite(tmp_path / f"light_{view.name}.tif", view.transmission)
        words += ["--view", f"{view.name}={tmp_path / f'a_view_{view.name}.tif'}"]
        words += ["--transmission", f"{view.name}={tmp_path / f'light_{view.name}.tif'}"]
    out = tmp_path / "fused.tif"
    run("fuse", *words, "--method", "average", "--set", "attenuation=given", "-o", out)
    np.testing.assert_allclose(np.asarray(open_volume(out)[0][:]), truth, rtol=1e-5)
    assert load_recipe(out).views[0].transmission_sha256
    again = tmp_path / "again.tif"
    run("fuse", "--recipe", out, "-o", again)
    np.testing.assert_array_equal(open_volume(again)[0][:], open_volume(out)[0][:])
    tifffile.imwrite(tmp_path / "light_90.tif", np.minimum(1, views[1].transmission * 1.01))
    err = run("fuse", "--recipe", out, "-o", tmp_path / "third.tif", code=2).stderr
    assert "transmission of view '90'" in err
    assert EBMD(attenuation="given") == make_method("ebmd", attenuation="given")
