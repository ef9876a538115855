"""Previews of a region against runs on the whole volume, and cancelling in the middle of a step."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_mvfusion.data.events import Cancelled
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.imaging.threads import Interrupted, interruptible, share
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.methods import CBIF, EBMD, Average, LearnedFusion
from napari_mvfusion.methods.joint_wiener import JointWiener
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.simulation import light_sheet_psf, simulate
from small_models import SMALL, save

CPU = torch.device("cpu")
BOX = Box((24, 20, 16), (40, 60, 62))


def structured(seed, shape=(72, 80, 76)):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.random(shape, np.float32) ** 8, 1.5) * 1000 + 20


def two_views(shape=(72, 80, 76)):
    psfs = [light_sheet_psf(angle) for angle in (0, 90)]
    truth = structured(0, shape)
    return simulate(truth, (0, 90), psfs, snr=30, rng=np.random.default_rng(1)).views


class Counted:
    """An array that counts how often it is read."""

    def __init__(self, values):
        self.values, self.reads = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, index):
        self.reads += 1
        return self.values[index]


@pytest.mark.parametrize("kind", ["plain", "masked", "turned"])
def test_region_reads_what_the_whole_holds(kind):
    rng = np.random.default_rng(3)
    data = rng.random((20, 24, 22), np.float32)
    grid = Grid((20, 24, 22), (2.0, 1.0, 1.0), (5.0, 0.0, -3.0))
    turned = grid.affine @ np.array([[1, 0.1, 0, 1], [-0.1, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    view = View(
        data,
        "a",
        affine=turned if kind == "turned" else None,
        mask=rng.random(data.shape) > 0.3 if kind == "masked" else None,
    )
    views = RegisteredViews([view], grid)
    region = views.region(Box((3, 4, 5), (17, 20, 20)))
    again = region.region(Box((2, 1, 0), (9, 8, 7)))
    inner = (slice(None), slice(5, 12), slice(5, 12), slice(5, 12))
    np.testing.assert_array_equal(again.read(again.grid.box), views.read(grid.box)[inner])
    assert again.grid.origin_um == (5.0 + 2 * 5, 5.0, 2.0)
    for mine, whole in zip(again.positions(0, again.grid.box), views.positions(0, grid.box), strict=True):
        np.testing.assert_allclose(
            np.broadcast_to(mine, again.grid.shape), np.broadcast_to(whole, grid.shape)[inner[1:]], atol=1e-12
        )
    if kind == "plain":
        assert again.coverage(again.grid.box) is None
    else:
        np.testing.assert_array_equal(again.coverage(again.grid.box), views.coverage(grid.box)[inner])


@pytest.mark.parametrize(
    ("method", "rms", "worst"),
    [(Average(), 0, 0), (CBIF(sigma1=6, sigma2=8), 2e-3, 0.02), (EBMD(iterations=5), 3e-3, 0.03)],
    ids=lambda value: getattr(value, "name", None),
)
def test_preview_shows_what_the_run_will_give(method, rms, worst):
    views = two_views()
    whole = fuse(views, method).data
    *_, last = Previewer(views, CPU).run(method, BOX)
    assert last.final
    assert last.values.shape == BOX.shape
    difference = (last.values - whole[BOX.slices]) / np.percentile(whole, 99.9)
    assert np.sqrt(np.mean(difference**2)) <= rms
    assert np.abs(difference).max() <= worst


@pytest.mark.long
def test_preview_with_measured_psfs(monkeypatch):
    # However busy the computer is, the coarse picture is that of all the iterations it may show.
    monkeypatch.setattr("napari_mvfusion.engine.preview._COARSE_BY_S", math.inf)
    folder = os.environ.get("MVFUSION_TEST_DATA")
    if not folder:
        pytest.skip("MVFUSION_TEST_DATA does not name the folder with the measured PSFs")
    angles = (0, 90, 180, 270)
    psfs = [prepare_psf(Path(folder) / "psf" / "quad_view" / f"psf_{angle}.tif").psf for angle in angles]
    views = simulate(structured(4), angles, psfs, snr=25, rng=np.random.default_rng(2)).views
    method = EBMD(iterations=6)
    whole = fuse(views, method).data
    previewer = Previewer(views, CPU)
    filtered, *_, last = previewer.run(method, BOX)
    coarse, *_ = previewer.run(method, BOX)
    scale = np.percentile(whole, 99.9)
    assert (filtered.label, filtered.final) == ("Wiener filter", False)
    assert (coarse.label, coarse.final) == ("coarse", False)
    assert np.sqrt(np.mean((last.values - whole[BOX.slices]) ** 2)) < 0.005 * scale
    # Half the resolution is no more than a first look, but it shows the same structures.
    assert np.corrcoef(coarse.values.ravel(), whole[BOX.slices].ravel())[0, 1] > 0.8
    assert np.corrcoef(filtered.values.ravel(), whole[BOX.slices].ravel())[0, 1] > 0.9


def test_the_first_picture_of_the_wiener_method_is_its_own_filter_as_it_is_set():
    views = two_views()
    previewer = Previewer(views, CPU)
    for smoothness in (1.0, 8.0):
        first, *_ = previewer.run(JointWiener(smoothness=smoothness), BOX)
        *_, alone = previewer.run(JointWiener(smoothness=smoothness, iterations=1), BOX, coarse_first=False)
        assert (first.label, first.final, alone.final) == ("Wiener filter", False, True)
        np.testing.assert_array_equal(first.values, alone.values)


def test_quick_pictures_lie_where_the_full_one_does():
    spot = np.full((40, 40, 40), 1.0, np.float32)
    spot[19:23, 10:14, 28:31] = 100
    psf = light_sheet_psf(0)
    views = RegisteredViews([View(spot, str(v), psf=psf) for v in range(2)])
    previewer = Previewer(views, CPU)
    filtered, *_ = previewer.run(EBMD(iterations=4), views.grid.box)
    coarse, *_, full = previewer.run(EBMD(iterations=4), views.grid.box)
    for first in (filtered, coarse):
        centres = [ndimage.center_of_mass(np.maximum(p.values - 5, 0)) for p in (first, full)]
        np.testing.assert_allclose(centres[0], centres[1], atol=0.3)


def test_a_region_smaller_than_the_psf_is_fused_too():
    views = two_views()
    *_, last = Previewer(views, CPU).run(EBMD(iterations=2), Box((30, 30, 30), (33, 32, 31)))
    whole = fuse(views, EBMD(iterations=2)).data
    np.testing.assert_allclose(last.values, whole[30:33, 30:32, 30:31], rtol=0.05)


def test_pixels_are_read_once_for_each_kind_of_picture():
    views = two_views()
    counted = [Counted(np.asarray(view.data)) for view in views.views]
    watched = RegisteredViews(
        [View(data, view.name, psf=view.psf) for data, view in zip(counted, views.views, strict=True)]
    )
    previewer = Previewer(watched, CPU)
    for iterations in (1, 2):  # a filtered picture first, then a coarse one
        list(previewer.run(EBMD(iterations=iterations), BOX))
    reads = [data.reads for data in counted]
    list(previewer.run(EBMD(iterations=3, lambda_=0.1), BOX))
    assert [data.reads for data in counted] == reads


def test_preview_stops_where_the_run_would():
    views = two_views()
    *_, last = Previewer(views, CPU).run(EBMD(iterations=30, stop_at_change=0.05), BOX)
    assert last.final
    assert not last.label.startswith("iteration 30")


def test_cancelled_preview_ends_at_once():
    views = two_views()
    polls = []

    def cancel():
        polls.append(1)
        return len(polls) > 20

    with pytest.raises(Interrupted):
        list(Previewer(views, CPU).run(EBMD(iterations=40), BOX, cancel=cancel))


@pytest.mark.parametrize("share_done", [0.5, 1.0])
@pytest.mark.parametrize("model", ["small", "paper"])
def test_a_generator_is_cancelled_in_the_middle_of_its_pass(model, share_done, tmp_path, monkeypatch):
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path))
    save(tmp_path, model, SMALL if model == "small" else PaperArchitecture(views=2, feature_maps=2))
    previewer, method = Previewer(two_views((52, 52, 32)), CPU), LearnedFusion(model=model)
    box = Box((8, 8, 8), (24, 24, 24))
    polls = []
    list(previewer.run(method, box, cancel=lambda: polls.append(1) or False))
    assert len(polls) > 20
    last = int(share_done * len(polls))
    polls.clear()
    with pytest.raises(Interrupted):
        list(previewer.run(method, box, cancel=lambda: polls.append(1) or len(polls) >= last))
    # Threads that share out work each ask once more.
    assert last <= len(polls) <= last + torch.get_num_threads()


def test_work_stops_between_pieces():
    done = []
    with pytest.raises(Interrupted), interruptible(lambda: len(done) >= 3):
        share([slice(i, i + 1) for i in range(1000)], lambda: done.append)
    assert 3 <= len(done) < 3 + torch.get_num_threads() + 1
    share([slice(0, 1)], lambda: done.append)


def test_run_is_cancelled_in_the_middle_of_a_tile():
    views = two_views()
    asked = []

    def cancel():
        asked.append(1)
        return len(asked) > 40

    *_, last = fuse_events(views, EBMD(iterations=5), cancel=cancel)
    assert isinstance(last, Cancelled)
    # Polled far more often than once a tile, of which there is only one a stage.
    assert last.finished_tiles < 4
