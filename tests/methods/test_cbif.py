"""Average, CBIF and their weights: against the full-resolution formula, another package, and themselves in tiles."""

import numpy as np
import pytest
import torch
from multiview_stitcher.weights import content_based
from scipy import ndimage
from skimage.measure import shannon_entropy

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.methods import CBIF, METHODS, Average, make_method
from napari_mvfusion.methods.blending import blending_weights
from napari_mvfusion.methods.coarse import CoarseGrid
from napari_mvfusion.methods.content import (
    entropy_content,
    entropy_grid,
    gaussian_content,
    gaussian_grid,
)
from napari_mvfusion.simulation import embryo, simulate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recorded(quad_psfs):
    """An embryo of 96^3 voxels, recorded with the measured PSFs."""
    rng = np.random.default_rng(4)
    psfs = [prepare_psf(psf).psf for psf in quad_psfs.values()]
    return simulate(embryo(96, rng), list(quad_psfs), psfs, rng=rng).views


def content_by_formula(image, sigma1, sigma2):
    """Full resolution, float64, mirrored borders, as it is published."""
    image = image.astype(np.float64)
    local = ndimage.gaussian_filter(image, sigma1, mode="mirror", truncate=6)
    return ndimage.gaussian_filter((image - local) ** 2, sigma2, mode="mirror", truncate=6)


def fused_by_formula(pixels, weights):
    return (weights * pixels).sum(axis=0) / weights.sum(axis=0)


@pytest.fixture(scope="module")
def formula(recorded):
    """Content of the views by the formula, which takes a second for each."""
    return np.stack([content_by_formula(view, 20, 40) for view in recorded.read(recorded.grid.box)])


@pytest.fixture(scope="module")
def plain(recorded):
    """The views fused with the parameters that CBIF has by itself."""
    fused = fuse(recorded, CBIF()).data
    fused.flags.writeable = False
    return fused


def test_content_weights_are_those_of_the_formula(recorded, formula):
    grid = gaussian_grid(recorded, 20)
    content = drain(gaussian_content(recorded, grid, 20, 40, CPU))
    for v, expected in enumerate(formula):
        ours = grid.interpolate(torch.from_numpy(content[v].astype(np.float32)), recorded.grid.box).numpy()
        assert np.abs(ours / expected - 1).max() < 0.05


def test_the_fused_picture_is_that_of_the_formula(recorded, formula, plain):
    expected = fused_by_formula(recorded.read(recorded.grid.box), formula)
    assert np.abs(plain - expected).max() < 0.005 * np.ptp(expected)


def test_the_fused_picture_is_that_of_multiview_stitcher_away_from_the_borders(recorded, plain):
    pixels = recorded.read(recorded.grid.box)
    weights = content_based(pixels.copy(), np.ones_like(pixels), sigma_1=20, sigma_2=40)
    expected = fused_by_formula(pixels, weights)
    inner = (slice(20, -20),) * 3
    assert np.abs(plain - expected)[inner].max() < 0.02 * np.ptp(expected)
    assert np.abs(plain - pixels.mean(axis=0)).max() > 0.02 * np.ptp(expected), "the weights must matter"


@pytest.mark.parametrize("method", [Average(), CBIF(), CBIF(weights="entropy")], ids=["average", "cbif", "entropy"])
@pytest.mark.parametrize("tile", [(32, 48, 80), (17, 96, 33)])
def test_tiles_do_not_show(recorded, method, tile):
    whole = fuse(recorded, method).data
    tiled = fuse(recorded, method, tile=tile).data
    assert np.abs(whole - tiled).max() <= 1e-5 * np.ptp(whole)


def test_a_large_camera_offset_does_not_spoil_the_weights(recorded, plain):
    """Squares of large, almost equal numbers lose their digits in float32 unless the mean is taken off first."""
    lifted = RegisteredViews([View(np.asarray(v.data) + 50000, v.name) for v in recorded.views], recorded.grid)
    assert np.abs(fuse(lifted, CBIF()).data - 50000 - plain).max() < 0.01 * np.ptp(plain)


def test_the_scale_of_the_views_does_not_matter(recorded, plain):
    scaled = RegisteredViews([View(np.asarray(v.data) * 1e-6, v.name) for v in recorded.views], recorded.grid)
    assert np.abs(fuse(scaled, CBIF()).data * 1e6 - plain).max() < 1e-4 * np.ptp(plain)


def test_anisotropic_voxels_have_weights_of_the_same_size_in_micrometres(rng):
    """A volume with every third plane gives the weights of the full one at these planes."""
    fine = ndimage.gaussian_filter(rng.random((90, 60, 60)), 1.5).astype(np.float32)
    full = RegisteredViews([View(fine, "a")])
    thinned = RegisteredViews([View(fine[1::3], "a")], Grid((30, 60, 60), (3.0, 1.0, 1.0)))
    at_full, at_thinned = gaussian_grid(full, 10), gaussian_grid(thinned, 10)
    expected = drain(gaussian_content(full, at_full, 10, 20, CPU))[0]
    content = drain(gaussian_content(thinned, at_thinned, 10, 20, CPU))[0]
    a = at_full.interpolate(torch.from_numpy(expected.astype(np.float32)), full.grid.box)[1::3]
    b = at_thinned.interpolate(torch.from_numpy(content.astype(np.float32)), thinned.grid.box)
    assert float((b / a - 1).abs().max()) < 0.1


def test_entropy_is_that_of_the_window(recorded):
    """Oracle: scikit-image's entropy of the 19^3 voxels about some points."""
    grid = entropy_grid(recorded, 19)
    entropy = drain(entropy_content(recorded, grid, 19))
    pixels = recorded.read(recorded.grid.box)
    low, high = pixels.min(), pixels.max()
    levels = np.clip(np.floor((pixels - low) * (256 / (high - low))), 0, 255)
    for cell in [(9, 9, 9), (6, 10, 12), (12, 5, 8)]:
        middle = [int(grid.middles(axis)[cell[axis]]) for axis in range(3)]
        window = tuple(slice(m - 9, m + 10) for m in middle)
        for v in (0, 3):
            assert entropy[v][cell] == pytest.approx(shannon_entropy(levels[v][window]) / 8, abs=1e-5)


def test_a_view_without_detail_counts_little(rng):
    sharp = rng.random((64, 64, 64)).astype(np.float32)
    dull = ndimage.gaussian_filter(sharp, 6)
    views = RegisteredViews([View(sharp, "sharp"), View(dull, "dull")])
    fused = fuse(views, CBIF()).data
    assert np.abs(fused - sharp).max() < 0.01
    assert np.abs(fuse(views, Average()).data - (sharp + dull) / 2).max() < 1e-6


@pytest.mark.filterwarnings("ignore:view 'b' is .* times as bright:UserWarning")
def test_where_no_view_has_detail_it_is_the_mean_and_never_nan():
    first = np.zeros((64, 64, 64), np.float32)
    first[:8] = np.random.default_rng(0).random((8, 64, 64))
    views = RegisteredViews([View(first, "a"), View(first + 2, "b")])
    with pytest.warns(UserWarning, match="view 'b' is higher than the others by about 2 everywhere"):
        fused = fuse(views, CBIF(sigma1=2, sigma2=2)).data
    assert np.isfinite(fused).all()
    assert fused[50:] == pytest.approx(np.full((14, 64, 64), 1.0), abs=0.01)


def test_weights_of_the_user_count(rng):
    data = rng.random((2, 20, 20, 20)).astype(np.float32)
    views = RegisteredViews([View(data[0], "a", weight=3.0), View(data[1], "b")])
    assert np.abs(fuse(views, Average()).data - (3 * data[0] + data[1]) / 4).max() < 1e-6


def half_views(rng, shape=(40, 40, 40)):
    """Two views of one volume that overlap in the middle, placed by their affines."""
    truth = ndimage.gaussian_filter(rng.random(shape), 1).astype(np.float32)
    shifted = np.eye(4)
    shifted[0, 3] = 14
    return truth, RegisteredViews(
        [View(truth[:26], "low", affine=np.eye(4)), View(truth[14:], "high", affine=shifted)], Grid(shape)
    )


@pytest.mark.parametrize("method", [Average(), CBIF()], ids=["average", "cbif"])
def test_where_one_view_ends_the_other_takes_over_without_a_seam(rng, method):
    truth, views = half_views(rng)
    assert np.abs(fuse(views, method).data - truth).max() < 1e-4


def test_voxels_that_no_view_covers_are_zero(rng):
    truth, views = half_views(rng)
    far = RegisteredViews([views.views[0]], views.grid)
    with pytest.warns(UserWarning, match="only view 'low'"):
        fused = fuse(far, Average()).data
    assert (fused[26:] == 0).all()
    assert np.abs(fused[:26] - truth[:26]).max() < 1e-5


def test_blending_weights_follow_the_formula(rng):
    views = RegisteredViews([View(rng.random((50, 60, 70)), "a")])
    box = Box((0, 5, 10), (50, 55, 60))
    weights = np.broadcast_to(blending_weights(views, 0, box, range_voxels=12, border_voxels=-8), box.shape)
    for z, y, x in [(0, 0, 0), (3, 20, 30), (25, 25, 25), (49, 49, 49)]:
        expected = 1.0
        for position, dim in zip((z, y + 5, x + 10), (50, 60, 70), strict=True):
            t = min(position + 8, dim - 1 - position + 8) / 12
            expected *= 0 if t <= 0 else 1 if t >= 1 else (np.cos((1 - t) * np.pi) + 1) / 2
        assert weights[z, y, x] == pytest.approx(expected, abs=1e-6)


def test_interpolation_on_a_coarse_grid_is_linear_and_the_same_for_every_box():
    grid = CoarseGrid((23, 10, 41), (4, 1, 5))
    positions = [grid.middles(axis) for axis in range(3)]
    values = 2 * positions[0][:, None, None] + 3 * positions[1][None, :, None] - positions[2][None, None, :]
    whole = grid.interpolate(torch.from_numpy(values.astype(np.float32)), Box.whole((23, 10, 41))).numpy()
    index = np.clip(np.indices((23, 10, 41)), 0, None).astype(float)
    for axis in range(3):
        index[axis] = np.clip(index[axis], positions[axis][0], positions[axis][-1])
    assert np.abs(whole - (2 * index[0] + 3 * index[1] - index[2])).max() < 1e-4
    box = Box((5, 2, 17), (9, 3, 40))
    part = grid.interpolate(torch.from_numpy(values.astype(np.float32)), box).numpy()
    assert np.abs(part - whole[box.slices]).max() < 1e-5


def test_large_volumes_get_coarser_weights_but_never_too_coarse():
    huge = View(np.broadcast_to(np.float32(0), (4000, 4000, 4000)), "a")
    grid = gaussian_grid(RegisteredViews([huge]), 20)
    assert grid.step == (8, 8, 8)


def test_unknown_methods_and_bad_parameters_are_said_in_one_line():
    for arguments, words in [
        (("magic", {}), "choose one of average, cbif"),
        (("cbif", {"sigma": 3}), "has no parameter 'sigma': its parameters are weights, sigma1"),
        (("cbif", {"sigma1": -3}), "parameter 'sigma1' of method 'cbif' takes a number above 0, up to 500, not -3$"),
        (("cbif", {"weights": "best"}), "parameter 'weights' .* takes gaussian or entropy, not 'best'$"),
        (("ebmd", {"iterations": "abc"}), "takes a whole number from 1 to 1000, or auto, not 'abc'$"),
        (("ebmd", {"accelerated": "maybe"}), "takes true or false, not 'maybe'$"),
        (("generator", {"sha256": "zz"}), "takes what recipes hold, not 'zz'$"),
        (("generator", {"attenuation": "given"}), "belongs to average, cbif, wiener, ebmd: models .* estimate it$"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            make_method(arguments[0], **arguments[1])
        assert "\n" not in str(caught.value)
    assert make_method("cbif", sigma1="12.5").sigma1 == 12.5


def test_every_parameter_can_be_shown_to_a_person():
    for kind in METHODS.values():
        assert kind.title
        assert kind.summary.endswith(".")
        for field in kind.model_fields.values():
            assert field.title
            assert field.description
            assert field.description.endswith(".")


@pytest.mark.parametrize("count", [1, 10])
def test_one_view_or_ten_are_fused_with_a_word_of_warning(rng, count):
    views = RegisteredViews([View(rng.random((24, 24, 24)), str(i)) for i in range(count)])
    with pytest.warns(UserWarning, match="only view" if count == 1 else "10 views are more than the usual"):
        fused = fuse(views, CBIF(sigma1=4, sigma2=8)).data
    assert np.isfinite(fused).all()


def test_nothing_is_added_to_what_a_tile_may_take(recorded):
    bound = drain(CBIF().prepare(recorded, CPU))
    small, large = bound.working_bytes((32, 32, 32)), bound.working_bytes((64, 64, 64))
    assert 4 * 64**3 < large - small < 64 * 64**3


@pytest.mark.cuda
@pytest.mark.parametrize("method", [Average(), CBIF(), CBIF(weights="entropy")])
def test_the_gpu_gives_what_the_cpu_gives(recorded, method):
    cpu, gpu = fuse(recorded, method, device="cpu").data, fuse(recorded, method, device="cuda").data
    assert np.abs(cpu - gpu).max() < 1e-5 * np.ptp(cpu)


def test_what_lies_outside_a_field_counts_in_no_window() -> None:
    rng = np.random.default_rng(1)
    seen = np.ones((24, 24, 24), bool)
    seen[:9] = False
    pixels = rng.gamma(2.0, 50.0, (2, 24, 24, 24))
    contents = []
    for outside in (0.0, 70.0):
        first = View(np.where(seen, pixels[0], outside), "a", mask=seen)
        views = RegisteredViews([first, View(pixels[1], "b")])
        grid = entropy_grid(views, 7)
        contents.append(drain(entropy_content(views, grid, 7)))
    np.testing.assert_array_equal(contents[0], contents[1])
    low, high = (extreme([extreme(pixels[0][seen]), extreme(pixels[1])]) for extreme in (np.min, np.max))
    levels = np.clip(((pixels[0] - low) * 256 / (high - low)).astype(int), 0, 255)
    middles = [np.floor(grid.middles(axis)).astype(int) for axis in range(3)]
    for cell in ((0, 2, 3), (3, 5, 5), (4, 0, 7), (9, 6, 2)):
        middle = [along[at] for along, at in zip(middles, cell, strict=True)]
        window = tuple(slice(max(at - 3, 0), at + 4) for at in middle)
        inside = levels[window][seen[window]]
        wanted = shannon_entropy(inside, base=2) / 8 if inside.size else 0
        assert contents[0][0][cell] == pytest.approx(wanted, abs=1e-3)
