"""Views that lie far from 0 in the world, in coarse and fine units: they open, and every voxel lies where it should.

Their pixels are a plane, whose value grows evenly through the world. Linear interpolation gives it back exactly wherever a
voxel lies, so a value that is off says by what part of a voxel.
"""

import warnings

import numpy as np
import pytest
import zarr
from multiview_stitcher import msi_utils, param_utils
from multiview_stitcher import spatial_image_utils as si_utils
from scipy import ndimage

from bdv_projects import Setup, write_n5_view, xml_of
from napari_mvfusion.data.fused_grid import Placed, choose_grid
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.registrations import reversed_axes
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.measures.placed_volume import PlacedVolume
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf.directions import about_one_direction
from napari_mvfusion.simulation import light_sheet_psf

SHAPE = (12, 20, 24)
SIZE = (2.0, 0.5, 0.5)
# Value a um, (z, y, x).
SLOPE = np.array([3.0, 7.0, -5.0])
LEVEL = 1000.0
FAR = {"28 mm": (28e3, 4e3, 0.0), "1 m": (1e6, -1e6, 7e5)}
UNITS = {"micrometer": 1.0, "nanometer": 1e3, "millimeter": 1e-3}
ANGLES = (0.0, 90.0, 89.0, 180.0)


def turned(angle, place):
    """From the voxels of a view to the world in um: turned about x, in its place."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(SIZE)
    matrix[:3, 3] = place
    return matrix


def plane(points, place):
    return LEVEL + (points - place) @ SLOPE


def pixels_at(affine, place):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return plane(index @ affine[:3, :3].T + affine[:3, 3], place).astype(np.float32)


def check_plane(views, place):
    """Wherever a view has data, its values are those of the plane, to a hundredth of the smallest voxel."""
    grid = views.grid
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    # In steps from the place, which keeps all digits of the check itself.
    points = index * grid.voxel_size_um + (np.array(grid.origin_um) - place)
    whole = Box.whole(grid.shape)
    read, covered = views.read(whole), views.coverage(whole)
    for number in range(len(views.views)):
        inside = covered[number] > 0
        assert inside.mean() > 0.1
        off = np.abs(read[number] - plane(points, 0.0))[inside].max()
        assert off < 0.01 * min(SIZE) * np.abs(SLOPE).min()


def zarr_06(path, pixels, unit, matrix):
    """An OME-Zarr 0.6 whose affine leads from its own system to the world, in a unit."""
    many = UNITS[unit]
    axes = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    onward = matrix @ np.diag([*(1 / np.array(SIZE)), 1.0])
    onward[:3, 3] *= many
    scale = {
        "type": "scale",
        "scale": [many * size for size in SIZE],
        "input": {"path": "0"},
        "output": {"name": "own"},
    }
    affine = {"type": "affine", "affine": onward[:3].tolist(), "input": {"name": "own"}, "output": {"name": "world"}}
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", data=pixels)
    group.attrs["ome"] = {
        "version": "0.6",
        "multiscales": [
            {
                "name": "view",
                "coordinateSystems": [{"name": "own", "axes": axes}, {"name": "world", "axes": axes}],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
                "coordinateTransformations": [affine],
            }
        ],
    }


def fused_at(place, name, pixels):
    """Two views that are turned against each other by 30 degrees, fused about a place."""
    psf = light_sheet_psf(0.0, shape=(7, 7, 7))
    affines = [turned(angle, np.add(place, own)) for angle, own in ((0, (0, 0, 0)), (30, (2.5, -1.25, 0.75)))]
    placed = [Placed(SHAPE, affine, f"view '{number}'") for number, affine in enumerate(affines)]
    grid = choose_grid(placed, voxels=(1.0, 1.0, 1.0)).grid
    views = [View(pixels[n], str(n), psf=psf, affine=affine) for n, affine in enumerate(affines)]
    method = make_method(name, **({"iterations": 2} if name == "ebmd" else {}))
    fused = fuse(RegisteredViews(views, grid), method)
    return np.asarray(fused.data[:]), np.asarray(fused.grid.origin_um)


@pytest.mark.parametrize("name", ["average", "cbif", "ebmd"])
@pytest.mark.filterwarnings("ignore")
def test_fused_values_are_the_same_wherever_the_views_lie(name, rng):
    pixels = ndimage.gaussian_filter(rng.random((2, *SHAPE)), (0, 1.5, 1.5, 1.5)).astype(np.float32) * 1000
    place = (28e3, -28e3, 28e3)
    (here, origin), (far, moved) = fused_at((0, 0, 0), name, pixels), fused_at(place, name, pixels)
    np.testing.assert_allclose(moved - origin, place, atol=1e-9)
    np.testing.assert_allclose(far, here, rtol=1e-5, atol=1e-5 * float(here.max()))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_turned_images_lie_where_they_say(tmp_path, unit, place):
    affines = [turned(angle, place) for angle in ANGLES]
    files = [tmp_path / f"view{number}.zarr" for number in range(len(affines))]
    for file, affine in zip(files, affines, strict=True):
        zarr_06(file, pixels_at(affine, place), unit, affine)
    check_plane(open_views(files, registration="world"), place)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_a_scene_is_read_forwards_and_backwards(tmp_path, unit, place):
    axes = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    group, ways = zarr.create_group(tmp_path / "scene.zarr", zarr_format=3), []
    for number, angle in enumerate(ANGLES):
        affine = turned(angle, place)
        zarr_06(tmp_path / "scene.zarr" / f"view{number}", pixels_at(affine, place), unit, affine)
        own, world = {"path": f"view{number}", "name": "world"}, {"name": "all"}
        ways.append({"type": "identity", "input": own, "output": world})
        if number % 2:
            # From the world back to the image: its inverse leads forwards.
            inner = zarr.open_group(tmp_path / "scene.zarr" / f"view{number}", mode="r+")
            ome = inner.attrs["ome"]
            (way,) = ome["multiscales"][0]["coordinateTransformations"]
            back = np.linalg.inv(np.vstack([way["affine"], (0, 0, 0, 1)]))[:3].tolist()
            ome["multiscales"][0]["coordinateTransformations"] = [
                {"type": "affine", "affine": back, "input": way["output"], "output": way["input"]}
            ]
            inner.attrs["ome"] = ome
    group.attrs["ome"] = {
        "version": "0.6",
        "scene": {"coordinateSystems": [{"name": "all", "axes": axes}], "coordinateTransformations": ways},
    }
    check_plane(open_views(tmp_path / "scene.zarr"), place)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_shifted_images_lie_where_they_say(tmp_path, unit, place):
    files = [tmp_path / f"view{number}.zarr" for number in range(2)]
    for number, file in enumerate(files):
        affine = turned(0, np.add(place, (0.4, 0.7, 0.1)) if number else place)
        group = zarr.create_group(file, zarr_format=3)
        group.create_array("0", data=pixels_at(affine, place))
        steps = [
            {"type": "scale", "scale": [UNITS[unit] * size for size in SIZE]},
            {"type": "translation", "translation": (UNITS[unit] * affine[:3, 3]).tolist()},
        ]
        axes = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
        level = {"path": "0", "coordinateTransformations": steps}
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    check_plane(open_views(files), place)


@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_views_of_multiview_stitcher_lie_where_they_say(tmp_path, place):
    """The place stands in the coordinates of one, and in the registration of the other."""
    for number, angle in enumerate((0.0, 89.0)):
        affine = turned(angle, place)
        start = np.array(place) if number == 0 else np.zeros(3)
        onward = affine @ np.diag([*(1 / np.array(SIZE)), 1.0])
        onward[:3, 3] -= onward[:3, :3] @ start
        sim = si_utils.get_sim_from_array(
            pixels_at(affine, place)[None, None],
            dims=["t", "c", "z", "y", "x"],
            scale=dict(zip("zyx", SIZE, strict=True)),
            translation=dict(zip("zyx", start, strict=True)),
            transform_key="affine_metadata",
        )
        msim = msi_utils.get_msim_from_sim(sim, scale_factors=[])
        msi_utils.set_affine_transform(
            msim, param_utils.affine_to_xaffine(onward), "affine_registered", base_transform_key="affine_metadata"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels are texts, which zarr 3 does not specify yet
            msi_utils.multiscale_spatial_image_to_zarr(msim, tmp_path / f"view{number}_msim.zarr")
    check_plane(open_views(tmp_path), place)


@pytest.mark.parametrize(("unit", "many"), [("um", 1.0), ("nm", 1e3)])
@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_views_of_a_project_lie_where_it_says(tmp_path, place, unit, many):
    setups, transforms = {}, {}
    for number, angle in enumerate(ANGLES):
        affine = turned(angle, place)
        affine[:3] *= many
        pixels = pixels_at(turned(angle, place), place)
        write_n5_view(tmp_path / "d.n5", number, 0, [pixels], [[1, 1, 1]], block=SHAPE)
        voxel = tuple(many * size for size in SIZE[::-1])
        setups[number] = Setup(size=SHAPE[::-1], voxel=voxel, unit=unit, parts={"angle": number})
        transforms[0, number] = [reversed_axes(affine)[:3]]
    project = tmp_path / "dataset.xml"
    project.write_text(
        xml_of('<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>', setups, transforms)
    )
    check_plane(open_views(project), place)


@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
@pytest.mark.parametrize("ending", ["zarr", "ome.tif", "h5", "bdv"])
def test_a_fused_volume_lies_where_its_views_do(tmp_path, place, ending):
    affine = turned(90, place)
    one = Placed(SHAPE, affine)
    grid = choose_grid([one]).grid
    out = tmp_path / f"fused.{ending}"
    write_volume(out, np.zeros(grid.shape, np.float32), grid)
    _, again = open_volume(out)
    step = np.abs(np.subtract(again.origin_um, grid.origin_um)).max() / min(SIZE)
    assert step < 1e-6
    assert np.allclose(again.voxel_size_um, grid.voxel_size_um, rtol=1e-9)


@pytest.mark.parametrize("place", FAR.values(), ids=FAR)
def test_places_that_differ_by_voxels_are_not_taken_for_one(place):
    """A millionth of a metre is two voxels."""
    affine = turned(90, place)
    other = turned(90, np.add(place, (0, 1, 0)))
    one, beside = (PlacedVolume("view", np.zeros(SHAPE), each) for each in (affine, other))
    assert one.on_grid_of(PlacedVolume("view", np.zeros(SHAPE), affine.copy()))
    assert not one.on_grid_of(beside)
    tiles = [View(np.zeros(SHAPE), name, angle=90.0, affine=each) for name, each in (("a", affine), ("b", other))]
    assert about_one_direction(RegisteredViews(tiles, choose_grid([Placed(SHAPE, affine)]).grid)) == []


def test_fine_voxels_are_not_flat_and_flat_views_are_refused_anywhere():
    fine = np.diag([1e-5, 1e-5, 1e-5, 1.0])
    assert View(np.zeros(SHAPE), "a", affine=fine).affine is not None
    flat = turned(90, FAR["1 m"])
    flat[:3, 2] = flat[:3, 1]
    with pytest.raises(InputError, match="invertible"):
        View(np.zeros(SHAPE), "a", affine=flat)
    with pytest.raises(InputError, match="flat"):
        Placed(SHAPE, flat)


@pytest.mark.parametrize("system", ["own", "world"])
def test_an_image_with_several_systems_opens_alone_as_in_a_list(tmp_path, system):
    place, file = FAR["28 mm"], tmp_path / "view.zarr"
    affine = turned(90, place)
    zarr_06(file, pixels_at(affine, place), "micrometer", affine)
    alone, listed = (open_views(source, registration=system, grid="isotropic") for source in (file, [file]))
    assert alone.grid == listed.grid
    whole = Box.whole(alone.grid.shape)
    np.testing.assert_array_equal(alone.read(whole), listed.read(whole))
    shown = describe(file, registration=system).samples[0]
    assert shown.readable
    assert shown.fused_shape == alone.grid.shape
    assert "choose one with --registration, of own, world" in " ".join(describe(file).samples[0].problems)
    with pytest.raises(InputError, match="no coordinate system 'other': it has 'own', 'world'"):
        open_views(file, registration="other")


def test_views_in_channels_open_at_any_level_with_their_psfs(tmp_path):
    """A coarser level alone is what it is in a list; its PSF is as wide in micrometres."""
    pixels = np.arange(8000, dtype=np.float32).reshape(20, 20, 20)
    psf = np.exp(-((np.indices((13, 13, 13)) - 6.0) ** 2).sum(axis=0) / 8).astype(np.float32)
    views = [View(pixels + number, name, psf=psf / psf.sum()) for number, name in enumerate("ab")]
    file = tmp_path / "views.zarr"
    write_views_zarr(file, RegisteredViews(views, Grid(pixels.shape, (0.5, 0.5, 0.5), (1e6, 0, 0))))
    group = zarr.open_group(file, mode="r+")
    group.create_array("half", data=group["0"][:].reshape(2, 10, 2, 10, 2, 10, 2).mean(axis=(2, 4, 6)))
    ome = group.attrs["ome"]
    steps = [
        {"type": "scale", "scale": [1.0, 1.0, 1.0, 1.0]},
        {"type": "translation", "translation": [0.0, 1e6 + 0.25, 0.25, 0.25]},
    ]
    ome["multiscales"][0]["datasets"].append({"path": "half", "coordinateTransformations": steps})
    group.attrs["ome"] = ome
    fine, coarse = open_views(file), open_views(file, level=1)
    listed = open_views([file], level=1, channel=1)
    assert coarse.grid == listed.grid
    assert coarse.grid.shape != fine.grid.shape
    np.testing.assert_array_equal(np.asarray(coarse.views[1].data[:]), np.asarray(listed.views[0].data[:]))
    widths = []
    for each in (fine, coarse):
        known = each.views[1].psf
        along = known.sum(axis=(1, 2))
        steps = np.arange(len(along)) - len(along) // 2
        widths.append(np.sqrt((along * steps**2).sum()) * each.grid.voxel_size_um[0])
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    with pytest.raises(InputError, match="level"):
        open_views(file, level=9)
