"""Pixels and projects that other programs have written: N5 by z5py, projects by pybdv, with every value and place."""

from itertools import product

import h5py
import numpy as np
import pytest
from scipy import ndimage

from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.n5 import N5Volume, open_n5
from napari_mvfusion.io.opening import open_views

SHAPE = (13, 17, 23)
CODECS = ("raw", "gzip", "blosc", "bzip2", "lz4", "xz", "zstd")
TYPES = ("uint8", "uint16", "int16", "float32", "float64", "uint64")


def test_n5_of_z5py_is_read_whatever_packs_it_and_whatever_its_type(tmp_path, rng):
    """Blocks at the far faces are cut, and blocks of zeros are not there."""
    z5py = pytest.importorskip("z5py")
    with z5py.File(str(tmp_path / "a.n5"), "w", use_zarr_format=False) as file:
        wanted = {}
        for codec, name in product(CODECS, TYPES):
            values = (rng.random(SHAPE) * 200).astype(name)
            values[:5, :6] = 0
            file.create_dataset(f"{codec}/{name}", data=values, chunks=(5, 6, 8), compression=codec)
            wanted[codec, name] = values
    for (codec, name), values in wanted.items():
        found = N5Volume(open_n5(tmp_path / "a.n5" / codec / name))
        assert found.dtype == name
        np.testing.assert_array_equal(found[:], values)
        np.testing.assert_array_equal(found[3:11, ::3, 22:2:-2], values[3:11, ::3, 22:2:-2])


@pytest.mark.filterwarnings("ignore:Setup . is present:UserWarning")
@pytest.mark.parametrize("ending", ["h5", "n5"])
def test_a_project_of_pybdv_has_its_values_at_their_places_at_all_levels(tmp_path, rng, ending):
    """Its transforms stand in the order in which they are put together: the calibration meets pixels first."""
    pybdv = pytest.importorskip("pybdv")
    from pybdv.metadata import get_affine, get_resolution

    shape, size_um = (16, 20, 24), (2.0, 0.5, 0.5)
    data = str(tmp_path / f"d.{ending}")
    turn = [0.0, 0.0, 1.0, 5.0, 0.0, 1.0, 0.0, -3.0, -1.0, 0.0, 0.0, 7.0]
    calibration = [0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]
    pixels = {}
    for setup, time in product((0, 1), (0, 1)):
        # Of what looks negative as int16, pybdv's means are right only where all are alike.
        pixels[setup, time] = rng.integers(0, 30_000, shape).astype(np.uint16)
        pixels[setup, time][:, 4:8, 6:12] = 50_000 + setup
        pybdv.make_bdv(
            pixels[setup, time],
            data,
            downscale_factors=[[1, 2, 2]],
            downscale_mode="mean",
            resolution=size_um,
            unit="micrometer",
            setup_id=setup,
            timepoint=time,
            affine={"turn": turn, "calibration": calibration} if setup else {"calibration": calibration},
            attributes={"channel": {"id": 0}, "angle": {"id": setup}},
            chunks=(8, 8, 8),
        )
    xml = str(tmp_path / "d.xml")
    for time, level in product((0, 1), (0, 1)):
        views = open_views(xml, timepoint=time, level=level, no_data="none")
        assert views.names == ("0", "1")
        for setup, view in enumerate(views.views):
            found = np.asarray(view.data[:])
            if level == 0:
                np.testing.assert_array_equal(found, pixels[setup, time])
            else:
                means = pixels[setup, time].reshape(16, 10, 2, 12, 2).mean((2, 4))
                assert np.abs(found - means).max() <= 1
            model = np.eye(4)
            for row in get_affine(xml, setup, time).values():
                model = model @ np.vstack([np.reshape(row, (3, 4)), [0, 0, 0, 1]])
            assert list(get_resolution(xml, setup)) == list(size_um)
            middle = np.array([7, 4, 3]) if level == 0 else np.array([7, 2 * 4 + 0.5, 2 * 3 + 0.5])
            place = (model @ [*middle[::-1], 1])[2::-1]
            own = views.grid.affine if view.affine is None else view.affine
            np.testing.assert_allclose((own @ [7, 4, 3, 1])[:3], place)


@pytest.mark.filterwarnings("ignore:Setup . is present:UserWarning")
@pytest.mark.parametrize("ending", ["h5", "n5"])
def test_a_view_that_pybdv_did_not_write_at_a_time_point_was_not_recorded(tmp_path, rng, ending):
    """Nothing lists it as missing: it has neither pixels nor a registration."""
    pybdv = pytest.importorskip("pybdv")
    pixels = rng.integers(0, 255, (5, 6, 7)).astype(np.uint8)
    for setup, time in ((0, 0), (1, 0), (0, 2)):
        where = {"setup_id": setup, "timepoint": time, "attributes": {"angle": {"id": setup}}}
        pybdv.make_bdv(pixels + setup, str(tmp_path / f"d.{ending}"), unit="micrometer", **where)
    xml = str(tmp_path / "d.xml")
    assert open_views(xml, timepoint=0, no_data="none").names == ("0", "1")
    views = open_views(xml, timepoint=2, no_data="none")
    assert views.names == ("0",)
    assert f"{xml} has neither pixels nor a registration of 1: not recorded" in views.remarks
    np.testing.assert_array_equal(views.views[0].data[:], pixels)
    with pytest.raises(InputError, match=r"the pixels of setup . at time point 1"):
        open_views(xml, timepoint=1)


def test_a_project_of_pybdv_that_says_n5_of_a_zarr_says_what_to_write(tmp_path):
    pybdv = pytest.importorskip("pybdv")
    pybdv.make_bdv(np.ones((5, 6, 7), np.uint8), str(tmp_path / "d.zarr"), unit="micrometer")
    with pytest.raises(InputError, match=r"s0 is an array of Zarr, and its project says N5.*that ends in \.n5"):
        open_views(str(tmp_path / "d.xml"))


@pytest.mark.filterwarnings("ignore:Setup . is present:UserWarning")
def test_what_is_fused_of_a_project_of_pybdv_lies_on_its_views(tmp_path, rng):
    """One view is turned; oracles: places by pybdv, pixels by h5py, and those between them by scipy."""
    pybdv = pytest.importorskip("pybdv")
    from pybdv.metadata import get_affine

    placed = {"turn": [0.0, 0.0, 1.0, 5.0, 0.0, 1.0, 0.0, -3.0, -1.0, 0.0, 0.0, 7.0]}
    calibration = {"calibration": [0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]}
    views = rng.integers(0, 30_000, (2, 6, 12, 20)).astype(np.uint16)
    for setup, pixels in enumerate(views):
        how = {"resolution": (2.0, 0.5, 0.5), "unit": "micrometer", "attributes": {"angle": {"id": setup}}}
        affine = (placed if setup else {}) | calibration
        pybdv.make_bdv(pixels, str(tmp_path / "d.h5"), setup_id=setup, affine=affine, **how)
    run(
        "fuse",
        tmp_path / "d.xml",
        "--method",
        "average",
        "--no-data",
        "none",
        "-o",
        tmp_path / "f.bdv",
        "--device",
        "cpu",
    )

    def model(xml, setup):
        whole = np.eye(4)
        for row in get_affine(str(xml), setup, 0).values():
            whole = whole @ np.vstack([np.reshape(row, (3, 4)), [0, 0, 0, 1]])
        return whole

    with h5py.File(tmp_path / "f.bdv" / "dataset.h5") as file:
        fused = file["t00000/s00/0/cells"][:]
    voxels = np.argwhere(np.ones(fused.shape, bool))
    world = model(tmp_path / "f.bdv" / "dataset.xml", 0) @ np.c_[voxels[:, ::-1], np.ones(len(voxels))].T
    found = []
    for setup, pixels in enumerate(views):
        at = (np.linalg.inv(model(tmp_path / "d.xml", setup)) @ world)[2::-1].round(9)
        found.append(ndimage.map_coordinates(pixels.astype(float), at, order=1, cval=np.nan))
    values = np.reshape(found, (2, *fused.shape))
    seen = np.isfinite(values).sum(0)
    assert {0, 1, 2} == set(seen.ravel())
    assert not fused[seen == 0].any()
    np.testing.assert_allclose(fused[seen == 1], np.nansum(values, 0)[seen == 1], atol=0.02)
    # Where both are, they fade into each other.
    both, most = values[:, seen == 2], 0.02
    assert ((fused[seen == 2] >= both.min(0) - most) & (fused[seen == 2] <= both.max(0) + most)).all()
