"""Projects of BigDataViewer and BigStitcher: every value and place of known ones, and what can be chosen of them."""

import json
import shutil

import h5py
import numpy as np
import pytest
import zarr
from scipy import ndimage

from bdv_projects import IDENTITY, Setup, scaled, write_n5, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.project_file import read_project
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.opening import open_views, open_volume

EXPECTED = [
    ("mri-stack/mri-stack.xml", 0, 0),
    ("npy2bdv/npy2bdv_angles.xml", 0, 0),
    ("npy2bdv/npy2bdv_angles.xml", 1, 0),
    ("npy2bdv/npy2bdv_angles.xml", 0, 1),
    ("bigstitcher-zarr/dataset.xml", 0, 0),
    ("bigstitcher-zarr/dataset.xml", 1, 0),
    ("bigstitcher-zarr/dataset.xml", 0, 1),
    ("bigstitcher-tiff/dataset.xml", 0, 0),
    ("bigstitcher-tiff/dataset.xml", 1, 0),
]
QUARTER_TURN = np.array([[0, 0, -1, 40], [0, 1, 0, 3], [1, 0, 0, 5]], float)


@pytest.fixture(scope="module")
def projects(test_data):
    folder = test_data / "projects"
    if not folder.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    return folder


@pytest.fixture(scope="module")
def expected(projects):
    listed = json.loads((projects / "expected.json").read_text())
    found = {(e["project"], e["setup"], e["timepoint"]): e for e in listed if "setup" in e}
    return {
        (name, setup, time): found[("mri-stack.xml" if "mri" in name else name, setup, time)]
        for name, setup, time in EXPECTED
    }


def affine_of(views, number):
    own = views.views[number].affine
    return views.grid.affine if own is None else own


@pytest.mark.parametrize("which", EXPECTED, ids=lambda which: f"{which[0].split('/')[0]}-{which[1]}-{which[2]}")
def test_every_value_and_place_is_as_an_independent_reader_found_it(projects, expected, which):
    project, setup, timepoint = which
    known = expected[which]
    views = open_views(projects / project, timepoint=timepoint, no_data="none")
    view = views.views[setup]
    assert view.shape == tuple(known["shape_zyx"])
    assert str(view.data.dtype) == known["dtype"]
    pixels = np.asarray(view.data[:])
    assert (pixels.min(), pixels.max()) == (known["min"], known["max"])
    assert pixels.mean(dtype=float) == pytest.approx(known["mean"])
    for point in known["points"]:
        assert pixels[tuple(point["zyx"])] == point["value"]
        place = affine_of(views, setup) @ [*point["zyx"], 1]
        np.testing.assert_allclose(place[:3], point["world_zyx_um"], atol=1e-9)


@pytest.mark.parametrize("which", EXPECTED, ids=lambda which: f"{which[0].split('/')[0]}-{which[1]}-{which[2]}")
def test_the_command_line_lays_every_view_where_it_lies(projects, expected, tmp_path, which):
    project, setup, timepoint = which
    known = expected[which]
    name = "90" if setup else "setup 0" if "mri" in project else "0"
    out = tmp_path / "fused.zarr"
    run("fuse", projects / project, "--timepoint", timepoint, "--views", name, "--method", "average", "-q", "-o", out)
    fused, grid = open_volume(out)
    for point in known["points"]:
        voxel = (np.array(point["world_zyx_um"]) - grid.origin_um) / grid.voxel_size_um
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-6)
        z, y, x = np.rint(voxel).astype(int)
        assert float(fused[z : z + 1, y : y + 1, x : x + 1].item()) == pytest.approx(point["value"])


def test_no_output_takes_the_place_of_a_project(projects, tmp_path):
    shutil.copytree(projects / "bigstitcher-zarr", tmp_path / "p")
    shutil.copytree(projects / "npy2bdv", tmp_path / "q")
    for project, out, words in (
        ("p/dataset.xml", "p/dataset.ome.zarr", "would be lost"),
        ("p/dataset.xml", "p/dataset.ome.zarr/s0-t0.zarr", "would lie inside the input"),
        # Of another time point.
        ("p/dataset.xml", "p/dataset.ome.zarr/s0-t1.zarr", "would lie inside the input"),
        ("q/npy2bdv_angles.xml", "q/npy2bdv_angles.h5", "would be lost"),
    ):
        chosen = ["--timepoint", 0, "--method", "average", "--overwrite", "-q", "-o", tmp_path / out]
        assert words in run("fuse", tmp_path / project, *chosen, code=3).stderr
        assert open_views(tmp_path / project, timepoint=0, no_data="none").names == ("0", "90")


def test_views_are_fused_where_they_lie_as_an_independent_interpolation_lays_them(projects):
    views = open_views(projects / "bigstitcher-zarr" / "dataset.xml", timepoint=0, no_data="none")
    grid = views.grid
    assert grid.voxel_size_um == (0.5, 0.5, 0.5)
    block = views.read(grid.box)
    covered = views.coverage(grid.box)
    for number, view in enumerate(views.views):
        stored = zarr.open_array(
            projects / "bigstitcher-zarr" / "dataset.ome.zarr" / f"s{number}-t0.zarr" / "0", mode="r"
        )
        pixels = np.asarray(stored[0, 0], np.float64)
        # From the numbers of the XML, (x, y, z) in half micrometres, in float64.
        model = np.vstack([QUARTER_TURN if number else IDENTITY, [0, 0, 0, 1]]) @ np.diag([1, 1, 4, 1.0])
        turned = model[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
        to_pixels = np.linalg.inv(np.diag([0.5, 0.5, 0.5, 1]) @ turned) @ grid.affine
        wanted = ndimage.affine_transform(
            pixels, to_pixels[:3, :3], to_pixels[:3, 3], grid.shape, order=1, mode="constant", cval=-1
        )
        inside = covered[number] > 0
        assert inside.sum() > pixels.size
        np.testing.assert_allclose(block[number][inside], wanted[inside], rtol=1e-5, atol=1e-2)
        assert view.source.endswith("dataset.xml")


@pytest.mark.parametrize("kind", ["bigstitcher-zarr", "bigstitcher-tiff"])
def test_psfs_are_those_of_the_project_in_the_frame_of_the_fused_volume(projects, kind):
    raw = np.load(projects / "psf_expected.npz")
    views = open_views(
        projects / kind / "dataset.xml", timepoint=0, voxel_size_um=(0.5, 0.5, 0.5), clean_psfs=False, no_data="none"
    )
    upright, turned = (view.psf for view in views.views)
    # Every fourth plane of the cubic spline is the raw plane itself.
    np.testing.assert_allclose(upright[::4] / upright[::4].sum(), raw["psf_0"] / raw["psf_0"].sum(), atol=1e-5)
    # Of the turned view, z of its pixels goes against x of the world.
    assert turned.shape == (7, 7, 33)
    along_z = np.transpose(turned[:, :, ::-1], (2, 1, 0))[::4]
    np.testing.assert_allclose(along_z / along_z.sum(), raw["psf_1"] / raw["psf_1"].sum(), atol=1e-5)
    centre = np.array(ndimage.center_of_mass(turned)) - np.array(turned.shape) // 2
    assert centre[2] == pytest.approx(-0.40, abs=0.02)
    np.testing.assert_allclose(centre[:2], 0, atol=0.01)


def test_psfs_are_made_ready_to_fuse_with_unless_they_are_to_be_left(projects):
    views = open_views(projects / "bigstitcher-tiff" / "dataset.xml", no_data="none")
    assert [view.psf.sum() for view in views.views] == pytest.approx([1, 1])
    upright, turned = (view.psf_notes for view in views.views)
    assert "resampled from the pixels of its raw view" in upright
    assert "turned and resampled from the pixels of its raw view" in turned


def test_nothing_is_said_of_a_psf_whose_pixels_lie_as_the_voxels_do(tmp_path, rng):
    psf = np.zeros((5, 5, 5), np.float32)
    psf[2, 2, 2] = 1
    write_n5(tmp_path / "psf.n5" / "p", psf, (5, 5, 5))
    write_n5_view(tmp_path / "d.n5", 0, 0, [rng.integers(0, 1000, (6, 7, 8), np.uint16)], [[1, 1, 1]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(
        xml_of(loader, {0: Setup(size=(8, 7, 6))}, {(0, 0): [np.eye(3, 4)]}, psfs={(0, 0): "p"}), encoding="utf-8"
    )
    (view,) = open_views(project, clean_psfs=False, no_data="none").views
    assert view.psf_notes == ()
    np.testing.assert_array_equal(view.psf, psf)


def test_a_bounding_box_is_fused_at_its_own_voxels(projects):
    views = open_views(
        projects / "bigstitcher-zarr" / "dataset.xml", timepoint=0, box="My Bounding Box", no_data="none"
    )
    # Integers of the world unit, half a micrometre, both inside.
    assert views.grid.shape == (36 - 5 + 1, 26 - 3 + 1, 40 + 20 + 1)
    assert views.grid.origin_um == (2.5, 1.5, -10.0)
    coarse = open_views(
        projects / "bigstitcher-zarr" / "dataset.xml",
        timepoint=0,
        box="My Bounding Box",
        voxel_size_um=(2.0, 1.0, 1.0),
        no_data="none",
    )
    assert coarse.grid.shape == (8, 12, 31)
    assert coarse.grid.voxel_size_um == (2.0, 1.0, 1.0)


def test_a_level_lies_where_the_means_of_its_blocks_do(tmp_path, rng):
    pixels = rng.integers(0, 1000, (6, 8, 12), np.uint16)
    half = pixels.reshape(6, 4, 2, 6, 2).mean(axis=(2, 4)).astype(np.uint16)
    write_n5_view(tmp_path / "dataset.n5", 0, 0, [pixels, half], [[1, 1, 1], [2, 2, 1]])
    setup = Setup(size=(12, 8, 6), voxel=(0.5, 0.5, 2))
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">dataset.n5</n5></ImageLoader>'
    project = tmp_path / "dataset.xml"
    project.write_text(xml_of(loader, {0: setup}, {(0, 0): [scaled(1, 1, 4)]}))
    views = open_views(project, level=1, no_data="none")
    np.testing.assert_array_equal(np.asarray(views.views[0].data[:]), half)
    # The middle of the first voxel lies between the first two of the full resolution.
    np.testing.assert_allclose((affine_of(views, 0) @ [0, 0, 0, 1])[:3], (0, 0.25, 0.25))
    np.testing.assert_allclose((affine_of(views, 0) @ [1, 1, 1, 1])[:3], (2, 1.25, 1.25))
    with pytest.raises(InputError, match=r"the levels 0 to 1, not level 2"):
        open_views(project, level=2)


def test_a_zarr_level_lies_where_its_metadata_says(projects):
    path = projects / "bigstitcher-zarr" / "dataset.xml"
    views = open_views(path, timepoint=1, level=1, no_data="none")
    stored = zarr.open_array(projects / "bigstitcher-zarr" / "dataset.ome.zarr" / "s0-t1.zarr" / "1", mode="r")
    np.testing.assert_array_equal(np.asarray(views.views[0].data[:]), stored[0, 0])
    np.testing.assert_allclose((affine_of(views, 0) @ [1, 1, 1, 1])[:3], (2, 1.25, 1.25))


def test_what_is_not_chosen_and_has_to_be_is_asked_for(projects):
    path = projects / "bigstitcher-zarr" / "dataset.xml"
    with pytest.raises(InputError, match=r"has 2 time points: choose one with --timepoint, of 0, 1"):
        open_views(path)
    with pytest.raises(InputError, match=r"no time point 7: it has 0, 1"):
        open_views(path, timepoint=7)
    with pytest.raises(InputError, match=r"no channel 3: it has 0 \(GFP\)"):
        open_views(path, timepoint=0, channel=3)
    with pytest.raises(InputError, match=r"no bounding box 'all': it has 'My Bounding Box'"):
        open_views(path, timepoint=0, box="all")
    with pytest.raises(InputError, match=r"there is no view '45' in .*: the views are 0, 90"):
        open_views(path, timepoint=0, views=["45"])
    assert open_views(path, timepoint=0, views=["90"], no_data="none").names == ("90",)


def test_channels_are_fused_one_by_one_and_views_are_called_by_what_tells_them_apart(tmp_path, rng):
    pixels = rng.integers(0, 1000, (6, 7, 8), np.uint16)
    setups, transforms = {}, {}
    for number, (channel, angle, tile) in enumerate(np.ndindex(2, 2, 2)):
        parts = {"channel": channel + 1, "angle": angle, "tile": tile, "illumination": 0}
        setups[number] = Setup(parts=parts)
        transforms[0, number] = [np.hstack([np.eye(3), [[8.0 * tile], [0], [0]]])]
        write_n5_view(tmp_path / "d.n5", number, 0, [pixels + number], [[1, 1, 1]])
    names = {"angle": {0: "0", 1: "270"}, "channel": {1: "GFP", 2: "RFP"}, "tile": {0: "left", 1: "right"}}
    project = tmp_path / "dataset.xml"
    project.write_text(
        xml_of(
            '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>', setups, transforms, names=names
        )
    )
    with pytest.raises(InputError, match=r"2 channels: choose one with --channel, of 1 \(GFP\), 2 \(RFP\)"):
        open_views(project)
    views = open_views(project, channel=2, apart=True, no_data="none")
    assert views.names == ("0 tile left", "0 tile right", "270 tile left", "270 tile right")
    for number, view in enumerate(views.views):
        np.testing.assert_array_equal(np.asarray(view.data[:]), pixels + 4 + number)
    # Each tile has data where it lies, and the other side by side with it.
    covered = views.coverage(views.grid.box)
    assert views.grid.shape == (6, 7, 16)
    assert covered[0, 0, 0].tolist() == [1] * 8 + [0] * 8
    assert covered[1, 0, 0].tolist() == [0] * 8 + [1] * 8


def test_missing_views_are_left_out(projects):
    views = open_views(projects / "npy2bdv" / "npy2bdv_angles.xml", timepoint=1, no_data="none")
    assert views.names == ("0",)


def test_brightness_is_adjusted_as_the_project_says(tmp_path, rng):
    pixels = rng.integers(100, 1000, (6, 7, 8), np.uint16)
    write_n5_view(tmp_path / "d.n5", 0, 0, [pixels], [[1, 1, 1]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(xml_of(loader, {0: Setup()}, {(0, 0): [IDENTITY]}, adjustments={(0, 0): (1.25, -20.0)}))
    views = open_views(project, no_data="none")
    np.testing.assert_allclose(views.read(views.grid.box)[0], pixels * 1.25 - 20, rtol=1e-5)
    assert any("brightness adjusted as the project says" in line for line in views.remarks)


@pytest.mark.parametrize(
    ("voxel", "unit", "chain", "world_um"),
    [
        ((0.5, 0.5, 2.0), "µm", [scaled(1, 1, 4)], 0.5),
        ((0.5, 0.5, 2.0), "µm", [scaled(0.5, 0.5, 2)], 1.0),
        ((250, 250, 1000), "nm", [scaled(1, 1, 4)], 0.25),
        ((2.5e-3, 2.5e-3, 1e-2), "mm", [scaled(2.5e-3, 2.5e-3, 1e-2)], 1000.0),
        # A turn and some per cent of anisotropy of a registration leave it clear.
        ((0.5, 0.5, 2.0), "um", [QUARTER_TURN * 1.02, scaled(1, 1, 4)], 0.5),
    ],
)
def test_both_conventions_of_the_world_unit_are_told_apart(tmp_path, voxel, unit, chain, world_um):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(xml_of(loader, {0: Setup(voxel=voxel, unit=unit)}, {(0, 0): chain}))
    views = open_views(project, no_data="none")
    model = np.eye(4)
    for matrix in chain:
        model = model @ np.vstack([matrix, [0, 0, 0, 1]])
    step = np.linalg.norm(model[:3, 2]) * world_um
    own = affine_of(views, 0)
    assert np.linalg.norm(own[:3, 0]) == pytest.approx(step)
    assert views.grid.size_known


def test_a_world_unit_that_fits_no_convention_is_asked_for(tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(xml_of(loader, {0: Setup(voxel=(0.5, 0.5, 2))}, {(0, 0): [scaled(3, 3, 12)]}))
    with pytest.raises(InputError, match=r"its registrations make it 0.167 um, which is neither 1 um"):
        open_views(project)
    views = open_views(project, world_unit_um=0.1, no_data="none")
    np.testing.assert_allclose(affine_of(views, 0)[:3, :3], np.diag([1.2, 0.3, 0.3]), atol=1e-12)


def test_sizes_in_pixels_are_not_known(tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(xml_of(loader, {0: Setup(unit="pixel")}, {(0, 0): [IDENTITY]}))
    views = open_views(project, no_data="none")
    assert not views.grid.size_known
    assert open_views(project, world_unit_um=0.4, no_data="none").grid.voxel_size_um == (0.4, 0.4, 0.4)


def test_the_last_transform_in_the_file_meets_pixels_first(tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    shift = np.hstack([np.eye(3), [[10.0], [0], [0]]])
    project = tmp_path / "dataset.xml"
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    project.write_text(xml_of(loader, {0: Setup(voxel=(1, 1, 1))}, {(0, 0): [QUARTER_TURN, shift]}))
    place = affine_of(open_views(project, no_data="none"), 0) @ [0, 0, 0, 1]
    # Shifted by 10 along x first, which the turn makes z.
    np.testing.assert_allclose(place[:3], (15, 3, 40))


@pytest.mark.parametrize(
    ("element", "numbers"),
    [
        ('<Timepoints type="range"><first>3</first><last>5</last></Timepoints>', (3, 4, 5)),
        (
            '<Timepoints type="pattern"><integerpattern>0-10:2, 15</integerpattern></Timepoints>',
            (0, 2, 4, 6, 8, 10, 15),
        ),
        ('<Timepoints type="pattern"><integerpattern></integerpattern></Timepoints>', (0,)),
        ('<Timepoints type="list"><Timepoint><id>9</id><name>late</name></Timepoint></Timepoints>', (9,)),
    ],
)
def test_time_points_are_listed_in_all_three_ways(tmp_path, element, numbers):
    text = xml_of('<ImageLoader format="bdv.n5"/>', {0: Setup()}, {})
    start, end = text.index("<Timepoints"), text.index("</Timepoints>") + len("</Timepoints>")
    (tmp_path / "d.xml").write_text(text[:start] + element + text[end:])
    assert tuple(read_project(tmp_path / "d.xml").timepoints) == numbers


def test_info_says_what_a_project_holds_and_what_a_fusion_would_take(projects):
    said = run("info", projects / "bigstitcher-zarr" / "dataset.xml")
    for words in (
        "3 views in OME-Zarr, 1 missing, 2 with a PSF",
        "0 to 1 (2)",
        "0 (GFP)",
        "0, 1 (90)",
        "My Bounding Box",
    ):
        assert words in said.stdout
    assert "61 x 27 x 61 voxels (z, y, x) of 0.5 x 0.5 x 0.5 um, 402 kB" in said.stdout
    assert "2 views: 49.2 kB of pixels" in said.stdout
    assert "Average: up to" in said.stdout
    assert "Deconvolution (EBMD): up to" in said.stdout
    assert "1 view in HDF5" in run("info", projects / "mri-stack" / "mri-stack.xml").stdout
    found = json.loads(run("info", projects / "npy2bdv" / "npy2bdv_angles.xml", "--json").stdout)
    assert found["kind"] == "project"
    assert found["project"]["timepoints"] == [0, 1]
    assert found["project"]["missing"] == 1
    assert [view["name"] for view in found["samples"][0]["views"]] == ["0", "90"]
    assert found["samples"][0]["fused_shape"] == [61, 27, 61]
    needs = found["samples"][0]["needs"]
    assert (needs["views"], needs["shape"], needs["fused_bytes"]) == (2, [61, 27, 61], 61 * 27 * 61 * 4)
    assert needs["methods"][1]["lacking"] == "needs PSFs, and none is known"


def test_the_command_line_fuses_what_is_chosen_and_its_recipe_repeats_it(projects, tmp_path):
    project = tmp_path / "p"
    shutil.copytree(projects / "bigstitcher-zarr", project)
    out = tmp_path / "fused.zarr"
    chosen = ["--timepoint", 0, "--channel", 0, "--views", "0,90", "--box", "My Bounding Box", "--voxel-size", "1"]
    run("fuse", project / "dataset.xml", *chosen, "--level", 0, "--method", "average", "-o", out, "-q")
    recipe = load_recipe(tmp_path / "fused.zarr.recipe.json")
    assert recipe.grid["shape"] == [16, 12, 31]
    assert (recipe.inputs.box, recipe.inputs.timepoint, recipe.inputs.views) == ("My Bounding Box", 0, ["0", "90"])
    again = tmp_path / "again.zarr"
    run("fuse", "--recipe", tmp_path / "fused.zarr.recipe.json", "-o", again, "-q")
    one, other = (np.asarray(zarr.open_group(path, mode="r")["0"]) for path in (out, again))
    np.testing.assert_array_equal(one, other)
    assert one.max() > 0
    # A pixel that changed is another recording.
    shutil.copytree(
        project / "dataset.ome.zarr" / "s0-t0.zarr",
        project / "dataset.ome.zarr" / "s1-t0.zarr",
        dirs_exist_ok=True,
    )
    failed = run("fuse", "--recipe", tmp_path / "fused.zarr.recipe.json", "-o", tmp_path / "third.zarr", code=2)
    assert "changed since the recipe was made" in failed.stderr


def test_the_choices_of_projects_are_refused_elsewhere(tmp_path, rng):
    for option, words, where in (
        (["--box", "all"], "--box", "dataset.xml"),
        (["--level", "1"], "--level 1", "a.h5 has one resolution level only"),
        (["--outside"], "--outside", "dataset.xml"),
        (["--apart"], "--apart", "dataset.xml"),
    ):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["a"] = rng.random((4, 5, 6), np.float32)
        failed = run("fuse", tmp_path / "a.h5", *option, "-o", tmp_path / "o.zarr", code=2)
        assert f"{words} " in failed.stderr
        assert where in failed.stderr


def test_python_says_as_the_command_line(projects):
    path = str(projects / "bigstitcher-tiff" / "dataset.xml")
    views = Inputs(source=path, views=["90"], box="My Bounding Box").open()
    assert views.names == ("90",)
    assert views.grid.shape == (32, 24, 61)
    found = describe(path, box="My Bounding Box")
    assert found.samples[0].fused_shape == (32, 24, 61)
    assert views.read(Box((0, 0, 0), (1, 1, 1))).shape == (1, 1, 1, 1)
