"""The phantoms: their statistics follow the recipe, at every size, and turning them is exact where it can be."""

from __future__ import annotations

from math import exp, pi

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation import phantoms
from napari_mvfusion.simulation.phantoms import embryo, nuclei
from napari_mvfusion.simulation.rotation import _interpolate, reach, turn, turned_shape


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def distance_from_axis(shape: tuple[int, ...]) -> np.ndarray:
    z, y = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(z - (shape[0] - 1) / 2, y - (shape[1] - 1) / 2)[..., None]


@pytest.mark.parametrize("size", [48, 65])
def test_the_brightness_inside_the_embryo_is_that_of_the_recipe(size: int) -> None:
    volume = embryo(size, rng())
    grid = np.indices(volume.shape) - (size - 1) / 2
    radius = np.sqrt((grid**2).sum(axis=0)) * 289 / size
    # Deep inside, spheres cover a voxel Poisson(m) times, and the brightest of N uniform draws has mean N / (N + 1).
    covers = 3.5e-4 * 4 / 3 * pi * np.mean(np.arange(1, 21) ** 3)
    expected = 1 - (1 - exp(-covers)) / covers
    assert volume[radius < 80].mean() == pytest.approx(expected, abs=0.02)
    assert volume.dtype == np.float32
    assert volume.min() == 0
    assert volume.max() <= 1
    # Nothing is drawn beyond the ball and the largest small sphere, in voxels of the twice as fine canvas.
    assert volume[radius > (195 + 20) / 2 + 2 * 289 / size].max() == 0
    assert volume[(radius > 85) & (radius < 95)].mean() > 0.5


def test_one_seed_is_one_embryo_at_every_size() -> None:
    small, large = embryo(40, rng(3)), embryo(80, rng(3))
    halved = large.reshape(40, 2, 40, 2, 40, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.97
    inside = (slice(12, 28),) * 3
    assert abs(np.corrcoef(small[inside].ravel(), embryo(40, rng(4))[inside].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("make", [embryo, nuclei])
def test_a_seed_gives_the_same_bits(make: object) -> None:
    assert callable(make)
    assert np.array_equal(make(32, rng(1)), make(32, rng(1)))
    assert not np.array_equal(make(32, rng(1)), make(32, rng(2)))


def test_the_canvas_may_be_painted_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embryo(32, rng())
    monkeypatch.setattr(phantoms, "_SLAB_VOXELS", 3 * 8 * 32**2)
    assert np.array_equal(embryo(32, rng()), whole)


def test_nuclei_are_sparse_and_few_of_them_touch() -> None:
    volume = nuclei((70, 70, 500), rng())
    assert volume.shape == (70, 70, 500)
    assert 0.05 < (volume > 0).mean() < 0.12
    # Published proportions: 558 nuclei in a worm of 140 x 140 x 1000.
    assert 0.75 * 558 < ndimage.label(volume > 0.15)[1] <= 558
    assert volume.max() <= 1


def test_the_worm_is_round_tapered_and_lies_along_x() -> None:
    volume = nuclei(64, rng())
    assert volume.shape == (64, 64, 256)
    outside = distance_from_axis(volume.shape) > 55 / 140 * 64 + 2
    assert volume[np.broadcast_to(outside, volume.shape)].max() == 0
    widths = [(distance_from_axis(volume.shape) * (part > 0)).max() for part in np.array_split(volume, 8, axis=2)]
    assert widths[-1] < 0.75 * max(widths)


def test_a_shorter_worm_has_fewer_nuclei() -> None:
    short, long = (ndimage.label(nuclei((48, 60, n), rng()) > 0.15)[1] for n in (96, 288))
    assert 2 < long / short < 4


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 40), (20, 64, 200), 16])
def test_a_worm_of_no_use_is_refused(shape: object) -> None:
    with pytest.raises(InputError, match="worm of shape"):
        nuclei(shape, rng())  # type: ignore[arg-type]


def test_an_embryo_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="at least 32"):
        embryo(8, rng())


@pytest.mark.parametrize("angle", [0, 90, 180, 270, -90, 450])
def test_quarter_turns_only_reorder_voxels(angle: float) -> None:
    volume = rng().random((5, 8, 3)).astype(np.float32)
    turned = turn(volume, angle)
    assert turned.shape == turned_shape((5, 8, 3), angle)
    assert np.array_equal(np.sort(turned, axis=None), np.sort(volume, axis=None))
    assert np.array_equal(turn(turned, -angle), volume)
    np.testing.assert_allclose(turned, _interpolate(volume, angle, turned.shape), atol=1e-6)


def test_the_direction_of_an_angle_becomes_z() -> None:
    volume = np.zeros((9, 9, 1), np.float32)
    volume[4, 7] = 1  # y is the direction of 90 degrees
    assert np.argwhere(turn(volume, 90)).tolist() == [[7, 4, 0]]
    volume = np.zeros((9, 9, 1), np.float32)
    volume[6, 6] = 1  # and the diagonal that of 45
    weights = turn(volume, 45)
    z, y = np.average(np.indices((9, 9)).reshape(2, -1), axis=1, weights=weights.ravel())
    assert (z, y) == pytest.approx((4 + np.sqrt(8), 4), abs=0.1)


def test_oblique_turns_interpolate_linearly() -> None:
    volume = rng().random((20, 24, 3)).astype(np.float32)
    shape = turned_shape((20, 24, 3), 33)
    assert shape == (24, 24, 3)
    cos, sin = np.cos(np.radians(33)), np.sin(np.radians(33))
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    start = (np.array([20, 24, 3]) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    expected = ndimage.affine_transform(volume, matrix, start, shape, order=1, mode="grid-constant")
    turned = turn(volume, 33)
    np.testing.assert_allclose(turned, expected, atol=1e-5)
    ones = ndimage.affine_transform(np.ones((20, 24, 1)), matrix, start, (24, 24, 1), order=1, mode="grid-constant")
    assert np.array_equal(reach((20, 24, 3), shape, 33), ones > 1 - 1e-9)
