"""Learning from one's own views: which tiles, what the losses are, and what reaches whom."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.cellwise_filter import network_input_of
from napari_mvfusion.models import build
from napari_mvfusion.models.paper import PaperGenerator
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.simulation import sample as simulated
from napari_mvfusion.training.adversarial import SemiSupervised, WithSharp, make_discriminator, stretched
from napari_mvfusion.training.config import LossWeights, TrainConfig
from napari_mvfusion.training.held_out import check_blocks, split_tiles
from napari_mvfusion.training.own_views import OwnViews, blocks_in, check_tile, describe_psfs
from napari_mvfusion.training.resimulation import simulate_recording
from napari_mvfusion.training.self_supervised import Reprojector, ScoreViews, SelfSupervised, squared_gradient
from napari_mvfusion.training.sharp import read_sharp
from napari_mvfusion.training.training_samples import (
    Recording,
    TrainingSample,
    TrainingVolume,
    cut,
    run_network,
    upright,
)
from small_training import CPU, OWN, PAPER, UNIVERSAL, own_views, psf

pytestmark = pytest.mark.usefixtures("one_thread")


class Fixed(PaperGenerator):
    """A network that gives one volume, whatever it sees."""

    def __init__(self, values):
        super().__init__(PAPER)
        self.values = torch.from_numpy(values).float()[None, None]

    def forward(self, views):
        return self.values


NOISE = (Noise(0.02, 1e-4), Noise(0.0, 4e-4))


def ready(views, **changes):
    """A source that has read its views."""
    source = OwnViews(TrainConfig.model_validate(OWN | changes), [views], CPU)
    drain(source.begin(0))
    return source


def tile_of(rng, shape=(20, 16, 16), coverage=None, noise=NOISE):
    """Views and a guess of what they show, of a recording with two PSFs that are no mirror images of themselves."""
    kernels = []
    for axis in (0, 1):
        kernel = psf(axis, 5) * (1 + 0.3 * rng.random((5, 5, 5)))
        kernels.append((kernel / kernel.sum()).astype(np.float32))
    arrays = {"views": rng.random((2, *shape)).astype(np.float16)}
    if coverage is not None:
        arrays["coverage"] = coverage.astype(np.float16)
    return TrainingVolume(arrays, 1.0, 1.0, Recording(("a", "b"), tuple(kernels), noise))


def blurred(latent, kernel):
    """float64, zero outside; the valid part and its slices."""
    values = ndimage.convolve(latent.astype(np.float64), kernel.astype(np.float64), mode="constant")
    inner = tuple(slice(n // 2, -(n // 2)) for n in kernel.shape)
    return values[inner], inner


# --- which tiles


@given(
    shapes=st.lists(st.tuples(*[st.integers(16, 70)] * 3), min_size=1, max_size=3),
    tile=st.tuples(*[st.sampled_from([16, 20, 32])] * 3),
    count=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_tiles_that_are_held_out_touch_none_that_is_trained_on(shapes, tile, count, seed):
    rng = np.random.default_rng(seed)
    blocks = [rng.random(shape) for shape in shapes]
    if not any(min(s // t for s, t in zip(shape, tile, strict=True)) for shape in shapes):
        with pytest.raises(InputError, match=r"choose a smaller tile \(--tile, tile=\), or a larger region"):
            split_tiles(blocks, tile, count)
    # Two tiles lie beside each other, or in different blocks.
    room = [
        max(s // t for s, t in zip(shape, tile, strict=True)) for shape in shapes if np.all(np.array(shape) >= tile)
    ]
    enough = len(room) > 1 or max(room, default=0) > 1
    with nullcontext() if enough else pytest.raises(InputError, match="can be held out of"):
        check_blocks(shapes, tile)
    assume(enough)
    split = split_tiles(blocks, tile, count)
    assert 1 <= len(split.held_out) <= count
    assert len(split.corners) > 0
    for b, box in split.held_out:
        assert box == box.clip(shapes[b])
        assert box.shape == tile
        starts = split.corners[split.corners[:, 0] == b, 1:]
        assert not (np.abs(starts - box.start) < tile).all(axis=1).any()
    for (b, *corner), light in list(zip(split.corners, split.light, strict=True))[:5]:
        part = blocks[b][tuple(slice(a, a + n) for a, n in zip(corner, tile, strict=True))]
        assert part.shape == tile
        assert light == pytest.approx(part.mean(), abs=1e-5)


def test_volumes_that_are_too_small_are_refused_before_they_are_prepared():
    views, _ = own_views()
    source = OwnViews(TrainConfig.model_validate(OWN | {"tile": (32, 32, 32)}), [views], CPU)
    reports = []
    with pytest.raises(InputError, match="no tile of 32 x 32 x 32 voxels can be held out of 40 x 32 x 32 voxels"):
        reports.extend(source.begin(0))
    assert "preparing the views" not in [report.label for report in reports]


def test_the_tiles_of_a_step_are_never_held_out_and_depend_on_the_step_alone():
    views, _ = own_views()
    source, again = ready(views, batch=3), ready(views, batch=3)
    (held,) = [box for _, box in source.split.held_out]
    recorded = source.volumes[0].arrays["views"]
    allowed = {
        recorded[(..., *Box(tuple(c), tuple(c + 16)).slices)].tobytes()
        for _, *c in source.split.corners.astype(int)
        for c in [np.array(c)]
    }
    validation = source.validation()[0].arrays["views"]
    assert validation.tobytes() == recorded[(..., *held.slices)].tobytes()
    assert validation.tobytes() not in allowed
    for step in range(10):
        for sample, twin in zip(source.draw(step), again.draw(step), strict=True):
            values = upright(sample.tensors["views"], sample)[0].numpy().astype(np.float16)
            assert np.ascontiguousarray(values).tobytes() in allowed
            assert torch.equal(sample.tensors["views"], twin.tensors["views"])


def test_a_region_is_read_as_the_whole_volume_is():
    views, _ = own_views((44, 36, 36))
    whole = network_input_of(views, UniversalArchitecture.model_validate(OWN["architecture"]), CPU)
    source = ready(views, data={"start": (9, 4, 0), "stop": (44, 36, 24)})
    (volume,) = source.volumes
    assert volume.scale == whole.scale
    assert volume.shape == (36, 32, 24)
    for name, values in volume.arrays.items():
        expected = getattr(whole, name)[..., 8:44, 4:36, :24]
        # Stored as float16, whose rounding is relative.
        np.testing.assert_allclose(values, expected.numpy(), rtol=2**-11, atol=2e-3)


class Counting:
    """An array that notes how much of it is held at once."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.largest = 0

    def __getitem__(self, index):
        part = self.values[index]
        self.largest = max(self.largest, part.size)
        return part


def test_large_volumes_are_represented_by_their_most_informative_blocks():
    views, _ = own_views((32, 32, 96))
    pixels = [view.data.copy() for view in views.views]
    for values in pixels:
        values[..., :32] = values.mean()
    counted = [Counting(values) for values in pixels]
    lazy = RegisteredViews([replace(view, data=c) for view, c in zip(views.views, counted, strict=True)])
    lazy.statistics()
    for each in counted:
        each.largest = 0
    source = ready(lazy, data={"whole_below": 1000, "blocks": 2, "side": 32})
    assert [volume.shape for volume in source.volumes] == [(32, 32, 32)] * 2
    dark = np.float16(pixels[0][0, 0, 0] / source.volumes[0].scale)
    assert not any((volume.arrays["views"][0] == dark).all() for volume in source.volumes)


def test_the_edge_of_a_field_is_no_detail():
    views, _ = own_views((32, 32, 64))
    pixels = [view.data.copy() for view in views.views]
    mask = np.ones((32, 32, 64), bool)
    mask[:, :, :16] = False
    for values in pixels:
        # Bright and plain where one of the views ends, structure elsewhere.
        values[..., :32] = 3 * values.max()
    first = np.where(mask, pixels[0], 0)
    ending = [replace(views.views[0], data=first, mask=mask), replace(views.views[1], data=pixels[1])]
    source = ready(RegisteredViews(ending), data={"whole_below": 1000, "blocks": 1, "side": 32})
    (volume,) = source.volumes
    assert volume.arrays["coverage"].all()
    assert volume.arrays["views"].std() > 0.1 * volume.arrays["views"].mean()


@pytest.mark.parametrize("architecture", [UNIVERSAL, PAPER], ids=["universal", "paper"])
def test_where_one_view_ends_the_others_tell_how_much_light_there_is(architecture):
    views, _ = own_views((48, 32, 32), axes=(0, 0))
    mask = np.ones(views.grid.shape, bool)
    mask[24:] = False
    first = replace(views.views[0], data=np.where(mask, views.views[0].data, 0), mask=mask)
    ending = RegisteredViews([first, views.views[1]])
    whole, ending = (ready(each, architecture=architecture).split for each in (views, ending))
    assert ending.held_out[0][1] == whole.held_out[0][1]
    np.testing.assert_array_equal(ending.corners, whole.corners)
    np.testing.assert_allclose(ending.light, whole.light, rtol=0.05)


def test_blocks_cover_a_region_and_begin_at_multiples_of_four():
    region = Box((4, 0, 8), (4 + 133, 70, 8 + 64))
    boxes = blocks_in(region, 64)
    seen = np.zeros(region.shape, int)
    for box in boxes:
        assert all(a % 4 == 0 for a in box.start)
        assert max(box.shape) <= 64
        seen[box.inside(region).slices] += 1
    assert (seen == 1).all()


def test_views_with_a_mask_say_where_they_have_data():
    views, _ = own_views()
    mask = np.ones(views.grid.shape, np.uint8)
    mask[:, :, 20:] = 0
    masked = RegisteredViews([replace(views.views[0], mask=mask), views.views[1]])
    source = ready(masked)
    coverage = source.volumes[0].arrays["coverage"]
    np.testing.assert_array_equal(coverage[0], mask)
    np.testing.assert_array_equal(coverage[1], 1)
    assert source.draw(0)[0].tensors["coverage"].shape == (1, 2, 16, 16, 16)


# --- losses against formulas


@pytest.mark.parametrize("gains", ["one", "view"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_absolute_cycle_is_its_formula(rng, gains, masked):
    coverage = (rng.random((2, 20, 16, 16)) > 0.3) if masked else None
    volume = tile_of(rng, coverage=coverage)
    sample = cut(volume, (0, 0, 0), volume.shape, CPU)
    latent = rng.random(volume.shape)
    errors, factors, parts = [], [], []
    for v, kernel in enumerate(volume.recording.psfs):
        image, inner = blurred(latent.astype(np.float32), kernel)
        view = volume.arrays["views"][v][inner].astype(np.float64)
        inside = np.ones(view.shape, bool) if coverage is None else coverage[v][inner]
        parts.append((image[inside], view[inside]))
        factors.append((image * view)[inside].sum() / (image**2)[inside].sum() if gains == "view" else 1.0)
    for (image, view), factor in zip(parts, factors, strict=True):
        errors.append(np.abs(factor / np.mean(factors) * image - view).mean())
    loss = SelfSupervised(LossWeights(gains=gains, cycle=10)).cycle(
        torch.from_numpy(latent).float()[None, None], sample
    )
    assert float(loss) == pytest.approx(10 * np.mean(errors), rel=1e-4)


def test_the_poisson_cycle_compares_anscombe_transforms(rng):
    volume = tile_of(rng)
    sample = cut(volume, (0, 0, 0), volume.shape, CPU)
    latent = rng.random(volume.shape)
    floor = 0.03
    image, inner = blurred(latent.astype(np.float32), volume.recording.psfs[0])
    view = volume.arrays["views"][0][inner].astype(np.float64)
    gain, variance = NOISE[0].gain, NOISE[0].read_variance + floor**2

    def transform(values):
        return 2 * np.sqrt(values / gain + 3 / 8 + variance / gain**2)

    errors = [np.sqrt(gain + 0.375 * gain**2 + variance) * np.mean((transform(image) - transform(view)) ** 2)]
    # Without photon noise the transform is linear.
    image, inner = blurred(latent.astype(np.float32), volume.recording.psfs[1])
    view = volume.arrays["views"][1][inner].astype(np.float64)
    variance = NOISE[1].read_variance + floor**2
    errors.append(np.sqrt(variance) * np.mean((image - view) ** 2 / variance))
    weights = LossWeights(gains="one", likelihood="poisson", floor=floor, cycle=1)
    loss = SelfSupervised(weights).cycle(torch.from_numpy(latent).float()[None, None], sample)
    assert float(loss) == pytest.approx(np.mean(errors), rel=1e-4)


def test_smooth_gains_take_up_light_that_fades_and_keep_the_mean_of_the_views(rng):
    shape = (40, 40, 40)
    latent = ndimage.gaussian_filter(rng.random(shape) ** 4, 1) * 5 + 0.2
    kernels = [psf(0, 5), psf(1, 5)]
    fading = np.linspace(0.7, 1.3, 40)[:, None, None]
    views = np.stack(
        [ndimage.convolve(latent, kernels[0]) * fading, ndimage.convolve(latent, kernels[1]) * (2 - fading)]
    )
    volume = TrainingVolume({"views": views.astype(np.float16)}, 1.0, 1.0, Recording(("a", "b"), tuple(kernels), NOISE))
    sample = cut(volume, (0, 0, 0), shape, CPU)
    loss = {}
    for gains in ("one", "view", "smooth"):
        objective = SelfSupervised(LossWeights(gains=gains, cycle=1))
        loss[gains] = float(objective.cycle(torch.from_numpy(latent).float()[None, None], sample))
        brighter = float(objective.cycle(1.3 * torch.from_numpy(latent).float()[None, None], sample))
        assert brighter > loss[gains], "the brightness of the result is fixed"
    assert loss["smooth"] < 0.3 * loss["view"]
    assert loss["view"] == pytest.approx(loss["one"], rel=0.1)


def test_the_squared_gradient_is_its_formula(rng):
    values = rng.random((9, 8, 7))
    expected = sum(np.mean(np.diff(values, axis=axis) ** 2) for axis in range(3))
    assert float(squared_gradient(torch.from_numpy(values)[None, None])) == pytest.approx(expected)


@pytest.mark.parametrize("likelihood", ["absolute", "poisson"])
def test_gradients_are_those_of_the_loss(rng, likelihood):
    volume = tile_of(rng)
    sample = cut(volume, (0, 0, 0), volume.shape, CPU)
    objective = SelfSupervised(LossWeights(gains="one", likelihood=likelihood))
    latent = torch.from_numpy(rng.random((1, 1, *volume.shape))).float().requires_grad_()
    direction = torch.from_numpy(rng.normal(size=latent.shape)).float()
    objective.cycle(latent, sample).backward()
    step = 2e-3
    with torch.no_grad():
        rise = objective.cycle(latent + step * direction, sample) - objective.cycle(latent - step * direction, sample)
    assert float((latent.grad * direction).sum()) == pytest.approx(float(rise) / (2 * step), rel=2e-2)
    # Where no voxel of a view knows the whole of its blur, nothing is learned.
    assert float(latent.grad[0, 0, 0, 0, 0].abs()) < float(latent.grad.abs().max()) * 0.2


def test_mirrored_and_turned_tiles_are_compared_as_with_mirrored_and_turned_psfs(rng):
    volume = tile_of(rng, (20, 20, 20), coverage=rng.random((2, 20, 20, 20)) > 0.2)
    flips, axes = [-3, -1], np.array([2, 0, 1])
    turned = cut(volume, (0, 0, 0), volume.shape, CPU, flips=flips, axes=axes)
    psfs = tuple(np.ascontiguousarray(np.transpose(np.flip(kernel, flips), axes)) for kernel in volume.recording.psfs)
    plain = TrainingSample(turned.tensors, turned.span, Recording(("a", "b"), psfs, NOISE))
    latent = torch.from_numpy(rng.random((1, 1, 20, 20, 20))).float()
    for weights in (LossWeights(gains="view"), LossWeights(gains="smooth", likelihood="poisson")):
        objective = SelfSupervised(weights)
        assert float(objective.cycle(latent, turned)) == pytest.approx(float(objective.cycle(latent, plain)), rel=1e-5)


def test_the_score_is_1_for_a_truth_that_leaves_only_noise_and_more_for_a_blurred_one():
    views, truth = own_views((48, 40, 40), photons=400)
    weights = LossWeights(energy=1, gains="view")
    recording = replace(describe_psfs(views, 1.0), noise=(Noise(1.0, 0.0),) * 2)
    volume = TrainingVolume({"views": np.stack([view.data for view in views.views])}, 1.0, 1.0, recording)
    sample = cut(volume, (0, 0, 0), volume.shape, CPU)

    def score(values):
        given = Fixed(values)
        figures = ScoreViews(weights)(given, [volume], CPU)
        return figures["residual"], figures["misfit"]

    residual, misfit = score(truth)
    assert residual == pytest.approx(1, abs=0.02)
    assert misfit < 0.02
    residual, misfit = score(ndimage.gaussian_filter(truth, 2))
    assert residual > 1.3
    assert misfit > 0.2
    # Where noise was learned, the residual is below its floor, and that is no better.
    learned = truth.copy()
    for _ in range(20):
        values = torch.from_numpy(learned)[None, None]
        reprojected = Reprojector("one")(values, sample)
        error = (reprojected.views - reprojected.fitted) * reprojected.known
        learned += 0.5 * error.mean(dim=0).numpy()
    residual, misfit = score(learned)
    assert residual < 0.97
    assert misfit > 0.03


def test_psfs_that_are_missing_or_as_large_as_the_tile_are_named():
    views, _ = own_views()
    with pytest.raises(InputError, match="view '90' has no PSF"):
        ready(views.with_psfs([views.views[0].psf, None]))
    with pytest.raises(InputError, match=r"the PSF of view '0' spans 7 x 5 x 5 voxels.*tile of 16 x 4 x 16"):
        check_tile(describe_psfs(views, 0.99), (16, 4, 16))


def test_self_supervised_training_explains_the_views_better():
    views, _ = own_views()
    source = ready(views, architecture=PAPER, batch=1)
    torch.manual_seed(0)
    network = build(PAPER)
    objective = SelfSupervised(LossWeights(gains="one"))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    cycles = []
    for step in range(36):
        (sample,) = source.draw(step)
        losses = objective.losses(network, sample)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        cycles.append(float(losses["cycle"].detach()))
    assert np.mean(cycles[-6:]) < 0.7 * np.mean(cycles[:6])


# --- sharp volumes and the discriminator


@pytest.fixture(scope="module")
def semi():
    """A source with sharp volumes, the objective, and a network that has left its start."""
    views, _ = own_views((64, 32, 32))
    _, sharp = own_views((40, 36, 32), seed=7)
    config = TrainConfig.model_validate(OWN | {"mode": "semi", "tile": (32, 32, 32), "discriminator_maps": 2})
    source = WithSharp(config, [views], [sharp], CPU)
    drain(source.begin(0))
    torch.manual_seed(1)
    network = build(config.architecture)
    torch.nn.init.normal_(network.out.weight, std=0.01)
    return config, source, network, sharp


def gradients(module):
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def test_the_adversarial_term_reaches_the_generator_and_not_the_discriminator(semi):
    config, source, network, _ = semi
    objective = SemiSupervised(LossWeights(), make_discriminator(config, CPU))
    losses = objective.losses(network, source.draw(0)[0])
    network.zero_grad(set_to_none=True)
    losses["adversarial"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.out.parameters())
    assert all(grad is None for grad in gradients(objective.discriminator))
    before = gradients(network)
    objective.judge().backward()
    assert all(grad.abs().sum() > 0 for grad in gradients(objective.discriminator)[:1])
    for old, new in zip(before, gradients(network), strict=True):
        assert (old is None and new is None) or torch.equal(old, new)


def test_the_losses_are_those_of_least_squares_gans(semi):
    config, source, network, _ = semi
    discriminator = make_discriminator(config, CPU)
    objective = SemiSupervised(LossWeights(adversarial=3), discriminator)
    (sample,) = source.draw(0)
    losses = objective.losses(network, sample)
    with torch.no_grad():
        generated = run_network(network, sample)
        fake = [scores.double().numpy() for scores in discriminator(generated)]
        real = [scores.double().numpy() for scores in discriminator(sample.example.target)]
        back = run_network(network, sample.example) - sample.example.target
    assert float(losses["adversarial"].detach()) == pytest.approx(
        3 * sum(((s - 1) ** 2).mean() for s in fake), rel=1e-4
    )
    judged = sum(0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean() for r, f in zip(real, fake, strict=True))
    assert float(objective.judge().detach()) == pytest.approx(judged, rel=1e-4)
    assert float(losses["cycle of sharp volumes"].detach()) == pytest.approx(10 * float(back.abs().mean()), rel=1e-4)


def test_with_again_sharp_volumes_are_found_again_as_own_results_are(semi):
    config, source, network, _ = semi
    (sample,) = source.draw(0)
    objective = SemiSupervised(LossWeights(resimulated=3), make_discriminator(config, CPU))
    found = float(objective.losses(network, sample)["cycle of sharp volumes"].detach())
    own = SelfSupervised(LossWeights(resimulated=3)).losses(network, sample)["resimulated"]
    assert found == pytest.approx(float(own.detach()))


def test_sharp_volumes_are_attenuated_as_the_views():
    """What is recorded is what the views would have seen of the target through the user's specimen, whichever is asked."""
    made = simulated("embryo", 64)
    _, sharp = own_views((40, 36, 32), seed=7)
    lit = UNIVERSAL | {"light": True}
    weights = {"likelihood": "split", "gains": "attenuation"}
    values = OWN | {"mode": "semi", "tile": (32, 32, 32), "architecture": lit, "weights": weights}
    source = WithSharp(TrainConfig.model_validate(values), [made.views], [sharp], CPU)
    drain(source.begin(0))
    block, volume = source.volumes[0], source._blurred[0]
    lost = stretched(block.arrays["transmission"], sharp.shape)
    assert lost.shape == (4, *sharp.shape)
    corners = (slice(None), *np.ix_((0, -1), (0, -1), (0, -1)))
    np.testing.assert_allclose(lost[corners], block.arrays["transmission"][corners].astype(np.float32), rtol=1e-6)
    assert lost.max() > 1.2 * lost.min()
    np.testing.assert_array_equal(block.arrays["fitted_transmission"], block.arrays["transmission"])
    assert all(
        np.array_equal(part.arrays["fitted_transmission"], part.noise_split.arrays["fitted_transmission"])
        for part in source.validation()
    )
    np.testing.assert_allclose(volume.arrays["transmission"].astype(np.float32), lost, rtol=2e-3)
    target = volume.arrays["target"].astype(np.float64)
    for v, kernel in enumerate(block.recording.psfs):
        image, inner = blurred(target * lost[v], kernel)
        seen = volume.arrays["views"][v][inner].astype(np.float64)
        assert seen.sum() == pytest.approx(image.sum(), rel=0.01)


def test_without_attenuation_all_light_is_transmitted():
    values = OWN | {"weights": {"likelihood": "split", "gains": "attenuation", "resimulated": 1}}
    source = OwnViews(TrainConfig.model_validate(values), [own_views()[0]], CPU)
    drain(source.begin(0))
    assert "transmission" not in source.volumes[0].arrays
    assert (source.volumes[0].arrays["fitted_transmission"] == 1).all()
    assert source.draw(0)[0].example is not None
    with pytest.raises(ValueError, match="gains 'attenuation' leaves the brightness free"):
        TrainConfig.model_validate(OWN | {"weights": {"gains": "attenuation"}})


def test_large_tiles_get_two_discriminators_small_ones_one_and_tiny_ones_words(semi):
    config = semi[0]
    assert len(make_discriminator(config, CPU).scales) == 1
    assert len(make_discriminator(config.model_copy(update={"tile": (64, 64, 64)}), CPU).scales) == 2
    with pytest.raises(InputError, match="16 x 16 x 16 voxels are too small for a discriminator: each side needs 32"):
        make_discriminator(config.model_copy(update={"tile": (16, 16, 16)}), CPU)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    make_discriminator(config, CPU)
    assert torch.equal(torch.rand(3), expected), "how the generator starts does not depend on the discriminator"


def test_a_sharp_volume_is_recorded_as_the_views_are(semi):
    config, source, _, sharp = semi
    recording = source.volumes[0].recording
    volume = simulate_recording(sharp, recording, config.architecture, np.random.default_rng(0), CPU)
    target = volume.arrays["target"].astype(np.float64)
    np.testing.assert_allclose(target, sharp / volume.scale, rtol=1e-3, atol=1e-3)
    image, inner = blurred(target, recording.psfs[0])
    seen = volume.arrays["views"][0][inner].astype(np.float64)
    noise = recording.noise[0]
    expected = np.sqrt(np.mean(noise.gain * image + noise.read_variance))
    assert np.sqrt(np.mean((seen - image) ** 2)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((40, 40)), "has 2 axes"),
        (np.ones((20, 40, 40)), "smaller than a tile"),
        (np.ones((40, 40, 40)), "the value 1 everywhere"),
        (np.full((40, 40, 40), np.nan), "NaN or infinite"),
        (np.indices((40, 40, 40))[0] - 3.0, "negative values"),
    ],
)
def test_sharp_volumes_that_cannot_be_used_are_named(values, words):
    with pytest.raises(InputError, match=f"truth.tif.*{words}"):
        read_sharp(values, "truth.tif", (32, 32, 32), 64)


def test_views_off_the_grid_and_several_volumes_are_one_source():
    first, _ = own_views()
    second, _ = own_views(seed=3)
    shifted = np.eye(4)
    shifted[0, 3] = 2
    views = [replace(second.views[0], affine=shifted), replace(second.views[1], affine=np.eye(4))]
    second = RegisteredViews(views, Grid((40, 32, 32)))
    source = OwnViews(TrainConfig.model_validate(OWN), [first, second], CPU)
    drain(source.begin(0))
    assert len(source.volumes) == 2
    assert len(source.identity()) == 4
    assert "coverage" not in source.volumes[0].arrays
    assert (source.volumes[1].arrays["coverage"][0][:2] == 0).all()
