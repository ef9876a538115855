"""Resolution by Fourier shell correlation: volumes whose resolution is known, and a plain formula."""

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.fsc import HALF_ANGLE, THRESHOLD, resolution_of_halves

SHAPE = (64, 64, 64)


def limited(shape, periods, size=(1.0, 1.0, 1.0), noise=0.5, seed=0):
    """Two recordings of points, without patterns finer than some periods along z, y and x; 0 lets all through."""
    rng = np.random.default_rng(seed)
    frequencies = np.meshgrid(*map(np.fft.fftfreq, shape, size), indexing="ij")
    inside = sum((f * p) ** 2 for f, p in zip(frequencies, periods, strict=True)) <= 1
    image = np.fft.ifftn(np.fft.fftn(rng.poisson(0.02, shape)) * inside).real
    return [image / image.std() + noise * rng.standard_normal(shape) for _ in range(2)]


def plain(first, second, axis):
    """The correlation along an axis of cubes, wave by wave, without smoothing."""
    n = len(first)
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    window = window[:, None, None] * window[:, None] * window
    waves = [np.fft.fftn((v - (v * window).sum() / window.sum()) * window) for v in (first, second)]
    found = []
    for frequency in range(1, n // 2 + 1):
        sums = np.zeros(3)
        for sign in {frequency, -frequency if 2 * frequency < n else frequency}:
            plane = [np.take(each, sign, axis).ravel() for each in waves]
            grid = np.fft.fftfreq(n, 1 / n)
            aside = np.hypot(grid[:, None], grid).ravel()
            kept = aside <= frequency * np.tan(np.radians(HALF_ANGLE)) * (1 + 1e-12)
            f, g = (each[kept] for each in plane)
            sums += [(f * g.conj()).sum().real, (abs(f) ** 2).sum(), (abs(g) ** 2).sum()]
        found.append(sums[0] / np.sqrt(sums[1] * sums[2]))
    return np.array(found)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_curve_is_that_of_a_plain_formula(axis):
    first, second = limited((32, 32, 32), (5, 4, 3))
    curve = resolution_of_halves(first, second, Grid((32, 32, 32))).axes[axis].correlation
    expected = plain(first, second, axis)
    # A smoothed value lies among the three that it is made of, and is none of them.
    near = np.stack([np.pad(expected, 1, "edge")[i : i + len(expected)] for i in range(3)])
    assert (curve >= near.min(axis=0) - 1e-4).all()
    assert (curve <= near.max(axis=0) + 1e-4).all()
    assert np.ptp(curve) > 0.9


@pytest.mark.parametrize("period", [4.0, 6.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_blurred_along_one_axis_has_that_resolution_there_alone(axis, period):
    periods, shape = np.zeros(3), [64, 64, 64]
    periods[axis], shape[axis] = period, 96
    found = resolution_of_halves(*limited(tuple(shape), periods, noise=1.0), Grid(tuple(shape))).axes
    assert found[axis].outcome == "found"
    assert found[axis].period == pytest.approx(period, rel=0.1)
    assert {one.outcome for number, one in enumerate(found) if number != axis} == {"finer than two voxels"}


def test_noise_alone_is_no_signal():
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = resolution_of_halves(*rng.standard_normal((2, 40, 40, 40)), Grid((40, 40, 40)))
        assert [(one.outcome, one.period) for one in found.axes] == [("no signal", None)] * 3
    assert "z no signal" in found.sentence


def test_resolution_is_in_micrometres_of_each_axis():
    size, shape = (2.0, 0.5, 0.4), (40, 80, 100)
    found = resolution_of_halves(*limited(shape, (6, 2, 2), size, noise=1.0), Grid(shape, size))
    assert [one.period for one in found.axes] == [pytest.approx(p, rel=0.1) for p in (6, 2, 2)]
    assert [one.unit for one in found.axes] == ["µm"] * 3
    assert found.axes[0].frequency[-1] == pytest.approx(1 / (2 * 2.0))


def test_where_no_voxel_size_is_known_it_is_in_voxels():
    halves = limited(SHAPE, (5, 4, 3))
    found = resolution_of_halves(*halves, Grid(SHAPE, (1.0, 0.5, 0.5), known=(False, True, True)))
    assert [one.unit for one in found.axes] == ["voxels", "µm", "µm"]
    assert [one.period for one in found.axes] == [pytest.approx(p, rel=0.1) for p in (5, 2, 1.5)]
    assert found.as_dict()["z"]["unit"] == "voxels"


def test_it_turns_with_the_specimen():
    halves = limited(SHAPE, (7, 3.5, 3.5))
    turned = [ndimage.rotate(half, 90, (0, 2)) for half in halves]
    before, after = (resolution_of_halves(*pair, Grid(SHAPE)).axes for pair in (halves, turned))
    assert after[2].period == pytest.approx(before[0].period, rel=0.01)
    assert after[0].period == pytest.approx(before[2].period, rel=0.01)


def test_a_specimen_that_is_alike_in_all_directions_has_one_resolution():
    found = [one.period for one in resolution_of_halves(*limited(SHAPE, (4, 4, 4)), Grid(SHAPE)).axes]
    assert max(found) < 1.06 * min(found)


def test_what_rises_again_beyond_does_not_count():
    rng = np.random.default_rng(8)
    first, second = limited(SHAPE, (8, 0, 0), noise=1.0)
    grid = np.cos(2 * np.pi * np.arange(64) / 2.5)[:, None, None] * rng.standard_normal((1, 64, 64))
    found = resolution_of_halves(first + 2 * grid, second + 2 * grid, Grid(SHAPE)).axes[0]
    assert found.correlation[found.frequency > 0.35].max() > 2 * THRESHOLD
    assert found.period == pytest.approx(8, rel=0.15)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_brightness_does_not_matter(unit):
    halves = limited(SHAPE, (4, 4, 4))
    plainly, scaled = (
        resolution_of_halves(*(half * factor for half in halves), Grid(SHAPE)).axes[0].period for factor in (1, unit)
    )
    assert scaled == pytest.approx(plainly, rel=1e-4)


def test_a_few_planes_tell_nothing_along_z():
    shape = (12, 64, 64)
    found = resolution_of_halves(*limited(shape, (0, 4, 4)), Grid(shape)).axes
    assert [one.outcome for one in found] == ["too few voxels", "found", "found"]


def test_what_is_empty_has_no_signal_and_what_is_wrong_is_refused():
    empty = np.zeros((20, 20, 20))
    assert {one.outcome for one in resolution_of_halves(empty, empty, Grid(empty.shape)).axes} == {"no signal"}
    with pytest.raises(InputError, match="belong together"):
        resolution_of_halves(empty, empty, Grid((20, 20, 21)))
    with pytest.raises(InputError, match="not finite"):
        resolution_of_halves(empty, np.full_like(empty, np.nan), Grid(empty.shape))


def test_words():
    found = resolution_of_halves(*limited(SHAPE, (6, 0, 0)), Grid(SHAPE, (0.5, 0.5, 0.5)))
    assert found.axes[1].text == "finer than 1 µm"
    z = found.axes[0].text
    assert found.sentence == (
        f"Resolution along z {z}, y finer than 1 µm, x finer than 1 µm "
        "(Fourier shell correlation of two halves of the light, 1/7)"
    )
    part = type(found)(found.axes, Box((1, 2, 3), (65, 66, 67)))
    assert part.sentence.endswith("1/7, in the part with voxels z, y, x from 1 to 64, 2 to 65, 3 to 66)")
