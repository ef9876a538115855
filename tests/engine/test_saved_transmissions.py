"""The transmissions that are found from views as files: what they hold, and that a run is the same with them."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

import napari_mvfusion as mv
from command_line import run
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.saved_transmissions import save_transmissions
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.attenuation import Transmission, find_transmission
from napari_mvfusion.measures.given_transmission import given_transmission
from napari_mvfusion.measures.transmission_volume import TransmissionVolume
from napari_mvfusion.methods import CBIF, EBMD, Average, JointWiener
from napari_mvfusion.simulation import sample

GRID = Grid((32, 32, 128), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))


@pytest.fixture(scope="module")
def dimmed():
    """Nuclei that took a good part of the light."""
    views = sample("nuclei", 32, attenuation=0.05, snr=50).views
    return RegisteredViews(views.views, replace(GRID, shape=views.grid.shape))


def with_files(views, files):
    given = [replace(view, transmission=open_volume(files[view.name])[0]) for view in views.views]
    return RegisteredViews(given, views.grid)


def test_files_hold_what_was_found_with_its_place(dimmed, tmp_path):
    shares = []
    files = mv.save_transmissions(dimmed, tmp_path / "light", progress=shares.append)
    found = find_transmission(dimmed)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [path.name for path in files.values()] == [f"transmission_{name}.tif" for name in dimmed.names]
    everywhere = found.over(dimmed.grid.box, torch.device("cpu")).numpy()
    for path, expected in zip(files.values(), everywhere, strict=True):
        volume, grid = open_volume(path)
        assert grid == dimmed.grid
        assert tifffile.imread(path).dtype == np.float32
        np.testing.assert_array_equal(volume[:], expected)
    assert everywhere.min() < 0.8 < 1.1 < everywhere.max()


@pytest.mark.long
@pytest.mark.parametrize(
    "method", [EBMD(iterations=4), JointWiener(), Average(attenuation="estimated"), CBIF(attenuation="estimated")]
)
def test_a_run_that_is_given_what_was_found_is_the_same(dimmed, tmp_path, method):
    files = save_transmissions(dimmed, tmp_path / "light")
    estimated = mv.fuse(dimmed, method)
    given = mv.fuse(with_files(dimmed, files), method.model_copy(update={"attenuation": "given"}))
    none = mv.fuse(dimmed, method.model_copy(update={"attenuation": "none"}))
    most = float(np.max(estimated.data))
    np.testing.assert_allclose(given.data, estimated.data, rtol=1e-4, atol=1e-5 * most)
    assert np.abs(np.asarray(none.data) - estimated.data).max() > 0.02 * most


@pytest.mark.long
@pytest.mark.parametrize("method", [EBMD(iterations=4), JointWiener()], ids=lambda method: method.name)
def test_shares_of_the_light_give_what_relative_ones_give_but_for_the_brightness(dimmed, method):
    method = method.model_copy(update={"attenuation": "given"})
    found = find_transmission(dimmed).over(dimmed.grid.box, torch.device("cpu")).numpy()
    shares = 0.5 * found / found.max()
    relative = shares / shares.mean()
    fused = [
        mv.fuse(
            RegisteredViews(
                [replace(v, transmission=t) for v, t in zip(dimmed.views, light, strict=True)], dimmed.grid
            ),
            method,
        ).data
        for light in (shares, relative)
    ]
    most = float(np.max(fused[1]))
    np.testing.assert_allclose(fused[0] * shares.mean(), fused[1], rtol=1e-3, atol=1e-4 * most)


def test_cells_of_large_volumes_are_averaged_again(dimmed, monkeypatch):
    """Where given transmissions are kept in cells too, they are what was found but for where it bends."""
    cells = np.random.default_rng(0).uniform(0.5, 1.5, (1, 4, 4, 4)).astype(np.float32)
    shape = (48, 48, 48)
    found = Transmission(12, cells, ())
    monkeypatch.setattr("napari_mvfusion.measures.given_transmission._CELLS", 16**3)
    (view,) = sample("nuclei", 32).views.views[:1]
    volume = TransmissionVolume(found, 0, shape)
    views = RegisteredViews([replace(view, data=np.ones(shape, np.float32), psf=None, transmission=volume)])
    again = given_transmission(views)
    assert again.cell == 3
    box = Box((0, 0, 0), shape)
    device = torch.device("cpu")
    np.testing.assert_allclose(again.of(0, box, device), found.of(0, box, device), atol=0.15)


def test_a_volume_is_computed_where_it_is_read():
    cells = np.random.default_rng(1).random((2, 3, 5, 4), np.float32)
    shape = (20, 39, 31)
    volume = TransmissionVolume(Transmission(8, cells, ()), 1, shape)
    whole = volume[:]
    assert whole.shape == shape
    np.testing.assert_array_equal(volume[7], whole[7])
    np.testing.assert_array_equal(volume[3:9, 5, ::4], whole[3:9, 5, ::4])
    np.testing.assert_array_equal(volume[19:, 38:, 30:], whole[19:, 38:, 30:])
    assert volume[3:3].shape == (0, 39, 31)
    # Of a plane of 41 x 41 cells, 51 voxels a side, all planes would take 700 MB.
    large = TransmissionVolume(Transmission(51, np.ones((1, 41, 41, 41), np.float32), ()), 0, (2048,) * 3)
    assert large[1000].shape == (2048, 2048)


def test_why_there_is_none_is_said_before_anything_is_written(dimmed, tmp_path):
    first, second = dimmed.views
    for views, why in (
        ([first], "there is one: give two or more"),
        ([first, replace(second, angle=None)], r"'180' has no angle"),
        ([replace(first, psf=None), second], r"'0' has no PSF"),
        ([first, replace(second, data=first.data)], "what looks like it leaves"),
        ([first, replace(second, data=first.data, psf=first.psf)], "do not differ as if"),
    ):
        with pytest.raises(InputError, match=why):
            save_transmissions(RegisteredViews(views, dimmed.grid), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    save_transmissions(dimmed, tmp_path / "light")
    with pytest.raises(OutputError, match=r"transmission_0\.tif exists already"):
        save_transmissions(dimmed, tmp_path / "light")
    save_transmissions(dimmed, tmp_path / "light", overwrite=True)


@pytest.mark.long
def test_the_command_writes_what_fuse_takes(dimmed, tmp_path):
    write_views_folder(tmp_path / "views", dimmed, "a")
    told = run("transmission", tmp_path / "views", "-o", tmp_path / "light").stdout
    assert "one view got" in told
    options = next(line for line in told.splitlines() if line.startswith("--set attenuation=given")).split()
    common = ("--method", "wiener")
    run("fuse", tmp_path / "views", *common, *options, "-o", tmp_path / "given.tif")
    run("fuse", tmp_path / "views", *common, "-o", tmp_path / "estimated.tif")
    given, estimated = (open_volume(tmp_path / f"{name}.tif")[0][:] for name in ("given", "estimated"))
    np.testing.assert_allclose(given, estimated, rtol=1e-4, atol=1e-5 * estimated.max())
    err = run("transmission", tmp_path / "views", "-o", tmp_path / "light", code=3).stderr
    assert "exists already" in err
    err = run("transmission", tmp_path / "views", "-o", tmp_path / "views", code=3).stderr
    assert "taken for views" in err
    told = run("transmission", tmp_path / "views", "--only", "0", "-o", tmp_path / "other", code=2).stderr
    assert "there is one" in told
