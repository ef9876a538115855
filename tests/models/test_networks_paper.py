"""The paper's networks against the text of the paper, written down a second time in plain functions."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from napari_mvfusion.errors import InputError
from napari_mvfusion.models.paper import (
    MultiScaleDiscriminator,
    PaperArchitecture,
    PaperGenerator,
    PatchDiscriminator,
)

LAYERS = ("c1.0", "c1.3", "c2.0", "c2.3", "c3.0", "c3.3", "u1.0", "c4.0", "c4.3", "u2.0", "c5.0", "c5.3", "out.0")


def make(**changes):
    """A small generator with weights large enough that every layer matters."""
    torch.manual_seed(4)
    network = PaperGenerator(PaperArchitecture(**({"views": 3, "feature_maps": 4} | changes))).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return network


def restated(state, views, *, slope=0.0, norm=True, last=torch.sigmoid):
    """The generator as plain functions of its weights."""

    def after(x):
        if norm:
            mean = x.mean(dim=(2, 3, 4), keepdim=True)
            x = (x - mean) / (((x - mean) ** 2).mean(dim=(2, 3, 4), keepdim=True) + 1e-5).sqrt()
        return torch.maximum(x, slope * x)

    def weights(name):
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def pair(name, x):
        for part in (0, 3):
            x = after(functional.conv3d(x, *weights(f"{name}.{part}"), padding=1))
        return x

    def up(name, x):
        return after(functional.conv_transpose3d(x, *weights(f"{name}.0"), stride=2, padding=1))

    def pool(x):
        n, c, z, y, x_ = x.shape
        return x.reshape(n, c, z // 2, 2, y // 2, 2, x_ // 2, 2).amax(dim=(3, 5, 7))

    first = pair("c1", views)
    second = pair("c2", pool(first))
    third = pair("c3", pool(second))
    second = pair("c4", torch.cat([up("u1", third), second], dim=1))
    first = pair("c5", torch.cat([up("u2", second), first], dim=1))
    return last(functional.conv3d(first, *weights("out.0")))


@pytest.mark.parametrize(
    ("changes", "choices"),
    [
        ({}, {}),
        ({"activation": "leaky_relu"}, {"slope": 0.2}),
        ({"norm": "none"}, {"norm": False}),
        ({"output": "softplus", "views": 1}, {"last": functional.softplus}),
        ({"output": "identity", "feature_maps": 5}, {"last": lambda x: x}),
    ],
)
def test_the_generator_is_what_the_paper_says(changes, choices):
    network = make(**changes)
    views = torch.rand(2, network.architecture.views, 4, 8, 12)
    with torch.no_grad():
        expected = restated(network.state_dict(), views, **choices)
        assert expected.std() > 0.01
        torch.testing.assert_close(network(views), expected, rtol=1e-4, atol=1e-4)


def test_its_weights_have_the_names_of_the_checkpoints():
    assert list(make().state_dict()) == [f"{name}.{kind}" for name in LAYERS for kind in ("weight", "bias")]
    assert list(make(norm="none").state_dict()) == list(make().state_dict())


@pytest.mark.parametrize(("views", "maps"), [(4, 64), (2, 16)])
def test_the_number_of_weights_is_that_of_the_paper(views, maps):
    network = PaperGenerator(PaperArchitecture(views=views, feature_maps=maps))
    f, cube = maps, 27
    pairs = [(views, f), (f, f), (f, 2 * f), (2 * f, 2 * f), (2 * f, 4 * f), (4 * f, 4 * f)]
    pairs += [(4 * f, 2 * f), (2 * f, 2 * f), (2 * f, f), (f, f)]
    expected = sum(cube * a * b + b for a, b in pairs)
    expected += sum(64 * a * b + b for a, b in [(4 * f, 2 * f), (2 * f, f)]) + f + 1
    assert sum(p.numel() for p in network.parameters()) == expected


def test_fixed_statistics_are_those_of_batch_norm():
    network = make(feature_maps=4)
    norm = network.norms()[0]
    mean, variance = torch.randn(4), torch.rand(4) + 0.1
    norm.mean, norm.variance = mean, variance
    x = 3 * torch.randn(2, 4, 5, 6, 7) + 1
    torch.testing.assert_close(norm(x), functional.batch_norm(x, mean, variance, eps=1e-5))


def test_a_norm_records_what_it_would_normalise_by():
    network = make(feature_maps=2)
    norm = network.norms()[0]
    x = torch.randn(1, 2, 4, 6, 8)
    seen = []
    norm.record = lambda mean, square: seen.append((mean, square))
    own = norm(x)
    ((mean, square),) = seen
    norm.mean, norm.variance = mean, square - mean.square()
    torch.testing.assert_close(norm(x), own, rtol=1e-4, atol=1e-5)
    assert len(network.norms()) == 12
    assert make(norm="none").norms() == []


def fixed(network):
    for norm in network.norms():
        norm.mean, norm.variance = torch.zeros(norm.channels), torch.ones(norm.channels)
    return network


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_folded_norms_change_nothing(activation):
    network = make(activation=activation)
    for norm in network.norms():
        norm.mean, norm.variance = torch.randn(norm.channels), torch.rand(norm.channels) + 0.1
    views = torch.rand(1, 3, 8, 12, 16)
    with torch.no_grad():
        before = network(views)
        network.fold_norms()
        assert network.norms() == []
        torch.testing.assert_close(network(views), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [make(norm="none"), fixed(make())], ids=["none", "fixed"])
def test_a_voxel_does_not_depend_on_what_is_far_from_it(network):
    views = torch.rand(1, 3, 8, 8, 96)
    elsewhere = views.clone()
    elsewhere[..., 80:] = torch.rand(1, 3, 8, 8, 16) * 5
    with torch.no_grad():
        whole, changed = network(views), network(elsewhere)
        part = network(views[..., :80])
    assert torch.equal(whole[..., :48], changed[..., :48])
    assert not torch.equal(whole[..., 70:80], changed[..., 70:80])
    torch.testing.assert_close(part[..., :48], whole[..., :48], rtol=1e-5, atol=1e-6)


def test_with_its_own_statistics_a_voxel_depends_on_all_of_its_block():
    network = make()
    views = torch.rand(1, 3, 8, 8, 96)
    elsewhere = views.clone()
    elsewhere[..., 80:] *= 5
    with torch.no_grad():
        assert not torch.allclose(network(views)[..., :16], network(elsewhere)[..., :16], atol=1e-6)


def test_the_discriminator_scores_patches():
    scorer = PatchDiscriminator(feature_maps=2)
    shapes = [tuple(p.shape) for p in scorer.parameters() if p.ndim == 5]
    assert shapes == [(2, 1, 3, 3, 3), (4, 2, 3, 3, 3), (8, 4, 3, 3, 3), (16, 8, 3, 3, 3), (1, 16, 3, 3, 3)]
    norms = [isinstance(layer, torch.nn.InstanceNorm3d) for layer in scorer.layers]
    assert sum(norms) == 3
    assert not any(norms[:3])
    assert scorer(torch.rand(2, 1, 64, 64, 64)).shape == (2, 1, 4, 4, 4)


def test_each_scale_sees_the_middle_half_of_the_one_before():
    both = MultiScaleDiscriminator(feature_maps=2, scales=2)
    tile = torch.rand(1, 1, 64, 64, 64)
    whole, half = both(tile)
    assert (whole.shape, half.shape) == ((1, 1, 4, 4, 4), (1, 1, 2, 2, 2))
    torch.testing.assert_close(half, both.scales[1](tile[..., 16:48, 16:48, 16:48]))
    with pytest.raises(InputError, match="at least 1"):
        MultiScaleDiscriminator(scales=0)


def test_in_mixed_precision_on_a_cpu_the_discriminator_learns_what_it_learns_in_full():
    """Torch got the gradients of its last weights wrong by 90 %, or read memory that holds anything, with 2 voxels there."""
    torch.manual_seed(0)
    judge = MultiScaleDiscriminator(feature_maps=32, scales=1)
    tile = torch.rand(1, 1, 32, 32, 32)

    def gradients(mixed):
        judge.zero_grad()
        # What is read without being written is noticed.
        rubbish = [torch.full((2**k,), float("nan")) for k in range(4, 22)]
        del rubbish
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = torch.stack([(scores - 1).square().mean() for scores in judge(tile)]).sum()
        loss.backward()
        return [parameter.grad.clone() for parameter in judge.parameters()]

    full = gradients(False)
    for _ in range(3):
        for found, expected in zip(gradients(True), full, strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wrong", [{"views": 0}, {"feature_maps": 1}, {"norm": "batch"}, {"depth": 4}])
def test_an_architecture_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        PaperArchitecture(**wrong)
