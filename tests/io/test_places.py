"""Views of several files lie where their files say: other origins, voxel sizes, shapes and affines."""

import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage

import napari_mvfusion as mv
from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.psf import resample_psf
from tiff_parts import GREY

ENDINGS = ("zarr", "ome.tif", "h5")


def scene(places_um):
    """Brightness at places (..., 3) of the world in um: linear, so that interpolation is exact."""
    z, y, x = np.moveaxis(places_um, -1, 0)
    return 100 + 3 * z + 2 * y + x


def record(shape, affine):
    """The scene as a view sees it."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return scene(places).astype(np.float32)


def write_view(path, shape, size, origin):
    grid = Grid(shape, size, origin)
    write_volume(path, record(shape, grid.affine), grid)
    return path


def check_scene(views):
    """All views read as the scene wherever they have data, which they do somewhere."""
    grid = views.grid
    pixels, covered = views.read(grid.box), views.coverage(grid.box)
    right = record(grid.shape, grid.affine)
    for number in range(len(views)):
        there = np.ones(grid.shape, bool) if covered is None else covered[number] > 0
        assert there.sum() > 20
        np.testing.assert_allclose(pixels[number][there], right[there], rtol=1e-4)


def zarr_of(path, pixels, transforms, *, of_image=(), axes="zyx", unit="micrometer", version="0.4"):
    """An OME-Zarr with any transforms, after the specification."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels)
    said = [
        {"name": axis, "type": "space", **({"unit": unit} if unit else {})}
        if axis in "zyx"
        else {"name": axis, "type": {"t": "time", "c": "channel"}[axis]}
        for axis in axes
    ]
    image = {"axes": said, "datasets": [{"path": "0", "coordinateTransformations": list(transforms)}]}
    image |= {"coordinateTransformations": list(of_image)} if of_image else {}
    if version == "0.4":
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_other_origins_are_put_in_their_places(tmp_path, ending):
    first = write_view(tmp_path / f"a.{ending}", (12, 14, 16), (1, 1, 1), (0, 0, 0))
    second = write_view(tmp_path / f"b.{ending}", (12, 14, 16), (1, 1, 1), (3, -2, 5))
    views = open_views([first, second], no_data="none")
    assert views.grid == Grid((15, 16, 21), (1, 1, 1), (0, -2, 0))
    check_scene(views)
    assert any("15 x 16 x 21 voxels of 1 x 1 x 1 um" in note for note in views.notes)


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_other_voxels_and_shapes_too(tmp_path, ending):
    folder = tmp_path / "f"
    folder.mkdir()
    write_view(folder / f"fly_view_0.{ending}", (6, 14, 16), (2, 0.5, 0.5), (1, 0, 0))
    write_view(folder / f"fly_view_90.{ending}", (14, 8, 9), (0.5, 1, 1), (0.25, -1, -1))
    views = open_views(folder, no_data="none")
    assert views.grid.voxel_size_um == (0.5, 0.5, 0.5)
    check_scene(views)
    first = open_views(folder, no_data="none", grid="first")
    assert first.grid == Grid((6, 14, 16), (2, 0.5, 0.5), (1, 0, 0))
    check_scene(first)
    coarse = open_views(folder, no_data="none", grid=(2, 1, 1), box_um=((1, 0, 0), (5, 3, 3)))
    assert coarse.grid == Grid((3, 4, 4), (2, 1, 1), (1, 0, 0))
    check_scene(coarse)


def test_files_on_one_grid_are_not_touched(tmp_path):
    files = [write_view(tmp_path / f"{name}.zarr", (8, 9, 10), (2, 1, 1), (5, 6, 7)) for name in "ab"]
    views = open_views(files)
    assert views.grid == Grid((8, 9, 10), (2, 1, 1), (5, 6, 7))
    assert [view.affine for view in views.views] == [None, None]
    assert views.remarks == ()


def test_places_can_be_left_aside(tmp_path):
    files = [
        write_view(tmp_path / f"{name}.zarr", (8, 9, 10), (2, 1, 1), (z, 0, 0)) for name, z in (("a", 4), ("b", 0))
    ]
    views = open_views(files, grid="same")
    assert views.grid == Grid((8, 9, 10), (2, 1, 1), (4, 0, 0))
    assert all(view.affine is None for view in views.views)


def test_a_place_that_is_not_stated_is_not_guessed(tmp_path):
    known = write_view(tmp_path / "a.zarr", (8, 9, 10), (1, 1, 1), (4, 0, 0))
    silent = tmp_path / "b.tif"
    metadata = {"axes": "ZYX"} | {f"PhysicalSize{axis}": 1 for axis in "ZYX"}
    tifffile.imwrite(silent, np.ones((8, 9, 10), np.uint8), ome=True, metadata=metadata)
    views = open_views([known, silent], no_data="none")
    assert views.grid == Grid((8, 9, 10), (1, 1, 1), (4, 0, 0))
    assert any("b.tif does not say where it lies: it is taken to lie as" in note for note in views.notes)
    other = write_view(tmp_path / "c.zarr", (8, 9, 10), (1, 1, 1), (0, 0, 0))
    with pytest.raises(
        InputError, match=r"b\.tif does not say where it lies, and .*a\.zarr and .*c\.zarr lie in different"
    ):
        open_views([known, silent, other])
    larger = write_view(tmp_path / "d.zarr", (9, 9, 10), (1, 1, 1), (4, 0, 0))
    with pytest.raises(InputError, match=r"must have one shape; resample or crop them; or state where each lies"):
        open_views([larger, silent])


def turned_affine(size=(2.0, 0.5, 0.5), origin=(3.0, 12.0, 1.0), degrees=30):
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(size)
    affine[:3, 3] = origin
    return affine


def padded(matrix, axes):
    """A 4 x 4 of z, y, x as one of all axes."""
    count = len(axes)
    whole = np.eye(count + 1)
    whole[count - 3 :, count - 3 :] = matrix
    return whole


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["zyx", "tczyx"])
@pytest.mark.parametrize("how", ["affine", "rotation", "of the image", "sequence", "one row"])
def test_an_affine_and_a_rotation_are_applied(tmp_path, how, axes, version):
    size, shape = (2.0, 0.5, 0.5), (10, 30, 24)
    affine = turned_affine(size)
    more = len(axes) - 3
    whole = padded(affine, axes)
    scale = {"type": "scale", "scale": [1.0] * more + list(size)}
    rotation = {"type": "rotation", "rotation": padded(turned_affine((1, 1, 1), (0, 0, 0)), axes)[:-1, :-1].tolist()}
    shift = {"type": "translation", "translation": [0.0] * more + affine[:3, 3].tolist()}
    matrix = {"type": "affine", "affine": whole[:-1].tolist()}
    flat = {"type": "affine", "affine": whole[:-1].ravel().tolist()}
    inner, outer = {
        "affine": ([matrix], ()),
        "rotation": ([scale, rotation, shift], ()),
        "of the image": ([scale], [rotation, shift]),
        "sequence": ([{"type": "sequence", "transformations": [scale, rotation, shift]}], ()),
        "one row": ([flat], ()),
    }[how]
    pixels = record(shape, affine).reshape((1,) * more + shape)
    turned = zarr_of(tmp_path / "turned.zarr", pixels, inner, of_image=outer, axes=axes, version=version)
    plain = write_view(tmp_path / "plain.zarr", (20, 20, 12), (1, 1, 1), (0, 0, 0))
    alone = open_views([turned], no_data="none")
    assert alone.grid.voxel_size_um == (0.5, 0.5, 0.5)
    check_scene(alone)
    check_scene(open_views([plain, turned], no_data="none", grid="first"))
    check_scene(open_views(turned, no_data="none", grid=(1, 1, 1)))
    with pytest.raises(InputError, match=r"turned\.zarr is turned, sheared or mirrored by the affine"):
        open_volume(turned)
    assert "0.5 x 0.5 x 0.5 um" in " ".join(describe(turned, no_data="none").samples[0].problems)


NOT_FINITE = 4242.4242


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (
            {"type": "displacements", "path": "field"},
            "has a field of displacements, which is not read here",
        ),
        ({"type": "mapAxis", "mapAxis": [0, 2, 2]}, r"has a mapAxis of \[0, 2, 2\] for 3 axes: each of 0 to 2"),
        ({"type": "warp"}, "has a transform of type 'warp', which is not read here"),
        (
            {"type": "affine", "affine": [[1, 0], [0, 1]]},
            r"has an affine of 2 x 2 numbers for 3 axes: 3 x 4 are needed",
        ),
        (
            {"type": "affine", "affine": [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]},
            "has an? (affine|rotation) that squeezes it flat",
        ),
        ({"type": "rotation", "rotation": [[0, 0, 0]] * 3}, "has an? (affine|rotation) that squeezes it flat"),
        ({"type": "affine", "affine": [[1, 0, 0, NOT_FINITE], [0, 1, 0, 0], [0, 0, 1, 0]]}, "is damaged: its affine"),
    ],
)
def test_a_transform_that_cannot_be_applied_is_refused(tmp_path, transform, words):
    path = zarr_of(tmp_path / "v.zarr", np.ones((4, 5, 6), np.uint8), [transform])
    # Not every zarr writes a NaN.
    text = (path / ".zattrs").read_text()
    (path / ".zattrs").write_text(text.replace(str(NOT_FINITE), "NaN"))
    for attempt in (open_volume, open_views):
        with pytest.raises(InputError, match=rf"v\.zarr {words}"):
            attempt(path)


def test_a_drift_over_time_is_refused(tmp_path):
    matrix = np.eye(5)
    matrix[3, 0] = 0.5
    path = zarr_of(
        tmp_path / "v.zarr",
        np.ones((2, 4, 5, 6), np.uint8),
        [{"type": "affine", "affine": matrix[:-1].tolist()}],
        axes="tzyx",
    )
    with pytest.raises(InputError, match="mixes space with other axes"):
        open_views([path], timepoint=0)


@pytest.mark.parametrize(("unit", "factor"), [("nanometer", 1e-3), ("inch", 25400.0), ("nm", 1e-3), ("Angstrom", 1e-4)])
def test_units_of_an_ome_zarr_are_what_they_are(tmp_path, unit, factor):
    path = zarr_of(
        tmp_path / "v.zarr", np.ones((4, 5, 6), np.uint8), [{"type": "scale", "scale": [4, 2, 1]}], unit=unit
    )
    grid = open_volume(path)[1]
    assert grid.voxel_size_um == pytest.approx((4 * factor, 2 * factor, factor))
    assert grid.size_known


@pytest.mark.parametrize("unit", ["", "parrot", "pixel", "second"])
def test_a_unit_that_is_no_length_is_not_known(tmp_path, unit):
    path = zarr_of(
        tmp_path / "v.zarr", np.ones((4, 5, 6), np.uint8), [{"type": "scale", "scale": [4, 2, 1]}], unit=unit
    )
    views = open_views([path])
    assert views.grid.known == (False, False, False)
    assert views.grid.anisotropy == (4, 2, 1), "its numbers say how long its voxels are beside each other"
    assert describe([path]).samples[0].voxel_size_um is None
    assert open_views([path], voxel_size_um=(2, 1, 1)).grid == Grid((4, 5, 6), (2, 1, 1))


def partly_known(path, kind):
    pixels = np.ones((4, 5, 6), np.uint8)
    if kind == "ome":
        sizes = {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3}
        metadata = {"axes": "ZYX", **sizes, "PhysicalSizeZUnit": "pixel"}
        tifffile.imwrite(path, pixels, ome=True, metadata=metadata)
    elif kind == "imagej":
        tifffile.imwrite(path, pixels, imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", "unit": "um"})
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["data"] = pixels
            file["data"].attrs["element_size_um"] = [0.0, 0.5, 0.25]
    return path


@pytest.mark.parametrize(("kind", "ending"), [("ome", "tif"), ("imagej", "tif"), ("hdf5", "h5")])
def test_sizes_are_known_axis_by_axis(tmp_path, kind, ending):
    path = partly_known(tmp_path / f"v.{ending}", kind)
    views = open_views([path])
    assert views.grid.stated_size_um == (None, 0.5, 0.25)
    assert any("voxel size along z is not known" in note for note in views.notes)
    assert describe([path]).samples[0].voxel_size_um == (None, 0.5, 0.25)
    assert open_views([path], voxel_size_um=(2, 0.5, 0.25)).grid.size_known


def test_imagej_counts_planes_backwards_where_the_stage_moved_down(tmp_path):
    said = "ImageJ=1.54f\nimages=4\nslices=4\nunit=\\u00B5m\nspacing=-2.0\n"
    pixels = np.ones((4, 5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", pixels, description=said, metadata=None, resolution=(4, 2), **GREY)
    assert open_volume(tmp_path / "v.tif")[1].stated_size_um == (2, 0.5, 0.25)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_not_known_is_not_written_down(tmp_path, ending):
    grid = Grid((4, 5, 6), (0.25, 0.5, 0.25), known=(False, True, True))
    write_volume(tmp_path / f"v.{ending}", np.ones(grid.shape, np.float32), grid)
    assert open_volume(tmp_path / f"v.{ending}")[1].stated_size_um == (None, 0.5, 0.25)
    nothing = Grid((4, 5, 6), known=(False, False, False))
    write_volume(tmp_path / f"w.{ending}", np.ones(grid.shape, np.float32), nothing)
    assert not any(open_volume(tmp_path / f"w.{ending}")[1].known)


def test_a_size_without_a_unit_must_fit_to_those_in_um(tmp_path):
    scale = [{"type": "scale", "scale": [2, 1, 1]}]
    bare = zarr_of(tmp_path / "a.zarr", np.ones((4, 5, 6), np.uint8), scale, unit="")
    known = zarr_of(tmp_path / "b.zarr", np.ones((4, 5, 6), np.uint8), scale)
    other = zarr_of(tmp_path / "c.zarr", np.ones((4, 5, 6), np.uint8), [{"type": "scale", "scale": [9, 1, 1]}])
    assert open_views([bare, known]).grid == Grid((4, 5, 6), (2, 1, 1))
    with pytest.raises(
        InputError, match=r"a\.zarr states its voxel size along z as 2 in no known unit, and .*c\.zarr as 9"
    ):
        open_views([bare, other])


def gaussian_psf(sigma, shape):
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    psf = np.exp(-sum((a / s) ** 2 for a, s in zip(axes, sigma, strict=True)) / 2)
    return (psf / psf.sum()).astype(np.float32)


def second_moments(psf):
    """3 x 3 covariance of a PSF as a distribution, in voxels."""
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in psf.shape), indexing="ij")).reshape(3, -1)
    return np.cov(axes, aweights=psf.ravel().astype(float))


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_psfs_are_brought_onto_the_voxels_of_the_fused_volume(tmp_path, degrees):
    size = (2.0, 0.5, 0.5)
    affine = turned_affine(size, degrees=degrees)
    pixels = record((10, 30, 24), affine)
    view = zarr_of(tmp_path / "v.zarr", pixels, [{"type": "affine", "affine": affine[:3].tolist()}])
    psf = gaussian_psf((1.5, 1.2, 1.2), (13, 11, 11))
    tifffile.imwrite(tmp_path / "raw.tif", psf)
    views = open_views([view], psfs=[tmp_path / "raw.tif"], no_data="none", grid=(0.5, 0.5, 0.5))
    linear = affine[:3, :3] / 0.5
    right = linear @ second_moments(psf) @ linear.T
    np.testing.assert_allclose(second_moments(views.views[0].psf), right, rtol=0.03, atol=0.02)
    assert any("taken to be on the voxels of its view" in note for note in views.views[0].psf_notes)
    np.testing.assert_allclose(second_moments(resample_psf(psf, linear)), right, rtol=0.03, atol=0.02)


def test_a_psf_that_states_its_voxels_counts_in_them(tmp_path):
    view = write_view(tmp_path / "v.zarr", (10, 12, 12), (2, 0.5, 0.5), (0, 0, 0))
    write_volume(tmp_path / "psf.zarr", gaussian_psf((2, 2, 2), (15, 15, 15)), Grid((15, 15, 15), (0.5, 0.5, 0.5)))
    views = open_views([view], psfs=[tmp_path / "psf.zarr"], no_data="none", grid=(0.5, 0.5, 0.5))
    np.testing.assert_allclose(np.diag(second_moments(views.views[0].psf)), 4, rtol=0.15)


def test_too_large_a_volume_is_refused_in_a_line(tmp_path):
    near = write_view(tmp_path / "a.zarr", (4, 5, 6), (1, 1, 1), (0, 0, 0))
    far = write_view(tmp_path / "b.zarr", (4, 5, 6), (1, 1, 1), (1e6, 1e6, 1e6))
    with pytest.raises(InputError, match=r"the fused volume would have .* voxels .* view 'b' most of all"):
        open_views([near, far])


def ome_of_two(path, names=("embryo", "beads")):
    volumes = [np.full((4 + n, 5, 6), n + 1, np.uint16) for n in range(len(names))]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for name, pixels in zip(names, volumes, strict=True):
            size = {f"PhysicalSize{axis}": 1.0 + len(pixels) for axis in "ZYX"}
            tiff.write(pixels, photometric="minisblack", metadata={"axes": "ZYX", "Name": name, **size})
    return volumes


def test_several_images_in_a_tiff_are_listed_and_each_can_be_named(tmp_path):
    path = tmp_path / "v.ome.tif"
    volumes = ome_of_two(path)
    for attempt in (open_volume, lambda p: open_views([p])):
        with pytest.raises(
            InputError,
            match=r"several images: name one of them, as .*\.ome\.tif:0 \('embryo', 4 x 5 x 6\) or .*\.ome\.tif:1 \('beads'",
        ):
            attempt(path)
    for number, pixels in enumerate(volumes):
        data, grid = open_volume(f"{path}:{number}")
        np.testing.assert_array_equal(data[:], pixels)
        assert grid.voxel_size_um == (1.0 + len(pixels),) * 3
    with pytest.raises(InputError, match=r"holds 2 images, counted from 0: .*:2 is not there"):
        open_volume(f"{path}:2")
    views = open_views([f"{path}:1"], psfs=[f"{path}:0"], clean_psfs=False)
    assert views.views[0].psf.shape == (4, 5, 6)


def test_a_preview_beside_the_only_volume_is_left_out_and_said(tmp_path):
    with tifffile.TiffWriter(tmp_path / "v.tif") as tiff:
        tiff.write(np.ones((3, 4), np.uint8), photometric="minisblack", metadata=None)
        tiff.write(np.full((7, 5, 6), 2, np.uint8), photometric="minisblack", metadata=None)
    views = open_views([tmp_path / "v.tif"], no_data="none")
    assert views.grid.shape == (7, 5, 6)
    assert any("holds 2 images" in note and "the only one of several planes" in note for note in views.notes)


def container(path, names, *, layout):
    """Images as bioformats2raw or a plate keeps them."""
    group = zarr.create_group(path)
    group.attrs["ome"] = {"version": "0.5", **layout}
    for number, name in enumerate(names):
        shape = (4 + number, 5, 6)
        write_zarr(path / name, np.ones(shape, np.float32), Grid(shape))


def test_several_images_of_bioformats2raw_are_listed(tmp_path):
    path = tmp_path / "v.zarr"
    container(path, ["0", "1", "10", "2"], layout={"bioformats2raw.layout": 3})
    zarr.create_group(path / "OME").attrs["ome"] = {"series": ["0", "1", "2", "10"]}
    with pytest.raises(
        InputError, match=r"several images: name one of them, as .*v\.zarr/0 or .*/1 \(there are 4: 0, 1, 2, 10\)"
    ):
        open_views(path)
    assert open_volume(path / "2")[0].shape == (7, 5, 6)
    single = tmp_path / "w.zarr"
    container(single, ["0"], layout={"bioformats2raw.layout": 3})
    assert open_volume(single)[0].shape == (4, 5, 6)


def test_the_fields_of_a_plate_are_listed(tmp_path):
    path = tmp_path / "p.zarr"
    container(path, [], layout={"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}})
    for well in ("A/1", "B/2"):
        container(path / well, ["0", "1"], layout={"well": {"images": [{"path": "0"}, {"path": "1"}]}})
    with pytest.raises(
        InputError,
        match=r"is a plate: name one of the images in its wells, as .*/A/1/0 or .* \(there are 4: A/1/0, A/1/1, B",
    ):
        open_views(path)
    with pytest.raises(InputError, match=r"is a well of a plate: name one of its images, as .*A/1/0 or .*A/1/1"):
        open_views(path / "A" / "1")
    assert open_volume(path / "B" / "2" / "1")[0].shape == (5, 5, 6)


def test_two_images_under_one_name_are_said(tmp_path):
    path = zarr_of(tmp_path / "v.zarr", np.ones((4, 5, 6), np.uint8), [{"type": "scale", "scale": [1, 1, 1]}])
    attributes = json.loads((path / ".zattrs").read_text())
    first = attributes["multiscales"][0]
    attributes["multiscales"] = [first | {"name": "raw"}, first | {"name": "sharp"}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    views = open_views([path], no_data="none")
    assert any("describes 2 images ('raw', 'sharp'): the first is taken" in note for note in views.notes)


@pytest.fixture
def projects(test_data):
    """Files that other programs have written, with what an independent reader found in them."""
    folder = test_data / "projects"
    return folder, json.loads((folder / "expected.json").read_text())


@pytest.mark.parametrize(("file", "setup"), [("raw/angle_0.tif", 0), ("raw/angle_90.tif", 1)])
def test_the_stacks_of_a_project_open_alone_with_their_voxels(projects, file, setup):
    folder, expected = projects
    (right,) = (
        e for e in expected if "bigstitcher-tiff" in e["project"] and (e["setup"], e["timepoint"]) == (setup, 0)
    )
    data, grid = open_volume(folder / "bigstitcher-tiff" / file)
    assert (list(grid.shape), list(grid.voxel_size_um)) == (right["shape_zyx"], right["voxel_zyx"])
    assert grid.size_known
    for point in right["points"]:
        assert np.asarray(data[:])[tuple(point["zyx"])] == point["value"]


def test_the_datasets_of_a_project_are_listed(projects):
    folder, _ = projects
    with pytest.raises(InputError, match=r"holds several datasets: name one of them, as .*\.h5:/t00000/s00/0/cells"):
        open_volume(folder / "npy2bdv" / "npy2bdv_angles.h5")


def staged(path, shape, place):
    """A file that says where the stage was, and nothing else of where it lies."""
    stage = {f"Position{axis}": [float(n)] * shape[0] for axis, n in zip("ZYX", place, strict=True)}
    stage |= {f"Position{axis}Unit": ["µm"] * shape[0] for axis in "XYZ"}
    metadata = {"axes": "ZYX", "Plane": stage} | {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"}
    tifffile.imwrite(path, np.arange(math.prod(shape), dtype=np.uint16).reshape(shape), ome=True, metadata=metadata)
    return path


def test_positions_of_the_stage_are_no_places_of_views_and_that_is_said(tmp_path):
    files = []
    for name, start in (("a", 0.0), ("b", 500.0)):
        files.append(tmp_path / f"{name}.ome.tif")
        stage = {f"Position{axis}": [start] * 4 for axis in "XYZ"} | {
            f"Position{axis}Unit": ["µm"] * 4 for axis in "XYZ"
        }
        sizes = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"}
        metadata = {"axes": "ZYX", "Plane": stage, **sizes}
        tifffile.imwrite(files[-1], np.ones((4, 5, 6), np.uint8), ome=True, metadata=metadata)
    views = open_views(files, no_data="none")
    assert views.grid == Grid((4, 5, 6))
    assert any("state other positions of the stage, which are not used" in note for note in views.notes)
    assert open_views(files[:1], no_data="none").notes == ()
    assert open_views(files, stage=True, no_data="none").grid == Grid((504, 505, 506))
    for same in (files[1:], [files[1], Path(shutil.copy(files[1], tmp_path / "c.ome.tif"))]):
        (said,) = open_views(same, no_data="none").notes
        assert "b.ome.tif states the position of the stage, 500 x 500 x 500 um (z, y, x), which is not used" in said
        there = open_views(same, stage=True, no_data="none")
        assert (there.grid, there.notes) == (Grid((4, 5, 6), origin_um=(500.0, 500.0, 500.0)), ())


def test_files_of_other_shapes_are_told_of_the_stage_where_they_state_it(tmp_path):
    files = [staged(tmp_path / "a.ome.tif", (4, 5, 6), (0, 0, 0)), staged(tmp_path / "b.ome.tif", (4, 9, 6), (1, 2, 3))]
    with pytest.raises(InputError, match=r"have one shape; .* take its positions with --stage \(stage=True\)"):
        open_views(files)
    views = open_views(files, stage=True, no_data="none")
    assert views.grid == Grid((5, 11, 9))
    assert views.views[1].affine[:3, 3].tolist() == [1, 2, 3]
    tifffile.imwrite(tmp_path / "silent.tif", np.ones((4, 5, 6), np.uint8), **GREY)
    with pytest.raises(InputError, match=r"silent\.tif states no position of the stage.*leave --stage"):
        open_views([*files, tmp_path / "silent.tif"], stage=True)


def test_positions_of_the_stage_come_from_the_command_line_and_recipes_and_info_says_what_a_fusion_would(tmp_path):
    files = [staged(tmp_path / f"{n}.ome.tif", (4, 5, 6), (0, n, 0)) for n in range(3)]
    done = run("info", *files)
    assert "fused with each other: 4 x 5 x 6" in done.stdout
    assert "state other positions of the stage, which are not used" in done.stderr
    assert "fused with each other: 4 x 7 x 6" in run("info", *files, "--stage").stdout
    run("fuse", *files, "--stage", "--method", "average", "-o", tmp_path / "fused.zarr")
    recipe = load_recipe(tmp_path / "fused.zarr.recipe.json")
    assert recipe.inputs.stage
    assert recipe.inputs.open().grid == Grid((4, 7, 6))


def test_a_size_that_one_file_lacks_is_that_of_the_others_and_said(tmp_path):
    known = write_view(tmp_path / "a.ome.tif", (4, 5, 6), (2, 1, 1), (0, 0, 0))
    tifffile.imwrite(tmp_path / "b.tif", np.ones((4, 5, 6), np.uint8), **GREY)
    views = open_views([known, tmp_path / "b.tif"], no_data="none")
    assert views.grid == Grid((4, 5, 6), (2, 1, 1))
    assert views.grid.size_known
    (said,) = (note for note in views.notes if "voxel size" in note)
    assert "b.tif does not state its voxel size along z and y and x: that of" in said


def turned_recording(registered, psf, quarter_turns):
    """A view and its PSF as they are recorded by a turned microscope, and the affine that registers it; exact."""
    places = np.indices(registered.shape).astype(float)
    raw, raw_psf, *axes = (np.rot90(each, quarter_turns, (0, 1)) for each in (registered, psf, *places))
    place = np.stack(axes)
    affine = np.eye(4)
    affine[:3, 3] = place[:, 0, 0, 0]
    for axis, step in enumerate(np.eye(3, dtype=int)):
        affine[:3, axis] = place[(slice(None), *step)] - affine[:3, 3]
    return raw, raw_psf, affine


@pytest.mark.parametrize("method", [mv.Average(), mv.EBMD(iterations=4)], ids=["average", "ebmd"])
def test_raw_views_with_raw_psfs_fuse_as_registered_ones(tmp_path, rng, method):
    truth = ndimage.gaussian_filter(rng.random((20, 20, 24)), 1) ** 4
    views, files, psfs = [], [], []
    for turns in range(4):
        # Longest along the view's own z, and not symmetric, so that a wrong turn or flip would show.
        own = ndimage.shift(gaussian_psf((2.0, 0.9, 0.9), (11, 7, 7)), (0.2, 0, 0), mode="nearest", order=1)
        psf = np.rot90(own, -turns, (0, 1)).astype(np.float32)
        registered = 1000 * ndimage.convolve(truth, psf, mode="nearest")
        raw, raw_psf, affine = turned_recording(registered.astype(np.float32), psf, turns)
        np.testing.assert_allclose(raw_psf, own, rtol=1e-6)
        files.append(
            zarr_of(tmp_path / f"v{turns}.zarr", raw.copy(), [{"type": "affine", "affine": affine[:3].tolist()}])
        )
        psfs.append(tmp_path / f"psf{turns}.tif")
        tifffile.imwrite(psfs[-1], raw_psf)
        views.append(View(registered.astype(np.float32), f"v{turns}", psf=mv.prepare_psf(psf).psf))
    placed = open_views(files, psfs=psfs, no_data="none")
    assert placed.grid == Grid(truth.shape)
    right = mv.fuse(RegisteredViews(views, placed.grid), method, device="cpu").data
    with pytest.warns(UserWarning, match="20 x 20 x 24 voxels of 1 x 1 x 1 um"):
        fused = mv.fuse(placed, method, device="cpu").data
    assert np.sqrt(np.mean((fused - right) ** 2)) < 1e-3 * right.std()


def test_only_the_views_that_are_fused_decide_on_the_grid(tmp_path):
    places = {"a": (0, 0, 0), "b": (0, 3, 0), "c": (0, 500, 0)}
    files = [write_view(tmp_path / f"{name}.zarr", (8, 9, 10), (2, 1, 1), place) for name, place in places.items()]
    one = open_views(files, views=["b"], no_data="none")
    assert (one.names, one.grid) == (("b",), Grid((8, 9, 10), (2, 1, 1), (0, 3, 0)))
    assert one.views[0].affine is None
    two = open_views(files, views=["b", "a"], no_data="none", grid="first")
    assert two.grid.origin_um == (0, 3, 0)
    check_scene(two)


def test_voxels_that_are_unlikely_are_said_and_those_that_are_stated_are_not(tmp_path):
    for size, said in (((0.002, 0.0005, 0.0005), True), ((500.0, 0.5, 0.5), True), ((2.0, 0.5, 0.5), False)):
        path = tmp_path / f"{size[0]}.zarr"
        write_zarr(path, np.ones((4, 5, 6), np.float32), Grid((4, 5, 6), size))
        assert any("unlikely" in remark for remark in open_views([path]).remarks) == said
        assert not open_views([path], voxel_size_um=size).remarks
