"""What is written as OME-Zarr keeps to the schemas of the specification, which ngff-zarr brings; and scenes come back."""

import numpy as np
import pytest
import zarr
from ngff_zarr import from_ngff_zarr
from ngff_zarr.validate import load_schema, validate

from command_line import run
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import format_of, open_stored
from napari_mvfusion.io.ome_zarr.scene_writer import write_scene
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.streaming import LeadingAxis

# Older ones have no OME-Zarr 0.6; this one needs a dask that we do not.
pytest.importorskip("ngff_zarr", minversion="0.43", reason="OME-Zarr 0.6 is checked with ngff-zarr 0.43 or newer")

GRID = Grid((6, 70, 8), (2.0, 0.5, 0.5), (1.0, 2.0, 3.0))


def psf_of(shape, at):
    psf = np.zeros(shape, np.float32)
    psf[at] = 1
    return psf


def psf_above(planes):
    """A spot that lies some planes above the middle."""
    psf = np.zeros((15, 3, 3), np.float32)
    psf[:, 1, 1] = np.exp(-((np.arange(15) - 7 - planes) ** 2) / 2)
    return psf / psf.sum()


def turned(angle):
    """About x, as a stage does, from voxels of 2 x 0.5 x 0.5 um."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(GRID.voxel_size_um)
    matrix[:3, 3] = (10, -4, 5)
    return matrix


def some_views(rng):
    upright = View(rng.random(GRID.shape, np.float32), "0", psf=psf_of((5, 3, 3), (2, 1, 1)), angle=0.0, weight=2.0)
    pixels = rng.integers(0, 999, (6, 10, 8)).astype(np.uint16)
    slanted = View(pixels, "left side/90", psf=psf_above(1), angle=90.0, affine=turned(90), offset=7.0)
    return RegisteredViews([upright, slanted], GRID)


def attributes(path):
    return dict(zarr.open_group(path, mode="r").attrs)


def check_06(path, model, **how):
    """Version 0.6 by the schemas that are there, which may be those of its last draft."""
    stated = attributes(path)
    assert stated["ome"]["version"] == "0.6"
    version = load_schema("0.6", "_version")["enum"][0]
    validate(stated | {"ome": stated["ome"] | {"version": version}}, version="0.6", model=model, **how)


def written_volume(path, rng):
    write_zarr(path, rng.random(GRID.shape, np.float32), GRID, recipe={"a": 1})


def written_series(path, rng):
    axes = [LeadingAxis("t", 2, 30.0), LeadingAxis("c", 3, 1.0)]
    write_zarr(path, rng.random((2, 3, *GRID.shape), np.float32), GRID, leading=axes)


def written_without_size(path, rng):
    write_zarr(path, rng.random(GRID.shape, np.float32), Grid(GRID.shape, known=(False, False, False)))


def written_views(path, rng):
    views = some_views(rng).select(["0"])
    write_views_zarr(path, views, truth=rng.random(GRID.shape, np.float32))


@pytest.mark.parametrize("make", [written_volume, written_series, written_without_size, written_views])
def test_images_keep_to_the_strict_schema(tmp_path, rng, make):
    make(tmp_path / "v.zarr", rng)
    validate(attributes(tmp_path / "v.zarr"), version="0.5", model="image", strict=True)
    if make is written_views:
        validate(attributes(tmp_path / "v.zarr" / "groundtruth"), version="0.5", model="image", strict=True)
        # The specification asks for both, and its schema does not look.
        (channel,) = attributes(tmp_path / "v.zarr")["ome"]["omero"]["channels"]
        assert len(channel["color"]) == 6
        assert channel["window"].keys() == {"min", "max", "start", "end"}


def test_time_comes_before_channels_as_the_specification_wants_and_its_schema_does_not_look(tmp_path, rng):
    values = rng.integers(0, 99, (3, 2, *GRID.shape)).astype(np.uint8)
    axes = [LeadingAxis("c", 3), LeadingAxis("t", 2, 30.0)]
    write_zarr(tmp_path / "v.zarr", values, GRID, leading=axes)
    image = from_ngff_zarr(tmp_path / "v.zarr").images[0]
    assert (image.dims, image.scale["t"]) == (("t", "c", "z", "y", "x"), 30.0)
    np.testing.assert_array_equal(image.data, values.swapaxes(0, 1))


def test_a_scene_keeps_to_the_schema(tmp_path, rng):
    fused = Fused(rng.random(GRID.shape, np.float32), GRID, {"format": "mvfusion-recipe"})
    write_scene(tmp_path / "s.zarr", some_views(rng), fused=fused)
    check_06(tmp_path / "s.zarr", "scene")
    for image in ("views/0", "views/left_side_90", "fused"):
        check_06(tmp_path / "s.zarr" / image, "image", strict=True)


def test_a_scene_opens_as_what_was_written(tmp_path, rng):
    """Pixels, places, names and settings; a PSF in the frame of its view lands in that of the fused volume."""
    views = some_views(rng)
    fused = Fused(rng.random(GRID.shape, np.float32), GRID, {"format": "mvfusion-recipe"})
    write_scene(tmp_path / "s.zarr", views, fused=fused)
    again = open_views(tmp_path / "s.zarr", no_data="none", own_psfs=True)
    assert any("'fused' of" in note and "left out" in note for note in again.remarks)
    for before, after in zip(views.views, again.views, strict=True):
        np.testing.assert_array_equal(np.asarray(after.data), before.data)
        expected = GRID.affine if before.affine is None else before.affine
        np.testing.assert_allclose(again.grid.affine if after.affine is None else after.affine, expected, atol=1e-12)
        np.testing.assert_array_equal(after.psf, before.psf)
        assert (after.angle, after.weight, after.offset) == (before.angle, before.weight, before.offset)
    assert format_of(tmp_path / "s.zarr").describe(tmp_path / "s.zarr").psfs == 2
    np.testing.assert_array_equal(np.asarray(open_stored(tmp_path / "s.zarr" / "fused").volume()), fused.data)
    # One plane above the middle of a view that is turned by 90 degrees is 2 um, four voxels of 0.5 um, beside it.
    cubes = open_views(tmp_path / "s.zarr", no_data="none", grid=(0.5, 0.5, 0.5))
    psf = cubes.views[1].psf
    alone = [psf.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    place = [np.average(np.arange(len(row)), weights=row) for row in alone]
    np.testing.assert_allclose(place - np.array(psf.shape) // 2, (0, 4, 0), atol=0.05)


def test_levels_of_a_scene_keep_its_psfs_in_micrometres(tmp_path, rng):
    views = some_views(rng).select(["0"])
    write_scene(tmp_path / "s.zarr", views)
    coarse = open_views(tmp_path / "s.zarr", no_data="none", level=1)
    assert coarse.views[0].shape == (6, 35, 8)
    fine = open_views(tmp_path / "s.zarr", no_data="none", grid=coarse.grid.voxel_size_um)
    np.testing.assert_allclose(coarse.views[0].psf, fine.views[0].psf, atol=1e-6)


def test_projects_become_scenes_on_the_command_line(tmp_path, test_data):
    project = test_data / "projects" / "bigstitcher-tiff" / "dataset.xml"
    run("fuse", project, "--method", "average", "-o", tmp_path / "f.zarr")
    run("scene", project, "--fused", tmp_path / "f.zarr", "-o", tmp_path / "s.zarr")
    check_06(tmp_path / "s.zarr", "scene")
    before, after = open_views(project, no_data="none"), open_views(tmp_path / "s.zarr", no_data="none")
    assert before.grid == after.grid
    for one, other in zip(before.views, after.views, strict=True):
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-9)
        assert one.psf.shape == other.psf.shape
    assert "exists already" in run("scene", project, "-o", tmp_path / "s.zarr", code=3).stderr
    assert "ends with .zarr" in run("scene", project, "-o", tmp_path / "s.tif", code=3).stderr
    onto_itself = run("scene", tmp_path / "s.zarr", "-o", tmp_path / "s.zarr", "--overwrite", code=3)
    assert "is or holds the input" in onto_itself.stderr


def test_names_of_views_become_folders_that_differ(tmp_path, rng):
    names = ["a/b", "a b", "A_B", "..", "0"]
    views = RegisteredViews([View(rng.random((2, 3, 4), np.float32), name) for name in names])
    write_scene(tmp_path / "s.zarr", views)
    folders = [child.name for child in (tmp_path / "s.zarr" / "views").iterdir() if child.is_dir()]
    assert sorted(folders) == ["0", "A_B-2", "a_b", "a_b-1", "view3"]
    masked = RegisteredViews([View(views.views[0].data, "m", mask=np.ones((2, 3, 4), bool))])
    with pytest.raises(OutputError, match="has a mask, which a scene does not hold"):
        write_scene(tmp_path / "m.zarr", masked)
    assert not (tmp_path / "m.zarr").exists()
