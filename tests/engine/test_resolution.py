"""The resolution that a method reaches, from two halves of the light."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.engine.structured_part import structured_box
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.measures.fsc import resolution_of_halves
from napari_mvfusion.methods import EBMD, Average
from napari_mvfusion.simulation import sample


@pytest.fixture(scope="module")
def simulated():
    return sample("nuclei", 48)


def test_it_is_where_the_whole_agrees_with_the_truth_by_a_half(simulated):
    """What 1/7 between halves stands for (Rosenthal & Henderson): checked with the truth, which the halves never see."""
    found = find_resolution(simulated.views, Average(), device="cpu")
    fused = fuse(simulated.views, Average(), device="cpu").data
    with_truth = resolution_of_halves(np.asarray(fused), simulated.truth, simulated.views.grid)
    for halves, truth in zip(found.axes, with_truth.axes, strict=True):
        assert halves.outcome == "found"
        below = int(np.argmax(truth.correlation < 0.5))
        assert 1 / halves.period == pytest.approx(truth.frequency[below], abs=2.5 / 48)
    assert found.caution.startswith(
        "All views look along z: what deconvolution or a network fills in there is the same"
    )
    assert with_truth.caution == ""


def test_the_halves_of_dim_views_agree_on_less(simulated):
    rng = np.random.default_rng(3)
    views = simulated.views
    dim = views.with_data(rng.poisson(view.data / 40).astype(np.float32) for view in views.views)
    bright, less = (find_resolution(each, Average(), device="cpu").axes for each in (views, dim))
    for one, other in zip(bright, less, strict=True):
        assert other.outcome == "no signal" or other.period > 1.1 * one.period


def test_views_without_light_of_a_specimen_have_no_signal():
    rng = np.random.default_rng(5)
    views = RegisteredViews(
        [View(100 + 2.0 * rng.poisson(30, (32, 32, 32)) + rng.normal(0, 4, (32, 32, 32)), name) for name in "ab"]
    )
    assert {one.outcome for one in find_resolution(views, Average(), device="cpu").axes} == {"no signal"}


def test_views_in_their_places_have_transmissions_on_other_voxels(simulated):
    shape = simulated.views.grid.shape
    shift = np.diag([1.0, 1, 1, 1])
    shift[0, 3] = 4
    views = [
        replace(view, data=view.data[4:], affine=shift, transmission=np.ones(shape, np.float32))
        for view in simulated.views.views
    ]
    given, plain = Average(attenuation="given"), Average()
    found = find_resolution(RegisteredViews(views, simulated.views.grid), given, device="cpu")
    bare = [replace(view, transmission=None) for view in views]
    expected = find_resolution(RegisteredViews(bare, simulated.views.grid), plain, device="cpu")
    assert [axis.period for axis in found.axes] == pytest.approx([axis.period for axis in expected.axes])


def test_pixels_are_dealt_out_before_views_are_turned():
    """Noise that was interpolated is smooth: dealt out afterwards, halves of noise alone would seem to agree."""
    rng = np.random.default_rng(6)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[0.8, -0.6], [0.6, 0.8]]
    # About the middle of the view, which lies in the middle of the grid.
    turn[1:3, 3] = 20 - turn[1:3, 1:3] @ [40, 40]
    views = RegisteredViews(
        [
            View(200 + rng.poisson(100, (40, 80, 80)), "a", affine=turn, offset=200.0),
            View(200 + rng.poisson(100, (40, 40, 40)), "b", offset=200.0),
        ],
        Grid((40, 40, 40)),
    )
    assert views.coverage(views.grid.box).all()
    found = find_resolution(views, Average(), device="cpu")
    assert {one.outcome for one in found.axes} == {"no signal"}


def test_it_says_how_far_it_is_and_can_be_stopped(simulated):
    said = []
    box = Box((8, 8, 8), (40, 40, 40))
    method = EBMD(iterations=3)
    found = find_resolution(
        simulated.views, method, box=box, device="cpu", report=lambda text, share: said.append((text, share))
    )
    assert found.box == box
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert {"measuring the noise", "fusing half 1 of 2", "fusing half 2 of 2"} <= {text for text, _ in said}
    with pytest.raises(Interrupted):
        find_resolution(simulated.views, method, box=box, device="cpu", cancel=lambda: True)


def test_the_part_with_most_structure_that_all_views_saw_is_looked_at():
    rng = np.random.default_rng(7)
    pixels = np.full((40, 64, 300), 10.0)
    pixels[10:30, 20:44, 200:240] += 100 * rng.random((20, 24, 40))
    box = structured_box(RegisteredViews([View(pixels, "a"), View(pixels, "b")]), 60)
    assert box.shape == (40, 60, 60)
    assert box.start[2] <= 200
    assert box.stop[2] >= 240
    half_seen = np.ones(pixels.shape, bool)
    half_seen[:, :, 190:] = False
    pixels[10:30, 20:44, 40:80] += 20 * rng.random((20, 24, 40))
    box = structured_box(RegisteredViews([View(pixels, "a"), View(pixels, "b", mask=half_seen)]), 60)
    assert box.stop[2] <= 190
    small = RegisteredViews([View(pixels, "a")])
    assert structured_box(small, 300) == small.grid.box


def test_a_part_outside_the_volume_is_refused(simulated):
    with pytest.raises(InputError, match="empty"):
        find_resolution(simulated.views, Average(), box=Box((60, 0, 0), (70, 40, 40)), device="cpu")
