from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from napari_mvfusion.data.events import TileDone, TileStep
from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.methods import (
    LearnedFusion,
    cells,
    cellwise_filter,
    make_method,
    method_of_recipe,
    universal_fusion,
)
from napari_mvfusion.methods.base import TileInput
from napari_mvfusion.methods.cells import FILTER_MARGIN, Cells, FilterSteps
from napari_mvfusion.methods.cellwise_filter import CellwiseFilter, network_input_of, updates_for
from napari_mvfusion.methods.channels import channel_order
from napari_mvfusion.methods.filter_input import brightness_scale
from napari_mvfusion.methods.joint_updates import JointUpdates
from napari_mvfusion.methods.paper_fusion import _INNER, _MARGIN, _OUTER, _STEP
from napari_mvfusion.models import ModelCard, build, load_model, save_model
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture, adapted_weights, with_transmission_input
from napari_mvfusion.simulation import embryo, light_sheet_psf, simulate
from small_models import FROM_WIENER, LIGHT, SMALL, save

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_thread")]

ANGLES = (0.0, 90.0, 180.0, 270.0)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    return folder


def specimen(shape: Triple = (48, 44, 52), angles: tuple[float, ...] = ANGLES) -> RegisteredViews:
    made = _recorded(shape, angles)
    return RegisteredViews(made.views, made.grid)


@cache
def _recorded(shape: Triple, angles: tuple[float, ...]) -> RegisteredViews:
    rng = np.random.default_rng(1)
    truth = embryo(64, rng)[tuple(slice(4, 4 + n) for n in shape)]
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in angles]
    made = simulate(np.ascontiguousarray(truth), angles, psfs, rng=rng).views
    for view in made.views:
        np.asarray(view.data).flags.writeable = False  # the tests share them
    return made


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference in units of the range."""
    return float(np.abs(a - b).max() / np.ptp(a))


UNIVERSAL = pytest.mark.parametrize(
    "architecture",
    [SMALL, LIGHT, FROM_WIENER],
    ids=["filter alone", "attenuation and updates", "begins with wiener"],
)
PAPER = {
    "no norm": PaperArchitecture(views=4, feature_maps=3, norm="none", activation="leaky_relu", output="softplus"),
    "instance norm": PaperArchitecture(views=4, feature_maps=3),
}


@UNIVERSAL
def test_universal_tiles_equal_the_whole(models: Path, architecture: UniversalArchitecture) -> None:
    views = specimen()
    method = LearnedFusion(model=save(models, "small", architecture))
    whole = np.asarray(fuse(views, method).data)
    filtered = network_input_of(views, architecture, torch.device("cpu"))
    assert difference(whole, filtered.estimate.numpy() * filtered.scale) > 0.02  # the network does something
    for tile in ((16, 44, 52), (24, 22, 26), (13, 29, 52)):
        assert difference(whole, np.asarray(fuse(views, method, tile=tile).data)) < 1e-4, tile


@UNIVERSAL
def test_universal_tiles_equal_the_whole_with_the_measured_psfs(
    models: Path, test_data: Path, architecture: UniversalArchitecture
) -> None:
    psfs = [prepare_psf(test_data / f"psf/quad_view/psf_{a:g}.tif").psf for a in ANGLES]
    rng = np.random.default_rng(0)
    views = simulate(embryo(72, rng), ANGLES, psfs, rng=rng).views
    method = LearnedFusion(model=save(models, "small", architecture))
    whole, tiled = (np.asarray(fuse(views, method, tile=tile).data) for tile in (None, (36, 40, 72)))
    assert difference(whole, tiled) < 1e-4


@pytest.mark.parametrize(
    ("model", "tiles", "shape", "labels"),
    [
        (LIGHT, "seam_free", (48, 44, 52), {"filter", "network", "network, mirror image", "updates"}),
        (PAPER["no norm"], "published", (56, 32, 32), {"network"}),  # three windows
    ],
)
def test_one_tile_says_how_far_it_is_and_lets_torch_be_between_its_steps(
    models: Path, model: UniversalArchitecture | PaperArchitecture, tiles: str, shape: Triple, labels: set[str]
) -> None:
    save(models, "small", model)
    steps = []
    for event in fuse_events(specimen(shape), LearnedFusion(model="small", tiles=tiles)):
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        if isinstance(event, TileStep):
            steps.append(event)
    fractions = [step.fraction for step in steps]
    assert len(fractions) > len(labels)
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] < 1
    assert {step.label for step in steps} == labels


def test_steps_of_several_tiles_lie_between_those_that_are_done(models: Path) -> None:
    save(models, "small", LIGHT)
    events = fuse_events(specimen(), LearnedFusion(model="small"), tile=(24, 44, 52))
    fractions = [event.fraction for event in events if isinstance(event, TileStep | TileDone)]
    assert fractions == sorted(fractions)
    assert fractions.count(0.5) >= 1
    assert fractions[-1] == 1


@UNIVERSAL
@pytest.mark.parametrize("shape", [(36, 20, 18), (20, 33, 22)])
def test_cells_of_the_filter_depend_on_the_volume_and_not_on_the_tiles(
    models: Path, monkeypatch: pytest.MonkeyPatch, shape: Triple, architecture: UniversalArchitecture
) -> None:
    """Blocks of 17 voxels stand for those of 320, so that a small volume has several along each axis."""
    for name, value in (("_BLOCK_SIDE", 17), ("FILTER_MARGIN", 4), ("_FADE", 2)):
        monkeypatch.setattr(cells, name, value)
    views = specimen(shape)
    method = LearnedFusion(model=save(models, "small", architecture))
    whole = np.asarray(fuse(views, method).data)
    for tile in ((18, 20, 22), (20, 11, 22)):
        assert difference(whole, np.asarray(fuse(views, method, tile=tile).data)) < 1e-4


def test_cells_fade_into_each_other_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filtered in eight cells is filtered as a whole: a little less so at the strongest levels, which reach farthest."""
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.random((264, 24, 24)), 1.5).astype(np.float32)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in ANGLES]
    views = simulate(np.clip((truth - 0.5) * 20, 0, None), ANGLES, psfs, rng=rng).views
    assert Cells(truth.shape, 1).largest_block == truth.shape
    whole = network_input_of(views, SMALL, torch.device("cpu"))
    monkeypatch.setattr(cells, "_BLOCK_SIDE", 33 + 2 * (8 + FILTER_MARGIN))
    monkeypatch.setattr(cells, "_FADE", 8)
    in_cells = network_input_of(views, SMALL, torch.device("cpu"))
    for a, b, most in zip(whole.sharp, in_cells.sharp, (1e-5, 1e-5, 3e-5, 2e-4, 5e-4), strict=True):
        assert 0 < difference(a.numpy(), b.numpy()) < most
    assert difference(whole.blurred.numpy(), in_cells.blurred.numpy()) < 1e-5


@pytest.mark.parametrize("kind", PAPER)
def test_tiles_of_the_papers_networks_equal_the_whole(models: Path, kind: str) -> None:
    views = specimen((72, 44, 50))
    method = make_method("generator", model=save(models, "paper", PAPER[kind], angles=ANGLES))
    whole, tiled = (np.asarray(fuse(views, method, tile=tile).data) for tile in (None, (24, 44, 20)))
    assert difference(whole, tiled) < 1e-4


@pytest.mark.parametrize("kind", PAPER)
def test_published_tiles_do_not_depend_on_those_of_the_engine(models: Path, kind: str) -> None:
    """Each window is mirrored at two borders, and tiles cut through windows and through where they overlap."""
    views = specimen((48, 20, 34))
    method = make_method("generator", model=save(models, "paper", PAPER[kind], angles=ANGLES), tiles="published")
    whole, tiled = (np.asarray(fuse(views, method, tile=tile).data) for tile in (None, (24, 20, 20)))
    assert difference(whole, tiled) < 1e-4


def test_one_pass_over_the_volume_is_what_seam_free_tiles_give(models: Path) -> None:
    views = specimen()
    name = save(models, "paper", PAPER["no norm"], angles=ANGLES)
    network, _ = load_model(name)
    stack = torch.from_numpy(views.read(views.grid.box))
    with torch.inference_mode():
        expected = network(stack[None] / stack.max())[0, 0] * stack.max()
    assert difference(expected.numpy(), np.asarray(fuse(views, LearnedFusion(model=name)).data)) < 1e-5


def test_published_tiles_are_the_weighted_mean_of_overlapping_windows(models: Path) -> None:
    """The windows again, written with plain loops over a mirrored volume."""
    views = specimen((48, 40, 36))
    name = save(models, "paper", PAPER["instance norm"], angles=ANGLES)
    network, _ = load_model(name)
    stack = views.read(views.grid.box)
    scale = stack.max()
    padded = np.pad(stack / scale, [(0, 0), *[(_MARGIN, _OUTER)] * 3], mode="reflect")
    near = np.minimum(np.arange(_INNER), np.arange(_INNER)[::-1]) + 1
    weight = np.minimum(np.minimum(near[:, None, None], near[:, None]), near)
    total, amount = np.zeros((2, *stack.shape[1:]))
    for z in (0, 16):
        for y in (0, 8):
            for x in (0, 4):
                block = padded[:, z : z + _OUTER, y : y + _OUTER, x : x + _OUTER]
                with torch.inference_mode():
                    fused = network(torch.from_numpy(block[None]))[0, 0].numpy()
                place = np.s_[z : z + _INNER, y : y + _INNER, x : x + _INNER]
                middle = fused[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
                total[place] += weight * middle
                amount[place] += weight
    assert _STEP == 16
    method = LearnedFusion(model=name, tiles="published")
    assert difference(total / amount * scale, np.asarray(fuse(views, method).data)) < 1e-5


@UNIVERSAL
def test_training_reads_what_the_engine_reads(models: Path, architecture: UniversalArchitecture) -> None:
    views = specimen((32, 32, 32), angles=(30.0, 75.0, 200.0))
    name = save(models, "small", architecture)
    network, _ = load_model(name)
    network_input = network_input_of(views, architecture, torch.device("cpu"))
    assert (network_input.transmission is not None) == architecture.light
    assert (network_input.noise is not None) == architecture.noise
    told = [None if each is None else each[None] for each in (network_input.transmission, network_input.noise)]
    with torch.inference_mode():
        fused = network(network_input.views[None], network_input.blurred[None], network_input.sharp[None], *told)
    coverage = views.coverage(views.grid.box)
    # What no view saw is 0 in every result.
    seen = 1 if coverage is None else coverage.max(axis=0) > 0
    expected = fused[0, 0].numpy() * network_input.scale * seen
    alone = LearnedFusion(model=name, mirrored=False, refined=False)
    assert difference(expected, np.asarray(fuse(views, alone).data)) < 1e-5


@UNIVERSAL
def test_what_the_network_makes_is_refined_by_updates_from_the_views(
    models: Path, architecture: UniversalArchitecture
) -> None:
    views = specimen()
    name = save(models, "small", architecture)
    alone, refined = (
        np.asarray(fuse(views, LearnedFusion(model=name, refined=refined)).data) for refined in (False, True)
    )
    transmission = find_transmission(views) if architecture.light else None
    joint = JointUpdates(views, transmission, torch.device("cpu"), iterations=universal_fusion._UPDATES)
    whole = views.grid.box
    pixels = torch.from_numpy(views.read(whole))
    coverage = views.coverage(whole)
    covered = None if coverage is None else torch.from_numpy(coverage)
    _, image = drain(joint.updated(TileInput(whole, whole, pixels, covered, whole, torch.from_numpy(alone)), whole))
    expected = image.numpy() * joint.scale / joint.share
    seen = 1 if coverage is None else coverage.max(axis=0) > 0
    assert difference(expected * seen, refined) < 1e-4
    # What the views still say against it is less.
    tile = TileInput(whole, whole, pixels, covered, None, None)
    steps = [float(joint.step_from(torch.from_numpy(each), tile, whole).norm()) for each in (alone, refined)]
    assert steps[1] < 0.5 * steps[0]


def test_a_recipe_that_does_not_say_whether_it_is_refined_is_not() -> None:
    assert LearnedFusion().refined
    assert method_of_recipe("generator", {}) == LearnedFusion(refined=False)


def test_the_mirror_image_of_the_views_becomes_that_of_the_result(models: Path) -> None:
    views = specimen((32, 24, 28))
    turned = RegisteredViews(
        replace(view, data=np.flip(np.asarray(view.data)).copy(), psf=np.flip(view.psf).copy()) for view in views.views
    )
    name = save(models, "small", SMALL)
    for mirrored, alike in ((True, True), (False, False)):
        method = LearnedFusion(model=name, mirrored=mirrored, refined=False)
        a, b = (np.asarray(fuse(each, method).data) for each in (views, turned))
        assert (difference(a, np.flip(b)) < 1e-4) == alike


def test_the_filter_minimises_what_it_says() -> None:
    """Against the normal equations in float64, on a periodic volume: no border, so no tolerance for it."""
    rng = np.random.default_rng(0)
    psfs = [light_sheet_psf(a, axial_fwhm=4, lateral_fwhm=2, shape=(9, 9, 9)) for a in (0.0, 70.0, 200.0)]
    weights = np.array([1.0, 0.5, 2.0])
    levels = (0.02, 0.002)
    views = rng.gamma(2, size=(3, 20, 16, 24)).astype(np.float32)
    box = Box.whole(views.shape[1:])
    blurred, sharp = WienerBank(psfs, weights, levels, 1, torch.device("cpu"))(torch.from_numpy(views), box, (0, 0, 0))

    def convolved(volume: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return ndimage.convolve(volume, np.asarray(kernel, np.float64), mode="wrap")

    weights /= weights.mean()
    for level, image in zip(levels, sharp.double().numpy(), strict=True):
        left, right = level * image, np.zeros_like(image)
        for view, psf, weight in zip(views.astype(np.float64), psfs, weights, strict=True):
            left += weight / 3 * convolved(convolved(image, psf), np.flip(psf))
            right += weight / 3 * convolved(view, np.flip(psf))
        np.testing.assert_allclose(left, right, rtol=1e-4)
    for psf, seen in zip(psfs, blurred.numpy(), strict=True):
        np.testing.assert_allclose(seen, convolved(sharp[1].double().numpy(), psf), rtol=1e-4, atol=1e-4)


def test_the_filter_alone_is_one_level_and_blurs_as_the_views_do() -> None:
    """Its result blurred, and the level that is blurred alone, are what a call gives."""
    rng = np.random.default_rng(0)
    psfs = [light_sheet_psf(a, axial_fwhm=4, lateral_fwhm=2, shape=(9, 9, 9)) for a in (0.0, 70.0)]
    bank = WienerBank(psfs, [1.0, 1.0], (0.02, 0.002), 1, torch.device("cpu"))
    views = torch.from_numpy(rng.gamma(2, size=(2, 20, 16, 24)).astype(np.float32))
    blurred, sharp = bank(views, Box.whole((20, 16, 24)), (6, 6, 6))
    np.testing.assert_allclose(bank.at_base_level(views, (6, 6, 6)), sharp[1], rtol=1e-4, atol=1e-4)
    # What lies beyond the border is the filtered image's own there, and its mirror image here.
    inner = np.s_[:, 8:-8, 7:-7, 8:-8]
    again = torch.stack(list(bank.blurred(sharp[1], (6, 6, 6))))
    np.testing.assert_allclose(again[inner], blurred[inner], rtol=0.02)


def test_updates_bring_the_filter_closer_to_the_views_and_to_the_truth() -> None:
    """With attenuation: blurred again and dimmed, the filtered image must explain the views better than without updates."""
    rng = np.random.default_rng(1)
    truth = embryo(64, rng)
    psfs = [light_sheet_psf(a, axial_fwhm=10, lateral_fwhm=3, shape=(21, 21, 21)) for a in ANGLES]
    views = simulate(truth, ANGLES, psfs, rng=rng).views
    error, missing = [], []
    for architecture in (SMALL, LIGHT.model_copy(update={"updates": 0}), LIGHT):
        found = network_input_of(views, architecture, torch.device("cpu"))
        estimate = found.estimate.numpy()
        error.append(1 - np.corrcoef(estimate.ravel(), truth.ravel())[0, 1])
        expected = found.blurred if found.transmission is None else found.transmission * found.blurred
        missing.append(float((expected - found.views).square().mean()))
    assert error[1] < 0.95 * error[0]
    assert error[2] < 0.9 * error[1]
    assert missing[2] < 0.95 * missing[1] < 0.2 * missing[0]


def test_bright_views_get_more_updates_than_dark_ones() -> None:
    rng = np.random.default_rng(0)
    architecture = LIGHT.model_copy(update={"updates": 4, "by_noise": True})
    clear = ndimage.gaussian_filter(specimen((48, 48, 48)).read(Box.whole((48, 48, 48))), (0, 2, 2, 2))

    def updates(photons: float, architecture: UniversalArchitecture = architecture) -> float:
        dark = [rng.poisson(view * (photons / view.mean())).astype(np.float32) for view in clear]
        numbers = RegisteredViews(View(view, str(v)) for v, view in enumerate(dark)).statistics()
        assert updates_for(numbers, architecture.model_copy(update={"by_noise": False})) == architecture.updates
        return updates_for(numbers, architecture)

    # Photons that make the variance of the structure that of their noise, in the view with the least contrast.
    alike = max(view.mean() ** 2 / view.var() for view in clear)
    assert updates(0.5) == 1
    assert updates(12 * alike) == pytest.approx(1.5, abs=0.2)
    assert updates(48 * alike) == pytest.approx(2.5, abs=0.2)
    assert updates(20000) == 4
    even = RegisteredViews([View(rng.poisson(5000, (48, 48, 48)).astype(np.float32), "even")]).statistics()
    assert updates_for(even, architecture) == 1
    flat = RegisteredViews([View(np.ones((8, 8, 8), np.float32), "flat")]).statistics()
    assert updates_for(flat, architecture) == 4


def test_a_part_of_an_update_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    views = specimen((32, 32, 32))
    found = []
    for updates in (2.0, 2.001, 2.25, 2.5, 3.0):
        monkeypatch.setattr(cellwise_filter, "updates_for", lambda *_, updates=updates: updates)
        found.append(network_input_of(views, LIGHT, torch.device("cpu")).estimate.numpy())
    assert np.array_equal(found[0], found[1])
    steps = [difference(found[0], each) for each in found[2:]]
    assert 0 < steps[0] < steps[1] < steps[2]


def test_tiles_share_the_cells_that_they_meet(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_BLOCK_SIDE", 27), ("FILTER_MARGIN", 8), ("_FADE", 3)):
        monkeypatch.setattr(cells, name, value)
    views = specimen((32, 30, 28))
    method = LearnedFusion(model=save(models, "small", SMALL))
    made: list[Box] = []
    filtered = CellwiseFilter._filter

    def counted(self: CellwiseFilter, tile: TileInput, block: Box, part: Box) -> FilterSteps:
        made.append(block)
        return filtered(self, tile, block, part)

    monkeypatch.setattr(CellwiseFilter, "_filter", counted)
    whole = np.asarray(fuse(views, method, tile=(16, 30, 28)).data)
    assert len(made) == 2 * 2 * 2
    made.clear()
    monkeypatch.setattr(universal_fusion, "_KEPT_BYTES", 3 * 19 * 18 * 17 * 4 * (4 + len(SMALL.levels)))
    few = np.asarray(fuse(views, method, tile=(16, 30, 28)).data)
    assert len(made) > 8
    assert difference(whole, few) < 1e-6


def test_weights_with_the_transmission_begin_as_those_without() -> None:
    torch.manual_seed(0)
    without, along = build(SMALL), build(LIGHT)
    along.load_state_dict(with_transmission_input(without.state_dict()))
    views, blurred = torch.rand(2, 1, 3, 8, 8, 8)
    sharp, transmission = torch.rand(1, len(SMALL.levels), 8, 8, 8), torch.rand(1, 3, 8, 8, 8)
    assert torch.equal(without(views, blurred, sharp), along(views, blurred, sharp))
    assert torch.equal(along(views, blurred, sharp, torch.ones_like(transmission)), along(views, blurred, sharp))


def test_a_network_that_begins_with_wiener_begins_with_its_image(models: Path) -> None:
    wanted = FROM_WIENER.model_copy(update={"blocks": 2, "deep_blocks": 3, "uncertainty": True})
    torch.manual_seed(0)
    given = build(LIGHT)
    nn.init.normal_(given.out.weight)
    weights = adapted_weights(given.state_dict(), LIGHT, wanted)
    assert weights is not None
    network = build(wanted)
    network.load_state_dict({**network.state_dict(), **weights})
    assert torch.equal(network.of_view.weight[:, : given.of_view.in_channels], given.of_view.weight)
    card = ModelCard(name="begun", architecture=wanted, least_views=2, most_views=8, normalisation="brightness")
    save_model(models / "begun.safetensors", network, card)
    views = specimen()
    fused = np.asarray(fuse(views, LearnedFusion(model="begun", mirrored=False, refined=False)).data)
    assert difference(np.asarray(fuse(views, make_method("wiener")).data), fused) < 1e-2
    assert adapted_weights(build(wanted).state_dict(), wanted, LIGHT) is None


def test_uncertainty_is_shown_where_the_model_has_it(models: Path) -> None:
    views = specimen((32, 32, 32))
    sure = FROM_WIENER.model_copy(update={"uncertainty": True})
    save(models, "sure", sure)
    save(models, "silent", FROM_WIENER)
    shown = LearnedFusion(model="sure", mirrored=False, shows="uncertainty")
    image = np.asarray(fuse(views, LearnedFusion(model="sure", mirrored=False, refined=False)).data)
    error = np.asarray(fuse(views, shown).data)
    # With its first weights the layer says the same of all voxels, relative to the root of the light.
    scale = brightness_scale(views.statistics())
    relative = error / scale / (np.sqrt(image / scale) + 0.03)
    assert relative.min() > 0
    assert relative.std() < 1e-3 * relative.mean()
    tiled = np.asarray(fuse(views, shown, tile=(16, 20, 32)).data)
    assert difference(error, tiled) < 1e-4
    with pytest.raises(InputError, match="'silent' does not say how sure it is"):
        fuse(views, LearnedFusion(model="silent", shows="uncertainty"))


def test_blocks_that_are_added_change_nothing_at_first() -> None:
    more = LIGHT.model_copy(update={"blocks": 2, "deep_blocks": 2})
    torch.manual_seed(0)
    given, wanted = build(LIGHT), build(more)
    nn.init.normal_(given.out.weight, std=0.1)
    weights = adapted_weights(given.state_dict(), LIGHT, more)
    assert weights is not None
    wanted.load_state_dict({**wanted.state_dict(), **weights})
    inputs = [torch.rand(1, count, 16, 16, 16) for count in (3, 3, len(LIGHT.levels), 3)]
    assert torch.equal(given(*inputs), wanted(*inputs))


@UNIVERSAL
def test_the_order_of_the_views_does_not_matter(models: Path, architecture: UniversalArchitecture) -> None:
    views = specimen((32, 32, 32))
    method = LearnedFusion(model=save(models, "small", architecture))
    turned = views.select(["180", "0", "270", "90"])
    assert np.array_equal(np.asarray(fuse(views, method).data), np.asarray(fuse(turned, method).data))


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_any_number_of_views(models: Path, count: int) -> None:
    views = specimen((24, 24, 24), angles=tuple(360 * i / count for i in range(count)))
    fused = np.asarray(fuse(views, LearnedFusion(model=save(models, "small", SMALL))).data)
    assert np.isfinite(fused).all()
    assert fused.min() >= 0


@UNIVERSAL
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_brightness_scales_with_the_views(models: Path, factor: float, architecture: UniversalArchitecture) -> None:
    views = specimen((24, 24, 24))
    method = LearnedFusion(model=save(models, "small", architecture))
    scaled = RegisteredViews(replace(view, data=np.asarray(view.data) * np.float32(factor)) for view in views.views)
    expected = np.asarray(fuse(views, method).data) * factor
    assert difference(expected, np.asarray(fuse(scaled, method).data)) < 1e-3


def test_empty_space_does_not_change_the_brightness_scale() -> None:
    rng = np.random.default_rng(0)
    block = rng.gamma(2, size=(8, 8, 8)).astype(np.float32)
    scale = brightness_scale(RegisteredViews([View(block, "a")]).statistics())
    around = RegisteredViews([View(np.pad(block, 5), "a")]).statistics()
    assert brightness_scale(around) == pytest.approx(scale, rel=1e-6)
    assert scale == pytest.approx(float((block.astype(float) ** 2).sum() / block.sum(dtype=float)), rel=1e-6)


@UNIVERSAL
def test_where_a_view_has_no_data_it_says_nothing(models: Path, architecture: UniversalArchitecture) -> None:
    views = specimen((32, 32, 32))
    mask = np.ones((32, 32, 32), bool)
    mask[:16] = False
    method = LearnedFusion(model=save(models, "small", architecture))
    results = []
    for junk in (0, 500):
        data = np.where(mask, np.asarray(views.views[0].data), np.float32(junk))
        changed = [replace(views.views[0], data=data, mask=mask), *views.views[1:]]
        results.append(np.asarray(fuse(RegisteredViews(changed), method).data))
    assert np.array_equal(*results)


def test_a_recipe_holds_the_hash_of_the_weights_and_refuses_others(models: Path) -> None:
    views = specimen((24, 24, 24))
    fused = fuse(views, LearnedFusion(model=save(models, "small", SMALL)))
    parameters = fused.recipe["method"]["parameters"]
    again = fuse(views, make_method("generator", **parameters))
    assert np.array_equal(np.asarray(fused.data), np.asarray(again.data))
    other = make_method("generator", **(parameters | {"sha256": "0" * 64}))
    with pytest.raises(InputError, match="'small' has other weights than the recipe"):
        fuse(views, other)


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (1, "small", r"'small' takes 2 to 8 views, and there are 1: choose other views, or another model"),
        (2, "paper", r"'paper' takes 4 views, and there are 2"),
        (4, "nobody", "nobody"),
    ],
)
def test_views_that_a_model_does_not_take(models: Path, count: int, name: str, message: str) -> None:
    save(models, "small", SMALL)
    save(models, "paper", PAPER["no norm"], angles=ANGLES)
    with pytest.raises(InputError, match=message):
        fuse(specimen((24, 24, 24), angles=ANGLES[:count]), LearnedFusion(model=name))


def test_published_tiles_are_refused_for_universal(models: Path) -> None:
    method = LearnedFusion(model=save(models, "small", SMALL), tiles="published")
    with pytest.raises(InputError, match="published tiles are for the paper's networks"):
        method.check(specimen((24, 24, 24)))


def test_negative_light_and_nan_are_refused(models: Path) -> None:
    views = specimen((24, 24, 24))
    method = LearnedFusion(model=save(models, "small", SMALL))
    for value, message in ((-5.0, "view '0' has negative values"), (np.nan, "view '0'.*NaN|nan|not finite")):
        data = np.array(views.views[0].data)
        data[3, 4, 5] = value
        with pytest.raises(InputError, match=message):
            fuse(RegisteredViews([replace(views.views[0], data=data), *views.views[1:]]), method)


def test_a_psf_is_missing(models: Path) -> None:
    views = specimen((24, 24, 24)).with_psfs([None] * 4)
    with pytest.raises(InputError, match="view '0' has no PSF"):
        fuse(views, LearnedFusion(model=save(models, "small", SMALL)))


def test_channels_follow_the_angles_of_the_card() -> None:
    views = specimen((24, 24, 24))
    card = ModelCard(
        name="quad",
        architecture=PAPER["no norm"],
        least_views=4,
        most_views=4,
        normalisation="maximum",
        angles=(0, 180, 270, 90),
    )
    order = channel_order(views, card)
    assert order.indices == (0, 2, 3, 1)
    assert order.warnings == ["views are given to the model 'quad' in its order: 0, 180, 270, 90"]
    turned = views.select(["0", "180", "270", "90"])
    assert channel_order(turned, card).warnings == []
    # 359 degrees are 0, and a few degrees do not matter.
    near = RegisteredViews(replace(view, angle=(view.angle or 0) - 1) for view in views.views)
    assert channel_order(near, card).indices == (0, 2, 3, 1)
    odd = RegisteredViews(replace(view, angle=(view.angle or 0) / 2) for view in views.views)
    assert channel_order(odd, card).indices == (0, 1, 2, 3)
    assert "may be poor" in channel_order(odd, card).warnings[0]
    unknown = RegisteredViews(replace(view, angle=None) for view in views.views)
    assert "have no angle" in channel_order(unknown, card).warnings[0]


def test_channel_order_changes_what_is_fused(models: Path) -> None:
    views = specimen((32, 32, 32))
    straight = save(models, "straight", PAPER["no norm"], angles=ANGLES)
    turned = save(models, "turned", PAPER["no norm"], angles=(180, 0, 270, 90))
    a = np.asarray(fuse(views, LearnedFusion(model=straight)).data)
    with pytest.warns(UserWarning, match="in its order: 180, 0, 270, 90"):
        b = np.asarray(fuse(views, LearnedFusion(model=turned)).data)
    c = fuse(views.select(["180", "0", "270", "90"]), LearnedFusion(model=turned)).data
    assert difference(a, b) > 1e-3
    assert np.array_equal(np.asarray(c), b)


def test_fixed_statistics_are_means_over_blocks(models: Path) -> None:
    """For a volume of one block, fixed statistics are that block's own: tiles are what the paper's network gives."""
    views = specimen((48, 44, 52))
    name = save(models, "paper", PAPER["instance norm"], angles=ANGLES)
    network, _ = load_model(name)
    stack = torch.from_numpy(views.read(views.grid.box))
    with torch.inference_mode():
        expected = network(stack[None] / stack.max())[0, 0] * stack.max()
    assert difference(expected.numpy(), np.asarray(fuse(views, LearnedFusion(model=name)).data)) < 1e-4


def test_mixed_precision_is_close_to_full(models: Path) -> None:
    views = specimen((32, 32, 32))
    name = save(models, "small", SMALL)
    full, mixed = (np.asarray(fuse(views, LearnedFusion(model=name, precision=p)).data) for p in ("full", "mixed"))
    assert 0 < difference(full, mixed) < 0.02


@pytest.mark.filterwarnings("ignore:the PSF of view")
@pytest.mark.parametrize("shape", [(5, 31, 26), (33, 9, 12)])
def test_volumes_smaller_than_a_tile_and_of_odd_sizes(models: Path, shape: Triple) -> None:
    rng = np.random.default_rng(0)
    # So small that it is cut off, which is what the warning is about.
    psf = light_sheet_psf(0, axial_fwhm=2, lateral_fwhm=2, shape=(5, 5, 5))
    views = RegisteredViews(View(rng.gamma(2, size=shape).astype(np.float32), n, psf) for n in "ab")
    fused = fuse(views, LearnedFusion(model=save(models, "small", SMALL))).data
    assert fused.shape == shape
    assert np.isfinite(np.asarray(fused)).all()
    paper = save(models, "paper", PAPER["no norm"].model_copy(update={"views": 2}))
    for tiles in ("seam_free", "published"):
        assert fuse(views, make_method("generator", model=paper, tiles=tiles)).data.shape == shape


def test_two_norms_in_one_network_have_statistics_of_their_own() -> None:
    network = build(PAPER["instance norm"])
    x = torch.randn(1, 4, 8, 8, 8)
    norm = network.norms()[0]
    values = network.c1[0](x).detach()
    mean, variance = values.mean((0, 2, 3, 4)), values.var((0, 2, 3, 4), unbiased=False)
    norm.mean, norm.variance = mean, variance
    torch.testing.assert_close(norm(values), functional.instance_norm(values), rtol=1e-4, atol=1e-5)
