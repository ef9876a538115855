"""Views: lazy reading, resampling, coverage and the words for what is wrong."""

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.errors import InputError

SHAPE = (12, 14, 16)


@pytest.fixture
def volume(rng):
    return rng.integers(0, 60000, SHAPE).astype(np.uint16)


def as_numpy(volume, folder):
    return volume


def as_dask(volume, folder):
    return da.from_array(volume, chunks=(5, 5, 5))


def as_zarr(volume, folder):
    store = str(folder / f"{len(list(folder.iterdir()))}.zarr")
    array = zarr.create_array(store=store, shape=volume.shape, chunks=(5, 5, 5), dtype=volume.dtype)
    array[:] = volume
    return array


def as_memory_map(volume, folder):
    np.save(folder / "v.npy", volume)
    return np.load(folder / "v.npy", mmap_mode="r")


@pytest.mark.parametrize("store", [as_numpy, as_dask, as_zarr, as_memory_map])
def test_any_store_gives_the_same_float32_block(volume, tmp_path, store):
    views = RegisteredViews([View(store(volume, tmp_path), "a"), View(store(volume, tmp_path), "b")])
    box = Box((2, 3, 4), (9, 10, 16))
    block = views.read(box)
    assert block.dtype == np.float32
    assert (block == volume[box.slices].astype(np.float32)).all()
    assert views.coverage(box) is None


def test_the_camera_offset_is_subtracted_and_nothing_falls_below_zero(volume):
    views = RegisteredViews([View(volume, "a", offset=20000.0)])
    expected = np.maximum(volume.astype(np.float32) - 20000, 0)
    assert (views.read(views.grid.box)[0] == expected).all()


def turned(angle_degrees, voxel_um=(1.0, 1.0, 1.0), centre=(6.0, 6.0, 6.0)):
    """Affine of a view that is turned about x through a point of the world."""
    angle = np.deg2rad(angle_degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(voxel_um)
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_a_view_with_an_affine_is_interpolated_where_it_lies(rng, angle):
    """Oracle: `map_coordinates` in float64 at the positions that the affines give."""
    data = rng.random(SHAPE)
    grid = Grid((10, 11, 12), (0.8, 1.1, 0.9), (3.0, -3.0, -3.5))
    views = RegisteredViews([View(data, "a", affine=turned(angle, (1.3, 0.9, 1.0)))], grid)
    to_view = np.linalg.inv(views.views[0].affine) @ grid.affine
    index = np.indices(grid.shape).reshape(3, -1)
    positions = to_view[:3, :3] @ index + to_view[:3, 3:]
    expected = ndimage.map_coordinates(data, positions, order=1, mode="nearest").reshape(grid.shape)
    inside = ((positions >= 0) & (positions <= np.array(SHAPE)[:, None] - 1)).all(axis=0).reshape(grid.shape)
    assert 0.05 < inside.mean() < 0.95, "the case must have voxels inside and outside"
    block = views.read(grid.box)[0]
    coverage = views.coverage(grid.box)[0]
    assert (coverage == inside).mean() > 0.995
    both = inside & (coverage > 0)
    assert np.abs(block - expected)[both].max() < 2e-6
    assert (block[coverage == 0] == 0).all()


def test_resampled_blocks_do_not_depend_on_how_the_volume_is_cut(rng):
    grid = Grid((20, 15, 18))
    views = RegisteredViews([View(rng.random(SHAPE), "a", affine=turned(25))], grid)
    whole = views.read(grid.box)[0]
    for z in range(0, 20, 7):
        box = Box((z, 3, 0), (min(z + 7, 20), 15, 11))
        assert np.abs(views.read(box)[0] - whole[box.slices]).max() < 1e-6
        assert (views.coverage(box)[0] == views.coverage(grid.box)[0][box.slices]).all()


def test_a_mask_takes_voxels_out_of_a_view(rng):
    data = rng.random(SHAPE).astype(np.float32) + 1
    mask = np.ones(SHAPE, bool)
    mask[:4] = False
    views = RegisteredViews([View(data, "a", mask=mask), View(data, "b")])
    coverage = views.coverage(views.grid.box)
    assert (coverage[0] == mask).all()
    assert (coverage[1] == 1).all()
    assert (views.read(views.grid.box)[0][~mask] == 0).all()


def test_the_scan_gives_whole_volume_numbers(rng):
    data = rng.normal(100, 10, SHAPE).astype(np.float32)
    views = RegisteredViews([View(data, "a"), View(data * 2, "b")])
    first, second = drain(views.scan())
    assert first.minimum == data.min()
    assert first.maximum == data.max()
    assert first.mean == pytest.approx(data.mean(dtype=np.float64), rel=1e-6)
    assert first.sha256 != second.sha256
    changed = data.copy()
    changed[3, 4, 5] += 1e-3
    assert RegisteredViews([View(changed, "a")]).statistics()[0].sha256 != first.sha256


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_not_finite_is_named_with_its_view(rng, value):
    data = rng.random(SHAPE).astype(np.float32)
    data[3, 4, 5] = value
    views = RegisteredViews([View(rng.random(SHAPE), "good"), View(data, "bad", source="bad.tif")])
    with pytest.raises(InputError, match=r"view 'bad' \(bad.tif\) has the value .* at \(z, y, x\) = \(3, 4, 5\)"):
        views.statistics()


def test_a_number_too_large_for_float32_is_named(rng):
    data = rng.random(SHAPE)
    data[1, 2, 3] = 1e300
    with pytest.raises(InputError, match="1e\\+300"):
        RegisteredViews([View(data, "a")]).statistics()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda v: View(v[0], "a"), "needs exactly three"),
        (lambda v: View(v[:0], "a"), "is empty"),
        (lambda v: View(v.astype(complex), "a"), "real numbers are needed"),
        (lambda v: View(v, "a", weight=0.0), "leave the view out"),
        (lambda v: View(v, "a", weight=1e308), "give one from 1e-06 to 1,000,000"),
        (lambda v: View(v, "a", weight=1e-308), "give one from 1e-06 to 1,000,000"),
        (lambda v: View(v, "a", offset=1e308), "not that large"),
        (lambda v: View(v, "a", affine=np.zeros((4, 4))), "invertible"),
        (lambda v: View(v, "a", mask=v[:3]), "mask"),
        (lambda v: RegisteredViews([]), "no views were given"),
        (lambda v: RegisteredViews([View(v, "a"), View(v, "a")]), "two views are called 'a'"),
        (lambda v: RegisteredViews([View(v, "a"), View(v[:, :3], "b")]), r"view 'b' has shape \(12, 3, 16\)"),
        (lambda v: RegisteredViews([View(v, "a", affine=np.eye(4))]), "need a grid"),
        (lambda v: RegisteredViews([View(v, "a")]).select(["b"]), "there is no view 'b'"),
        (lambda v: RegisteredViews([View(v, "a")]).read(Box((0, 0, 0), (99, 1, 1))), "leaves the volume"),
    ],
)
def test_what_is_wrong_with_views_is_said_at_once(volume, make, words):
    with pytest.raises(InputError, match=words):
        make(volume)


def test_a_view_that_misses_the_volume_is_named(rng):
    far = np.eye(4)
    far[:3, 3] = 1000
    views = RegisteredViews([View(rng.random(SHAPE), "far", affine=far)], Grid(SHAPE))
    with pytest.raises(InputError, match="view 'far' has no data inside the fused volume"):
        views.statistics()


def test_the_noise_of_a_view_is_that_of_its_pixels_and_not_its_structure() -> None:
    rng = np.random.default_rng(0)
    structure = 500 * ndimage.gaussian_filter(rng.random((40, 70, 60)), 2).astype(np.float32)
    noisy = structure + rng.normal(0, 3, structure.shape).astype(np.float32)
    mask = np.ones(structure.shape, bool)
    mask[:, :30] = False
    broken = np.where(mask, noisy, rng.random(structure.shape, np.float32) * 1e6)
    views = RegisteredViews([View(structure, "clear"), View(noisy, "noisy"), View(broken, "masked", mask=mask)])
    clear, whole, masked = (numbers.noise for numbers in views.statistics())
    assert clear < 0.1
    assert whole == pytest.approx(9, rel=0.05)
    assert masked == pytest.approx(9, rel=0.08)
    flat = RegisteredViews([View(np.ones((9, 4, 9), np.float32), "too small to tell")])
    assert flat.statistics()[0].noise == 0
