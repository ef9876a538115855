"""PSFs by all the ways in: brought to the voxels of the views, with what was done said in messages and recipe."""

import json

import numpy as np
import pytest
import tifffile

import warm_process
from command_line import run
from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.methods import make_method

SHAPE = (40, 24, 22)
SIGMA_UM = np.array([0.6, 0.3, 0.3])
ANGLES = (0, 180)


def psf_of(voxel_um, shape=(31, 21, 21)):
    """A Gaussian in space, sampled with some voxels."""
    lines = [
        np.exp(-0.5 * ((np.arange(n) - n // 2) * v / s) ** 2)
        for n, v, s in zip(shape, np.broadcast_to(voxel_um, 3), SIGMA_UM, strict=True)
    ]
    values = np.einsum("i,j,k->ijk", *lines)
    return (values / values.sum()).astype(np.float32)


def save(path, values, voxel_um=None):
    """A TIFF file as ImageJ writes it."""
    if voxel_um is None:
        tifffile.imwrite(path, values, imagej=True, metadata={"axes": "ZYX"})
        return
    z, _, x = np.broadcast_to(voxel_um, 3)
    metadata = {"spacing": z, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, values, imagej=True, resolution=(1 / x, 1 / x), metadata=metadata)


@pytest.fixture
def pixels(rng):
    return {angle: rng.random(SHAPE, np.float32) + 1 for angle in ANGLES}


def by_folder(folder, pixels, psf, psf_um, view_um):
    for angle in ANGLES:
        save(folder / f"fly_view_{angle}.tif", pixels[angle], view_um)
        save(folder / f"psf_{angle}.tif", psf, psf_um)
    return open_views(folder)


def by_files(folder, pixels, psf, psf_um, view_um):
    by_folder(folder, pixels, psf, psf_um, view_um)
    files = [folder / f"fly_view_{angle}.tif" for angle in ANGLES]
    return open_views(files, psfs=[folder / f"psf_{angle}.tif" for angle in ANGLES])


def by_psf_folder(folder, pixels, psf, psf_um, view_um):
    (folder / "elsewhere").mkdir()
    for angle in ANGLES:
        save(folder / f"fly_view_{angle}.tif", pixels[angle], view_um)
        save(folder / "elsewhere" / f"psf_{angle}.tif", psf, psf_um)
    return open_views(folder, psf_folder=folder / "elsewhere")


def by_zarr(folder, pixels, psf, psf_um, view_um):
    (folder / "elsewhere").mkdir()
    for angle in ANGLES:
        save(folder / "elsewhere" / f"psf_{angle}.tif", psf, psf_um)
    views = [View(pixels[angle], str(angle), angle=float(angle)) for angle in ANGLES]
    write_views_zarr(folder / "v.zarr", RegisteredViews(views, Grid(SHAPE, (view_um,) * 3)))
    return open_views(folder / "v.zarr", psf_folder=folder / "elsewhere")


def by_voxel_size(folder, pixels, psf, psf_um, view_um):
    by_folder(folder, pixels, psf, psf_um, None)
    return open_views(folder, voxel_size_um=(view_um,) * 3)


@pytest.mark.parametrize("entrance", [by_folder, by_files, by_psf_folder, by_zarr, by_voxel_size])
def test_a_psf_of_other_voxels_is_brought_to_those_of_the_views(tmp_path, pixels, entrance):
    views = entrance(tmp_path, pixels, psf_of(0.1), 0.1, 0.2)
    for view in views.views:
        right = psf_of(0.2, view.psf.shape)
        assert view.psf == pytest.approx(right, abs=0.08 * float(right.max()))
        assert "resampled from voxels of 0.1 x 0.1 x 0.1 to 0.2 x 0.2 x 0.2 um" in view.psf_notes


def test_info_says_once_for_all_views_what_was_done_to_their_psfs(tmp_path, pixels):
    by_folder(tmp_path, pixels, psf_of(0.1), 0.1, 0.2)
    lines = run("info", tmp_path).stdout.splitlines()
    (said,) = [line for line in lines if "resampled from voxels of 0.1 x 0.1 x 0.1 to 0.2 x 0.2 x 0.2 um" in line]
    assert said.startswith("PSFs of view '0', view '180': ")


def test_deep_voxels_of_a_psf_count_too(tmp_path, pixels):
    views = by_folder(tmp_path, pixels, psf_of((0.4, 0.1, 0.1), (11, 21, 21)), (0.4, 0.1, 0.1), 0.2)
    right = psf_of(0.2, views.views[0].psf.shape)
    assert views.views[0].psf == pytest.approx(right, abs=0.08 * float(right.max()))


def test_unknown_sizes_are_used_voxel_for_voxel_and_said_where_the_views_are_known(tmp_path, pixels):
    for psf_um, view_um, words in (
        (None, 0.2, "its voxel size is not known"),
        (0.1, None, "the voxel size of the views is not known"),
        (None, None, None),
        (0.2, 0.2, None),
    ):
        folder = tmp_path / f"{psf_um} {view_um}"
        folder.mkdir()
        view = by_folder(folder, pixels, psf_of(0.2), psf_um, view_um).views[0]
        assert view.psf.max() == pytest.approx(float(psf_of(0.2).max()), rel=0.01)
        said = " ".join(view.psf_notes)
        assert words in said if words else "voxel for voxel" not in said


def test_a_fused_volume_is_that_of_a_psf_made_with_the_voxels_of_the_views(tmp_path, pixels):
    method = make_method("ebmd", iterations=3)
    volumes = []
    for number, voxel_um in enumerate((0.1, 0.2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        views = by_folder(folder, pixels, psf_of(voxel_um), voxel_um, 0.2)
        volumes.append(np.asarray(fuse(views, method, device="cpu").data))
    assert np.sqrt(np.mean((volumes[0] - volumes[1]) ** 2)) < 0.03 * np.ptp(volumes[1])


@pytest.mark.long
def test_what_was_done_to_a_psf_is_in_the_messages_and_in_the_recipe(tmp_path, pixels):
    raw = np.rint(1000 * psf_of(0.1) / psf_of(0.1).max()).astype(np.uint16)
    by_folder(tmp_path, pixels, raw, 0.1, 0.2)
    words = ["fuse", tmp_path, "--method", "ebmd", "--iterations", 1, "-o", tmp_path / "out.zarr"]
    done = warm_process.run("from napari_mvfusion.cli import main; main()", *words)
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert said.count("note: PSF of view '0': resampled from voxels of 0.1 x 0.1 x 0.1 to 0.2 x 0.2 x 0.2 um") == 1
    assert said.count("note: PSF of view '180': ") == 1
    assert "warning" not in said
    recipe = json.loads((tmp_path / "out.zarr.recipe.json").read_text())
    assert any("resampled" in note for note in recipe["views"][1]["psf_notes"])
    assert any("sum brought from" in note for note in recipe["views"][1]["psf_notes"])


def test_notes_are_events_only_where_the_method_needs_psfs(tmp_path, pixels):
    views = by_folder(tmp_path, pixels, psf_of(0.1), 0.1, 0.2)
    for name, count in (("average", 0), ("cbif", 0), ("ebmd", 2)):
        parameters = {"iterations": 1} if name == "ebmd" else {}
        events = list(fuse_events(views, make_method(name, **parameters), device="cpu"))
        assert sum(isinstance(event, Noted) for event in events) == count
        assert not any(isinstance(event, Warned) for event in events)


@pytest.mark.parametrize("spoil", [np.zeros_like, lambda p: np.full_like(p, np.nan), lambda p: p + np.roll(p, 9, 0)])
def test_average_needs_no_psf_and_says_so_and_ebmd_names_what_is_wrong(tmp_path, pixels, spoil):
    views = by_folder(tmp_path, pixels, spoil(psf_of(0.2)), 0.2, 0.2)
    events = list(fuse_events(views, make_method("average"), device="cpu"))
    said = [event.message for event in events if isinstance(event, Noted)]
    assert len(said) == 2
    assert all("psf_" in text and text.endswith("needs no PSF") for text in said)
    with pytest.raises(InputError, match=r"the PSF of .*psf_0\.tif"):
        fuse(views, make_method("ebmd", iterations=1), device="cpu")
    (sample,) = describe(tmp_path).samples
    assert len(sample.views) == 2
    assert "psf_0.tif" in sample.problems[0]


def test_a_psf_of_one_plane_is_fused_with(tmp_path, pixels):
    plane = psf_of(0.2, (1, 9, 9))
    views = by_folder(tmp_path, pixels, plane, 0.2, 0.2)
    assert views.views[0].psf.shape[0] == 1
    for name, parameters in (("average", {}), ("ebmd", {"iterations": 2})):
        fused = np.asarray(fuse(views, make_method(name, **parameters), device="cpu").data)
        assert np.isfinite(fused).all()


def test_a_psf_a_little_longer_than_the_volume_is_noted_with_its_own_file(tmp_path, pixels):
    small = {angle: values[:11] for angle, values in pixels.items()}
    views = by_folder(tmp_path, small, psf_of(0.3, (13, 9, 9)), 0.3, 0.3)
    assert [view.psf.shape[0] for view in views.views] == [13, 13]
    events = list(fuse_events(views, make_method("ebmd", iterations=1)))
    notes = [event.message for event in events if isinstance(event, Noted) and "more than the volume" in event.message]
    assert [f"psf_{angle}.tif" in note for angle, note in zip(ANGLES, notes, strict=True)] == [True, True]
    assert not any("_view_" in note for note in notes)
    assert not [event for event in events if isinstance(event, Warned) and "more than the volume" in event.message]
    named = open_views(tmp_path, psfs={"180": tmp_path / "psf_0.tif"})
    assert [view.label_of_psf for view in named.views] == [
        f"view '{angle}' ({tmp_path / 'psf_0.tif'})" for angle in ANGLES
    ]
