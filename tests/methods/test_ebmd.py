"""EBMD against its formula in float64, against multiview-stitcher, and in its properties."""

import sys
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage, signal

import warm_process
from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import WholeConvolver
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import method_of_recipe
from napari_mvfusion.methods.back_projection import back_projection_kernels
from napari_mvfusion.methods.base import TileInput
from napari_mvfusion.methods.blending import blending_weights
from napari_mvfusion.methods.ebmd import EBMD
from napari_mvfusion.simulation import light_sheet_psf, sample, simulate

CPU = torch.device("cpu")
KINDS = ("independent", "efficient_bayesian", "optimisation_1", "optimisation_2")


def specimen(shape, rng, spots=60, sigma=0.8):
    """Bright blobs on a dim ground, float32."""
    points = np.zeros(shape)
    places = tuple(rng.integers(2, n - 2, spots) for n in shape)
    points[places] = rng.random(spots) * 300
    return (ndimage.gaussian_filter(points, sigma) + 1).astype(np.float32)


def seen_through(truth, psfs, **options):
    """Views without noise of a specimen, borders mirrored."""
    padding = [[(n // 2, n // 2) for n in psf.shape] for psf in psfs]
    blurred = [
        signal.fftconvolve(np.pad(truth.astype(float), pad, mode="reflect"), psf, mode="valid")
        for psf, pad in zip(psfs, padding, strict=True)
    ]
    return RegisteredViews(
        [
            View(np.maximum(image, 0).astype(np.float32), f"v{i}", psf=psf, **options)
            for i, (image, psf) in enumerate(zip(blurred, psfs, strict=True))
        ]
    )


def asymmetric_psfs(rng, shapes):
    """PSFs without any symmetry, brightest in the centre, sum 1."""
    psfs = []
    for shape in shapes:
        psf = rng.random(shape) ** 2
        for axis, n in enumerate(shape):
            envelope = np.exp(-(((np.arange(n) - n // 2) / (0.3 * n)) ** 2))
            psf = psf * envelope.reshape([-1 if a == axis else 1 for a in range(3)])
        psf[tuple(n // 2 for n in shape)] = psf.max() * 1.5
        psfs.append(psf / psf.sum())
    return psfs


def bind(method, views, **changes):
    bound = drain(method.prepare(views, CPU))
    for name, value in changes.items():
        setattr(bound, name, value)
    return bound


def fuse(views, bound, tile=None, start=None):
    """The engine in a few lines: the estimate, and its relative change in every iteration."""
    shape = views.grid.shape
    boxes = TilePlan(shape, tile or shape).boxes
    estimate = begin = start
    changes = []
    for stage in bound.stages if start is None else bound.stages[1:]:
        parts = {box: bound.run(stage, tile_input(views, stage, box, estimate)) for box in boxes}
        estimate = parts[boxes[0]]
        if len(boxes) > 1:
            estimate = torch.empty(shape)
            for box, part in parts.items():
                estimate[box.slices] = part
        if stage.iteration:
            changes.append(float((estimate - begin).abs().sum() / begin.abs().sum()))
            if bound.converged(changes[-1]):
                break
        if stage.iteration or begin is None:
            begin = estimate
    return estimate, changes


def run_method(views, method):
    """The same by the engine, whatever it has to say about the PSFs."""
    *_, done = fuse_events(views, method, device="cpu")
    return done.fused


def tile_input(views, stage, box, estimate):
    view_box = box.grow(stage.view_halo).clip(views.grid.shape)
    values = torch.from_numpy(views.read(view_box, stage.views))
    coverage = views.coverage(view_box, stage.views)
    covered = None if coverage is None else torch.from_numpy(coverage)
    if stage.estimate_halo is None:
        return TileInput(box, view_box, values, covered, None, None)
    estimate_box = box.grow(stage.estimate_halo).clip(views.grid.shape)
    return TileInput(box, view_box, values, covered, estimate_box, estimate[estimate_box.slices])


def update_by_formula(psi, image, covered, psf, kernel, weight, lam, maximum, floor, light=1.0):
    """One update as the method is written down, in float64 and with direct convolutions."""
    blurred = ndimage.convolve(light * psi, psf, mode="mirror")
    ratio = np.where(covered, image / blurred, 1.0)
    new = psi * ndimage.convolve(ratio, kernel, mode="mirror")
    if lam:
        new = maximum * (np.sqrt(1 + 2 * lam * new / maximum) - 1) / lam
    return psi + weight * (np.maximum(new, floor) - psi)


def weights_by_formula(views, osem):
    trust = np.array([view.weight for view in views.views])
    blending = [
        trust[v] / trust.mean() * blending_weights(views, v, views.grid.box, range_voxels=12, border_voxels=-8)
        for v in range(len(views))
    ]
    return [np.minimum(1, osem * u / np.maximum(1, sum(blending))) for u in blending]


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_follow_their_formula(rng, kind):
    shapes = [(7, 3, 5), (3, 9, 5), (5, 5, 3)]
    psfs = [rng.random(shape) for shape in shapes]

    def middle(volume, shape):
        offset = [(n - m) // 2 for n, m in zip(volume.shape, shape, strict=True)]
        return volume[tuple(slice(o, o + m) for o, m in zip(offset, shape, strict=True))]

    for v, kernel in enumerate(back_projection_kernels(psfs, kind)):
        mine = psfs[v][::-1, ::-1, ::-1]
        others = [psfs[w] for w in range(3) if w != v]
        if kind == "independent":
            factors = []
        elif kind == "optimisation_2":
            factors = [mine] * 2
        elif kind == "optimisation_1":
            factors = [signal.convolve(mine, w, method="direct") for w in others]
        else:
            factors = [
                signal.convolve(signal.convolve(mine, w, method="direct"), w[::-1, ::-1, ::-1], method="direct")
                for w in others
            ]
        expected = reduce(np.multiply, [middle(factor, shapes[v]) for factor in factors], mine)
        assert kernel.dtype == np.float64
        assert kernel.shape == shapes[v]
        np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-9)


def test_kernels_of_measured_psfs_are_narrower_than_the_psfs(quad_psfs):
    psfs = list(quad_psfs.values())
    for psf, kernel in zip(psfs, back_projection_kernels(psfs, "efficient_bayesian"), strict=True):
        assert kernel.sum() == pytest.approx(1)
        for axis in range(3):
            across = tuple(a for a in range(3) if a != axis)
            offsets = np.arange(psf.shape[axis]) - psf.shape[axis] // 2
            width = [(p.sum(across) * offsets**2).sum() for p in (psf, kernel)]
            assert width[1] < width[0]


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_ten_views_neither_vanish_nor_blow_up(quad_psfs, kind):
    psfs = [psf[13:-13, 13:-13, 13:-13] for psf in [*quad_psfs.values()] * 3][:10]
    for kernel in back_projection_kernels(psfs, kind):
        assert kernel.sum() == pytest.approx(1)
        assert kernel.min() > -1e-9
        assert kernel.argmax() == pytest.approx(kernel.size // 2, abs=2 * 25**2)


def test_kernels_that_vanish_are_refused():
    here, there = np.zeros((5, 1, 1)), np.zeros((5, 1, 1))
    here[0] = there[4] = 1
    with pytest.raises(InputError, match="PSF 0 vanishes"):
        back_projection_kernels([here, there], "optimisation_1")


@pytest.mark.parametrize(("lam", "osem"), [(0.0, 1.0), (0.05, 1.0), (0.004, 2.5)])
def test_updates_follow_the_formula(rng, lam, osem):
    shape = (19, 16, 17)
    psfs = asymmetric_psfs(rng, [(7, 3, 5), (3, 9, 3), (5, 5, 5)])
    mask = np.ones(shape, bool)
    mask[:6, 3:9] = False
    views = seen_through(specimen(shape, rng), psfs)
    first, second, third = views.views
    views = RegisteredViews([replace(first, mask=mask), replace(second, weight=3.0), third])
    bound = bind(EBMD(iterations=2, lambda_=lam, osem=osem), views)
    start = torch.from_numpy(rng.random(shape, np.float32) * 3 + 0.5)
    estimate, _ = fuse(views, bound, start=start)

    psi = start.numpy().astype(float)
    kernels = back_projection_kernels(psfs, "efficient_bayesian")
    weights = weights_by_formula(views, osem)
    numbers = views.statistics()
    floor = 1e-4 * np.mean([n.mean for n in numbers])
    for _ in range(2):
        for v in range(3):
            image = views.read(views.grid.box, [v])[0]
            covered = mask if v == 0 else np.ones(shape, bool)
            psi = update_by_formula(
                psi, image, covered, psfs[v], kernels[v], weights[v], lam, numbers[v].maximum, floor
            )
    np.testing.assert_allclose(estimate.numpy(), psi, rtol=2e-5)


def test_accelerated_iterations_follow_the_formula(rng):
    """Start, updates and extrapolation in float64, against what the engine makes of them."""
    shape = (19, 16, 17)
    psfs = asymmetric_psfs(rng, [(7, 3, 5), (3, 5, 3)])
    views = seen_through(specimen(shape, rng), psfs)
    method = EBMD(iterations=6, lambda_=0.02)
    bound = bind(method, views)
    psi = bound.run(bound.stages[0], tile_input(views, bound.stages[0], views.grid.box, None)).numpy().astype(float)
    kernels = back_projection_kernels(psfs, "efficient_bayesian")
    weights, numbers = weights_by_formula(views, 1.0), views.statistics()
    floor = 1e-4 * np.mean([n.mean for n in numbers])
    before, steps, factors = psi, [], []
    for done in range(6):
        ratio = steps[-1] / steps[-2] if done > 1 else 0.0
        factors.append(min(done / (done + 3), ratio))
        start = np.maximum(psi + factors[-1] * (psi - before), floor)
        before, psi = psi, start
        for v in range(2):
            image = views.read(views.grid.box, [v])[0]
            psi = update_by_formula(psi, image, True, psfs[v], kernels[v], weights[v], 0.02, numbers[v].maximum, floor)
        steps.append(np.linalg.norm(psi - start))
    assert min(factors[2:]) > 0.3, "steps shrink, and not by much"
    found = run_method(views, method)
    np.testing.assert_allclose(found.data, psi, rtol=1e-4)
    assert np.abs(run_method(views, method.model_copy(update={"accelerated": False})).data - psi).max() > 0.1


def test_the_preset_of_the_paper_is_what_it_was(rng):
    """Plain iterations as they were before there were accelerated ones, voxel by voxel, and in the words of old recipes."""
    views = seen_through(specimen((19, 16, 17), rng), asymmetric_psfs(rng, [(7, 3, 5), (3, 5, 3)]))
    paper = EBMD(**EBMD.presets["Paper"])
    assert (paper.iterations, paper.lambda_, paper.accelerated, paper.attenuation) == (48, 0.004, False, "none")
    short = paper.model_copy(update={"iterations": 5})
    made = run_method(views, short)
    by_stages, changes = fuse(views, bind(short, views))
    np.testing.assert_array_equal(made.data, by_stages)
    assert made.changes == pytest.approx(changes, rel=1e-5)
    said = made.recipe["method"]["parameters"]
    assert not {"accelerated", "attenuation"} & set(said)
    assert method_of_recipe("ebmd", said) == short
    assert method_of_recipe("ebmd", EBMD().model_dump(mode="json", by_alias=True)) == EBMD()


def dimmed(shape, psf_side, rng):
    """Two views of a specimen that takes much of the light, with modelled PSFs; float32 by the simulator."""
    psfs = [light_sheet_psf(a, axial_fwhm=4, lateral_fwhm=2, shape=(psf_side,) * 3) for a in (0, 90)]
    return simulate(specimen(shape, rng, sigma=2), (0, 90), psfs, attenuation=0.03, snr=60, rng=rng).views


def test_attenuated_updates_follow_the_formula(rng):
    """The estimate is dimmed before it is blurred, and a view counts by the share of the light that it got."""
    shape = (20, 24, 22)
    first, second = dimmed(shape, 7, rng).views
    mask = np.ones(shape, bool)
    mask[:, 20:] = False
    second = replace(second, weight=3.0, mask=mask)
    views = RegisteredViews([first, second])
    bound = bind(EBMD(iterations=2, osem=1.4), views)
    light = find_transmission(views).over(views.grid.box, CPU).numpy().astype(float)
    assert light.max() > 1.3 * light.min()
    trust = np.array([0.5, 1.5])[:, None, None, None]
    share = light / (trust * light).mean(axis=0)
    psfs = [view.psf / view.psf.sum() for view in views.views]
    kernels = back_projection_kernels(psfs, "efficient_bayesian")
    weights = [np.minimum(1, w * s) for w, s in zip(weights_by_formula(views, 1.4), share, strict=True)]
    numbers = views.statistics()
    floor = 1e-4 * np.mean([n.mean for n in numbers])
    start = torch.from_numpy(rng.random(shape, np.float32) * 3 + 0.5)
    psi = start.numpy().astype(float)
    for _ in range(2):
        for v in range(2):
            image = views.read(views.grid.box, [v])[0]
            covered = mask if v else True
            psi = update_by_formula(
                psi, image, covered, psfs[v], kernels[v], weights[v], 0.02, numbers[v].maximum, floor, light[v]
            )
    estimate, _ = fuse(views, bound, start=start)
    np.testing.assert_allclose(estimate.numpy(), psi, rtol=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_specimen_that_explains_its_attenuated_views_is_left_as_it_is(rng, kind):
    """Views without noise, made by the model with transmissions that are given."""
    shape = (17, 16, 18)
    truth = specimen(shape, rng, sigma=1.5)
    psfs = asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)])
    views = []
    for axis, psf in enumerate(psfs):
        passed = np.linspace(0.2, 1, shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        passed = np.broadcast_to(passed, shape)
        image = seen_through(truth * passed, [psf]).views[0]
        views.append(replace(image, name=f"v{axis}", transmission=passed))
    views = RegisteredViews(views)
    start = torch.from_numpy(truth)
    same, _ = fuse(views, bind(EBMD(kernel=kind, iterations=3, lambda_=0, attenuation="given"), views), start=start)
    np.testing.assert_allclose(same, truth, rtol=2e-5)
    other, _ = fuse(views, bind(EBMD(kernel=kind, iterations=3, lambda_=0, attenuation="none"), views), start=start)
    assert np.abs(other.numpy() / truth - 1).max() > 0.2


def test_attenuated_tiles_equal_the_whole(rng):
    """Transmissions are interpolated between cells of two voxels, at the same places in every tile and region."""
    shape = (44, 41, 46)
    views = dimmed(shape, 9, rng)
    views.statistics()
    assert find_transmission(views).cell == 2
    method = EBMD(iterations=2)
    whole, _ = fuse(views, bind(method, views))
    tiled, _ = fuse(views, bind(method, views), (15, 41, 13))
    assert float((tiled - whole).abs().max()) < 1e-5 * float(whole.max() - whole.min())
    box = Box((8, 10, 12), (36, 34, 40))
    part = views.region(box, views.statistics())
    inner = tuple(slice(9, -9) for _ in range(3))
    near = fuse(part, bind(EBMD(iterations=1), part))[0][inner]
    far = fuse(views, bind(EBMD(iterations=1), views))[0][box.slices][inner]
    assert float((near - far).abs().max()) < 0.05 * float(far.max() - far.min())
    bound = bind(method, views)
    assert bound.working_bytes(shape) > bind(EBMD(iterations=2, attenuation="none"), views).working_bytes(shape)


def test_allowing_for_lost_light_helps_and_does_not_harm():
    psfs = [light_sheet_psf(a, axial_fwhm=7, lateral_fwhm=2.5, shape=(13, 13, 13)) for a in (0, 180)]

    def nrmse(attenuation, absorbed):
        made = sample("embryo", 40, 1, angles=(0, 180), psfs=psfs, attenuation=absorbed)
        fused = run_method(made.views, EBMD(iterations=8, attenuation=attenuation))
        return evaluate(fused.data, made.truth).all.nrmse

    assert nrmse("estimated", 0.015) < 0.9 * nrmse("none", 0.015)
    assert nrmse("estimated", 0.0) < 1.01 * nrmse("none", 0.0)


def test_start_is_the_smoothed_weighted_mean(rng):
    shape = (50, 44, 47)
    views = seen_through(specimen(shape, rng), asymmetric_psfs(rng, [(3, 3, 3)] * 2))
    views = RegisteredViews([views.views[0], replace(views.views[1], weight=4.0)])
    bound = bind(EBMD(), views)
    start = bound.run(bound.stages[0], tile_input(views, bound.stages[0], views.grid.box, None))
    mean = np.average(views.read(views.grid.box), axis=0, weights=[1, 4]).astype(float)
    np.testing.assert_allclose(start, ndimage.gaussian_filter(mean, 5, mode="mirror"), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_multiview_stitcher(rng, quad_psfs, kind):
    """Away from borders: that package fills in 1 there. Its weights enter before the back-projection, which for
    constant weights without Tikhonov is the same; PSFs in a margin of zeros keep it from cutting its kernels short.
    Its optimisation 1 is turned upside down, which does not matter to PSFs with point symmetry."""
    from multiview_stitcher.fusion import mv_deconv

    psfs = [quad_psfs[0][22:29, 23:28, 23:28], quad_psfs[90][23:28, 22:29, 23:28]]
    psfs = [psf.astype(float) / psf.sum(dtype=float) for psf in psfs]
    if kind == "optimisation_1":
        psfs = [(psf + np.flip(psf)) / 2 for psf in psfs]
    names = {"optimisation_1": "OPTIMIZATION_I", "optimisation_2": "OPTIMIZATION_II"}
    shape = (34, 30, 28)
    views = seen_through(specimen(shape, rng), psfs)
    images = views.read(views.grid.box)
    theirs = mv_deconv.multi_view_deconvolution(
        images,
        np.full((2, *shape), 0.5, np.float32),
        psfs=[np.pad(psf, [((13 - n) // 2,) * 2 for n in psf.shape]) for psf in psfs],
        psf_type=names.get(kind, kind.upper()),
        n_iterations=3,
        lambda_reg=0.0,
    )
    bound = bind(EBMD(kernel=kind, iterations=3, lambda_=0), views)
    ours = fuse(views, bound, start=torch.from_numpy(images.mean(axis=0)))[0].numpy()
    inner = tuple(slice(9, -9) for _ in range(3))
    ours, theirs = ours[inner].ravel(), theirs[inner].ravel()
    fitted = ours * (ours @ theirs) / (ours @ ours)
    assert np.abs(fitted - theirs).max() < 3e-4 * np.ptp(theirs)


@pytest.mark.parametrize("tile", [(23, 20, 46), (15, 41, 13), (5, 41, 46)])
def test_tiled_equals_whole_with_measured_psfs(rng, quad_psfs, tile):
    """The last tiles are thinner than the halo, which is 30 voxels along the axis of a view."""
    shape = (44, 41, 46)
    views = seen_through(specimen(shape, rng), [quad_psfs[angle][8:-8, 8:-8, 8:-8] for angle in (0, 90)])
    mask = np.ones(shape, bool)
    mask[:, 30:] = False
    views = RegisteredViews([replace(views.views[0], mask=mask), views.views[1]])
    method = EBMD(iterations=2)
    whole, changes = fuse(views, bind(method, views))
    tiled, tiled_changes = fuse(views, bind(method, views), tile)
    assert float((tiled - whole).abs().max()) < 1e-5 * float(whole.max() - whole.min())
    np.testing.assert_allclose(tiled_changes, changes, rtol=1e-4)


def test_tiled_equals_whole_where_views_lie_askew(rng):
    """Views with affines of their own: coverage, blending and resampling differ from tile to tile."""
    grid = Grid((26, 30, 28))
    psfs = asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)])
    turned = np.array([[0.9, -0.3, 0, 6], [0.3, 0.9, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1]])
    data = [specimen((24, 28, 24), rng) for _ in psfs]
    views = RegisteredViews(
        [
            View(data[0], "straight", psf=psfs[0], affine=np.eye(4)),
            View(data[1], "askew", psf=psfs[1], affine=turned),
        ],
        grid,
    )
    method = EBMD(iterations=3, lambda_=0.01, osem=1.5)
    whole, _ = fuse(views, bind(method, views))
    tiled, _ = fuse(views, bind(method, views), (9, 30, 11))
    assert torch.isfinite(whole).all()
    assert float((tiled - whole).abs().max()) < 1e-5 * float(whole.max() - whole.min())


def test_slabs_equal_whole_tensors(rng, quad_psfs):
    """The path of GPUs, here on the CPU."""
    views = seen_through(specimen((40, 36, 44), rng), [quad_psfs[angle][5:-5, 5:-5, 5:-5] for angle in (0, 90)])
    method = EBMD(iterations=2)
    slabs, _ = fuse(views, bind(method, views))
    whole, _ = fuse(views, bind(method, views, _convolver=WholeConvolver()))
    assert float((slabs - whole).abs().max()) < 1e-5 * float(whole.max() - whole.min())


def test_recovers_a_specimen_from_measured_blur(rng, quad_psfs):
    shape = (56, 56, 56)
    truth = specimen(shape, rng, sigma=1.5)
    views = seen_through(truth, list(quad_psfs.values()))

    def error(volume):
        scale = float((volume * truth).sum() / (volume * volume).sum())
        return float(np.sqrt(np.mean((scale * volume - truth) ** 2)))

    estimate, changes = fuse(views, bind(EBMD(iterations=12, lambda_=0), views))
    assert error(estimate.numpy()) < 0.75 * error(views.read(views.grid.box).mean(axis=0))
    assert all(later < earlier for earlier, later in pairwise(changes))


def test_the_result_scales_with_the_views(rng):
    truth = specimen((20, 18, 22), rng)
    psfs = asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)])
    views = seen_through(truth, psfs)
    brighter = RegisteredViews([replace(view, data=view.data * 64) for view in views.views])
    method = EBMD(iterations=3, lambda_=0.05)
    torch.testing.assert_close(
        fuse(brighter, bind(method, brighter))[0], 64 * fuse(views, bind(method, views))[0], rtol=1e-5, atol=0
    )


def test_dark_voxels_stay_at_the_floor(rng):
    shape = (20, 20, 20)
    data = np.zeros(shape, np.float32)
    data[9:12, 9:12, 9:12] = 1e4
    psfs = asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)])
    views = RegisteredViews([View(data, f"v{i}", psf=psf) for i, psf in enumerate(psfs)])
    estimate, _ = fuse(views, bind(EBMD(iterations=20), views))
    floor = 1e-4 * float(data.mean())
    assert torch.isfinite(estimate).all()
    # Blending weights below 1 approach the floor from above.
    assert float(estimate.min()) >= floor * (1 - 1e-6)
    assert float(estimate[:4].max()) < 1e-3 * 1e4


def test_nothing_that_was_given_or_returned_is_written_to(rng):
    views = seen_through(specimen((18, 20, 16), rng), asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)]))
    bound = bind(EBMD(iterations=2), views)
    estimate, kept = None, []
    for stage in bound.stages:
        tile = tile_input(views, stage, views.grid.box, estimate)
        values = tile.values.clone()
        estimate = bound.run(stage, tile)
        torch.testing.assert_close(tile.values, values, rtol=0, atol=0)
        kept.append((estimate, estimate.clone()))
    for returned, copy in kept:
        torch.testing.assert_close(returned, copy, rtol=0, atol=0)


def test_release_changes_nothing(rng):
    views = seen_through(specimen((18, 20, 16), rng), asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)]))
    bound = bind(EBMD(iterations=1), views)
    first, _ = fuse(views, bound)
    bound.release()
    second, _ = fuse(views, bound)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_stops_when_the_change_is_small(rng):
    views = seen_through(specimen((18, 20, 16), rng), asymmetric_psfs(rng, [(5, 3, 3), (3, 5, 3)]))
    _, changes = fuse(views, bind(EBMD(iterations=30, stop_at_change=0.02), views))
    assert 1 < len(changes) < 30
    assert changes[-1] < 0.02 <= changes[-2]


def test_stages_tell_what_they_do(rng):
    views = seen_through(specimen((18, 20, 16), rng), asymmetric_psfs(rng, [(5, 3, 7), (3, 5, 3)]))
    stages = bind(EBMD(iterations=2), views).stages
    assert [stage.iteration for stage in stages] == [0, 0, 1, 0, 2]
    assert [stage.views for stage in stages] == [(0, 1), (0,), (1,), (0,), (1,)]
    assert stages[3].label == "iteration 2 of 2, view v0"
    assert stages[1].view_halo == (2, 1, 3)
    assert stages[1].estimate_halo == (4, 2, 6)


def test_parameters_have_the_names_of_the_paper():
    assert EBMD(**{"lambda": 0.1}) == EBMD(lambda_=0.1)
    assert EBMD().model_dump(mode="json", by_alias=True)["lambda"] == 0.02
    assert EBMD().iterations == "auto"
    assert EBMD(iterations="7").iterations == 7
    for wrong in ({"iterations": 0}, {"lambda": -1}, {"kernel": "best"}, {"osem": 0}, {"lamda": 1}):
        with pytest.raises(ValidationError):
            EBMD(**wrong)
    for field in EBMD.model_fields.values():
        assert field.title
        assert field.description


def views_of(shape=(20, 20, 20), psf_shape=(3, 3, 3), count=2, **options):
    """Views whose PSFs have a margin of one zero, as PSFs should have."""
    rng = np.random.default_rng(5)
    psfs = [np.pad(psf, 1) for psf in asymmetric_psfs(rng, [psf_shape] * count)]
    return RegisteredViews([View(specimen(shape, rng), f"{90 * i}", psf=psf, **options) for i, psf in enumerate(psfs)])


def test_bad_views_and_psfs_are_named():
    good = views_of()
    assert EBMD().check(good) == []
    unscaled = [replace(view, psf=view.psf * 289) for view in good.views]
    assert EBMD().check(RegisteredViews(unscaled)) == []
    first, second = good.views
    with pytest.raises(InputError, match=r"view '90' has no PSF.*psf_90\.tif"):
        EBMD().check(RegisteredViews([first, replace(second, psf=None)]))
    with pytest.raises(InputError, match=r"'90'.*\(61, 3, 3\).*\(20, 20, 20\).*crop"):
        EBMD().check(RegisteredViews([first, *views_of(psf_shape=(61, 3, 3)).views[1:]]))
    with pytest.raises(InputError, match="'90'"):
        EBMD().check(RegisteredViews([first, replace(second, psf=second.psf[:-1])]))
    with pytest.raises(InputError, match="'90'"):
        EBMD().check(RegisteredViews([first, replace(second, psf=second.psf * np.nan)]))
    with pytest.raises(InputError, match=r"'90'.*-3.*camera offset"):
        bind(EBMD(), RegisteredViews([first, replace(second, data=second.data - 4)]))
    with pytest.raises(InputError, match=r"'90'.*7 everywhere"):
        bind(EBMD(), RegisteredViews([first, replace(second, data=np.full((20, 20, 20), 7))]))


def test_one_view_is_a_plain_deconvolution():
    views = views_of(count=1)
    assert "plain deconvolution" in EBMD().check(views)[0]
    estimate, _ = fuse(views, bind(EBMD(iterations=3), views))
    assert torch.isfinite(estimate).all()


_PEAK = """
import sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from test_ebmd import bind, tile_input
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.methods.ebmd import EBMD
from napari_mvfusion.data.views import RegisteredViews, View
torch.set_num_threads(2)
rng = np.random.default_rng(1)
def views_of(shape):
    psf = rng.random((17, 9, 9)); psf[8, 4, 4] = 10
    data = [rng.random(shape, np.float32) for _ in range(4)]
    return RegisteredViews([View(d, str(i), psf=psf / psf.sum()) for i, d in enumerate(data)])
def resident(what):
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status[what].split()[0]) * 1024
def run(bound, views, box):
    estimate = torch.ones(views.grid.shape)
    inputs = [tile_input(views, stage, box, estimate) for stage in bound.stages]
    before = resident("VmRSS")
    for stage, tile in zip(bound.stages, inputs):
        bound.run(stage, tile)
    return resident("VmHWM") - before
small = views_of((40, 40, 40))
run(bind(EBMD(iterations=1), small), small, small.grid.box)  # libraries set themselves up
shape = (140, 136, 150)
views = views_of(shape)
for tile in ((96, 80, 100), shape):
    bound = bind(EBMD(iterations=1), views)
    start = tuple((n - t) // 2 for n, t in zip(shape, tile))
    print(run(bound, views, Box(start, tuple(a + t for a, t in zip(start, tile)))), bound.working_bytes(tile))
    bound.release()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
@pytest.mark.long
def test_memory_stays_within_the_stated_bound(request):
    """In a process of its own, for a tile in the middle and for the whole volume."""
    done = warm_process.run(_PEAK, request.path.parent)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        used, bound = (int(number) for number in line.split())
        assert 0.3 * bound < used < bound


def test_a_wider_tile_needs_more_memory():
    bound = bind(EBMD(), views_of((60, 60, 60)))
    sizes = [bound.working_bytes((n, n, n)) for n in (8, 16, 32, 60)]
    assert sizes == sorted(sizes)
    assert Box.whole((60, 60, 60)).size * 4 < sizes[-1]


def long_psf(share):
    """A PSF of 45 planes, that share of whose light lies beyond the middle 15, as faint tails."""
    psf = np.zeros((45, 5, 5))
    psf[:, 2, 2] = share / 30
    core = ndimage.gaussian_filter1d(np.eye(1, 15, 7)[0], 1.5)
    psf[15:30, 2, 2] = (1 - share) * core / core.sum()
    return ndimage.gaussian_filter(psf, (0, 0.7, 0.7)).astype(np.float32)


def test_a_psf_whose_tails_alone_reach_beyond_the_volume_is_used_and_that_is_said(rng):
    data = rng.random((16, 20, 24), np.float32) + 1
    views = [View(data, "left", psf=long_psf(0.04)), View(data[::-1].copy(), "right", psf=long_psf(0))]
    method = EBMD(iterations=3)
    said = method.check(RegisteredViews(views))
    assert [note for note in said if "spans (45, 5, 5) voxels" in note and "4.0% of its light lies beyond" in note]
    assert not [note for note in said if isinstance(note, Statement) and "spans" in note]
    faint = RegisteredViews([replace(views[0], psf=long_psf(0.004), psf_source="psf_left.tif"), views[1]])
    (note,) = [note for note in method.check(faint) if "0.4% of its light lies beyond" in note]
    assert isinstance(note, Statement), "too little to warn of"
    assert note.startswith("the PSF of view 'left' (psf_left.tif) spans")
    cut = [replace(view, psf=view.psf[15:30]) for view in views]
    whole, without = (
        fuse(each, drain(method.prepare(each, CPU)))[0].numpy() for each in map(RegisteredViews, (views, cut))
    )
    assert np.abs(whole - without).max() < 0.1 * without.mean(), "4 % of the light change little"
    with pytest.raises(InputError, match="30% of its light lies beyond: crop the PSF, or fuse a larger volume"):
        method.check(RegisteredViews([replace(views[0], psf=long_psf(0.3)), views[1]]))
