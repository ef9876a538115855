"""OME-Zarr 0.6: images with several coordinate systems, and scenes that place images by ways through these."""

import json
import shutil
import warnings

import ngff_zarr
import numpy as np
import pytest
import zarr

from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import format_of, is_project, open_stored
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.volume_choice import NotChosenError, ProjectChoice, VolumeChoice

# Older ones have no OME-Zarr 0.6; this one needs a dask that we do not.
pytest.importorskip("ngff_zarr", minversion="0.43", reason="OME-Zarr 0.6 is checked with ngff-zarr 0.43 or newer")

SHAPE = (12, 16, 20)
SCALE, ORIGIN = np.array([2.0, 0.5, 0.5]), np.array([10.0, 20.0, 30.0])
AFFINE = [[0, 0, 1, 5], [0, 1, 0, 6], [-1, 0, 0, 7]]
SYSTEM = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def write_image(path, seed, axes="zyx", version="0.6"):
    """An image of two levels as ngff-zarr writes it, in its coordinate system "intrinsic"."""
    rng = np.random.default_rng(seed)
    sizes = {"t": 2, "c": 3} | dict(zip("zyx", SHAPE, strict=True))
    pixels = rng.integers(0, 60_000, [sizes[axis] for axis in axes]).astype(np.uint16)
    image = ngff_zarr.to_ngff_image(
        pixels,
        dims=tuple(axes),
        scale=dict.fromkeys(axes, 1.0) | dict(zip("zyx", SCALE, strict=True)),
        translation=dict.fromkeys(axes, 0.0) | dict(zip("zyx", ORIGIN, strict=True)),
        axes_units=dict.fromkeys("zyx", "micrometer"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scales = ngff_zarr.to_multiscales(image, scale_factors=[2], method=ngff_zarr.Methods.DASK_IMAGE_NEAREST)
        ngff_zarr.to_ngff_zarr(str(path), scales, version=version)
    return pixels


def change_ome(path, edit):
    group = zarr.open_group(path, mode="r+")
    ome = dict(group.attrs["ome"])
    edit(ome)
    group.attrs["ome"] = ome


def write_scene(path, transforms, systems=("world",), images=("raw/a", "raw/b"), **how):
    zarr.create_group(path)
    pixels = {name: write_image(path / name, number, **how) for number, name in enumerate(images)}
    state(path, transforms, systems)
    return pixels


def state(path, transforms, systems=("world",)):
    named = [{"name": each, "axes": SYSTEM} if isinstance(each, str) else each for each in systems]
    scene = {"coordinateTransformations": transforms} | ({"coordinateSystems": named} if named else {})
    zarr.open_group(path, mode="r+").attrs["ome"] = {"version": "0.6", "scene": scene}


def of(path, name="intrinsic"):
    return {"path": path, "name": name} if path else {"name": name}


def step(before, after, kind, **numbers):
    return {"type": kind, "input": before, "output": after} | numbers


A, B, MID, WORLD = of("raw/a"), of("raw/b"), of("", "mid"), of("", "world")
TO_WORLD = [step(A, WORLD, "affine", affine=AFFINE), step(B, WORLD, "translation", translation=[1, 2, 3])]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "s.ome.zarr"
    return path, write_scene(path, TO_WORLD)


def world_of(view, index):
    return (view.affine @ [*index, 1])[:3]


def test_views_of_a_scene_lie_where_it_says(scene):
    path, pixels = scene
    views = open_views(path, no_data="none")
    assert views.names == ("a", "b")
    a, b = views.views
    for index in ((0, 0, 0), (11, 15, 19)):
        z, y, x = np.array(index) * SCALE + ORIGIN
        np.testing.assert_allclose(world_of(a, index), (x + 5, y + 6, 7 - z))
        np.testing.assert_allclose(world_of(b, index), (z + 1, y + 2, x + 3))
    np.testing.assert_array_equal(np.asarray(a.data), pixels["raw/a"])
    np.testing.assert_array_equal(np.asarray(b.data), pixels["raw/b"])


def test_a_level_lies_where_its_pixels_do(scene):
    path, _ = scene
    fine, coarse = (open_views(path, level=level, no_data="none").views[0] for level in (0, 1))
    assert coarse.shape == (6, 8, 10)
    first = zarr.open_group(path / "raw/a", mode="r").attrs["ome"]["multiscales"][0]["datasets"][1]
    steps = first["coordinateTransformations"][0]["transformations"]
    z, y, x = steps[1]["translation"]
    np.testing.assert_allclose(world_of(coarse, (0, 0, 0)), (x + 5, y + 6, 7 - z))
    assert fine.shape == SHAPE


def test_ways_lead_over_other_systems_and_backwards(tmp_path, scene):
    """a -> mid -> world, and mid -> b, which is taken backwards; the world is in nanometres."""
    path, _ = scene
    nm = {"name": "world", "axes": [axis | {"unit": "nanometer"} for axis in SYSTEM]}
    steps = [{"type": "translation", "translation": [1, 2, 3]}, {"type": "scale", "scale": [1000] * 3}]
    ways = [
        step(A, MID, "affine", affine=AFFINE),
        step(MID, WORLD, "sequence", transformations=steps),
        step(MID, B, "translation", translation=[1, 1, 1]),
    ]
    link = tmp_path / "s.zarr"
    zarr.create_group(link)
    (path / "raw").rename(link / "raw")
    try:
        state(link, ways, [nm, "mid"])
        a, b = open_views(link, registration="world", no_data="none").views
        np.testing.assert_allclose(world_of(a, (0, 0, 0)), (36, 28, 0), atol=1e-9)
        np.testing.assert_allclose(world_of(b, (0, 0, 0)), (10, 21, 32), atol=1e-9)
        a, b = open_views(link, registration="mid", no_data="none").views
        np.testing.assert_allclose(world_of(b, (0, 0, 0)), (9, 19, 29), atol=1e-9)
        with pytest.raises(NotChosenError, match="2 coordinate systems: choose one with --registration, of world, mid"):
            open_views(link)
        assert "registrations" in run("info", link).stdout
    finally:
        (link / "raw").rename(path / "raw")


def test_a_bijection_leads_back_as_it_says_and_parts_are_read_as_drafts_have_them(tmp_path, scene):
    """mid -> a is taken backwards; what its inverse says is no inverse of the other, which tells them apart."""
    path, _ = scene
    there, back = ({"type": "translation", "translation": [n] * 3} for n in (1, 10))
    parts = [
        {"type": "scale", "scale": [2], "input_axes": [0], "output_axes": [2]},
        {"type": "identity", "input_axes": [1, 2], "output_axes": [0, 1]},
    ]
    link = tmp_path / "s.zarr"
    zarr.create_group(link)
    (path / "raw").rename(link / "raw")
    try:
        ways = [step(WORLD, A, "bijection", forward=there, inverse=back)]
        state(link, [*ways, step(B, WORLD, "byDimension", transformations=parts)])
        a, b = open_views(link, no_data="none").views
        np.testing.assert_allclose(world_of(a, (0, 0, 0)), ORIGIN + 10)
        z, y, x = ORIGIN
        np.testing.assert_allclose(world_of(b, (0, 0, 0)), (y, x, 2 * z))
    finally:
        (link / "raw").rename(path / "raw")


def test_an_image_onto_another_one_needs_no_world(tmp_path):
    path = tmp_path / "s.zarr"
    write_scene(path, [step(A, B, "affine", affine=AFFINE)], systems=())
    a, b = open_views(path, no_data="none").views
    np.testing.assert_allclose(world_of(a, (0, 0, 0)), (35, 26, -3))
    np.testing.assert_allclose(world_of(b, (0, 0, 0)), ORIGIN)


def test_times_and_channels_of_images_are_chosen(tmp_path):
    """An affine of the axes of space alone, and one that says of all axes what it is."""
    path = tmp_path / "s.zarr"
    pixels = write_scene(path, TO_WORLD, axes="tczyx", images=("raw/a", "raw/b"))
    whole = {"transformation": {"type": "translation", "translation": [1, 2, 3]}, "inputAxes": [2, 3, 4]}
    by_axes = step(B, WORLD, "byDimension", transformations=[whole | {"outputAxes": [0, 1, 2]}])
    state(path, [TO_WORLD[0], by_axes])
    with pytest.raises(NotChosenError, match="has 2 time points"):
        open_views(path)
    views = open_views(path, timepoint=1, channel=2, no_data="none")
    np.testing.assert_array_equal(np.asarray(views.views[1].data), pixels["raw/b"][1, 2])
    np.testing.assert_allclose(world_of(views.views[0], (0, 0, 0)), (35, 26, -3))
    np.testing.assert_allclose(world_of(views.views[1], (0, 0, 0)), ORIGIN + np.array([1, 2, 3]))
    contents = format_of(path).describe(path)
    assert (contents.timepoints, contents.channels, contents.views) == ((0, 1), ("0", "1", "2"), 12)
    listed = format_of(path).list_views(path, ProjectChoice(0, 0))
    assert (listed.levels, [view.name for view in listed.views]) == (2, ["a", "b"])


def test_a_scene_is_fused_and_shown(scene, tmp_path):
    path, _ = scene
    assert is_project(path)
    assert "2 views in an OME-Zarr scene" in run("info", path).stdout
    run("fuse", path, "--method", "average", "--grid", "2,2,2", "-o", tmp_path / "f.zarr")
    fused = open_stored(tmp_path / "f.zarr")
    assert fused.size_um == (2.0, 2.0, 2.0)
    with pytest.raises(InputError, match=r"is a scene of 2 images, where one volume is needed: name one, as .*raw/a"):
        open_stored(path)


def test_an_image_in_several_systems_of_length_asks(tmp_path):
    path = tmp_path / "i.zarr"
    write_image(path, 0)

    def place(ome):
        image = ome["multiscales"][0]
        image["coordinateSystems"] += [
            {"name": "atlas", "axes": SYSTEM},
            {"name": "pixels", "axes": [{"name": a, "type": "space"} for a in "zyx"]},
        ]
        image["coordinateTransformations"] = [
            step({"name": "intrinsic"}, {"name": "atlas"}, "mapAxis", mapAxis=[2, 1, 0]),
            step({"name": "intrinsic"}, {"name": "pixels"}, "scale", scale=[0.5, 2, 2]),
        ]

    change_ome(path, place)
    with pytest.raises(NotChosenError, match=r"has 2 coordinate systems: choose one with .*, of intrinsic, atlas"):
        open_stored(path)
    assert open_stored(path, VolumeChoice(registration="intrinsic")).origin_um == tuple(ORIGIN)
    turned = open_stored(path, VolumeChoice(registration="atlas")).affine_um
    np.testing.assert_allclose(turned @ [0, 0, 0, 1], (30, 20, 10, 1))
    np.testing.assert_allclose(turned @ [1, 0, 0, 1], (30, 20, 12, 1))
    assert open_stored(path, VolumeChoice(registration="pixels")).size_um is None


SINGULAR = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
BAD = {
    "a path out": ([step(of("../x"), WORLD, "identity")], "names an image outside of itself"),
    "an absolute path": (
        [step(of("/etc"), WORLD, "identity"), TO_WORLD[1]],
        r"names an image outside of itself \(/etc\)",
    ),
    "no image": ([step(of("raw/c"), WORLD, "identity")], "image 'raw/c', and it is not there"),
    "a system that is not there": ([step(A, of("", "word"), "identity")], "'word', which it does not define"),
    "a system of no image": ([step(of("raw/a", "inner"), WORLD, "identity")], "'inner' of 'raw/a', which has none"),
    "a singular affine": ([step(A, WORLD, "affine", affine=SINGULAR), TO_WORLD[1]], "squeezes it flat"),
    "a huge affine": (
        [step(A, WORLD, "affine", affine=(np.array(AFFINE) * 1e9).tolist()), TO_WORLD[1]],
        "raw/a: voxels of .* cannot be",
    ),
    "a field": ([step(A, WORLD, "displacements", path="field"), TO_WORLD[1]], "a field of displacements, which is not"),
    "a matrix outside": ([step(A, WORLD, "affine", path="../m"), TO_WORLD[1]], "numbers of a transform outside"),
    "images apart": ([TO_WORLD[0], step(B, B, "identity")], "does not say how 'raw/b' lies beside 'raw/a'"),
    "too few numbers": ([step(A, WORLD, "scale", scale=[1, 2]), TO_WORLD[1]], "a scale of 2 numbers for 3 axes"),
    "not a number": ([step(A, WORLD, "scale", scale=[1, 2, None]), TO_WORLD[1]], "is damaged"),
    "no transforms": ([], "without images"),
    "nothing to read": ([{"type": "affine"}], "damaged"),
    "only backwards": (
        [step(WORLD, A, "projectAxis", droppedInputs=[0], createdOutputs=[0]), TO_WORLD[1]],
        "of type 'projectAxis' that cannot be inverted",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_scene_is_said_in_one_line(scene, tmp_path, name):
    path, _ = scene
    ways, said = BAD[name]
    kept = json.loads((path / "zarr.json").read_text())
    try:
        state(path, ways)
        with pytest.raises(InputError, match=said) as failure:
            open_views(path, no_data="none")
    finally:
        (path / "zarr.json").write_text(json.dumps(kept))
    assert "\n" not in str(failure.value)
    assert "s.ome.zarr" in str(failure.value)


def test_a_scene_that_places_nothing_is_no_damaged_image(tmp_path, scene):
    copy = tmp_path / "s.ome.zarr"
    shutil.copytree(scene[0], copy)
    change_ome(copy, lambda ome: ome["scene"].pop("coordinateTransformations"))
    with pytest.raises(InputError, match=r"s\.ome\.zarr is a scene without images that could be views"):
        open_views(copy)


def test_a_rotation_that_stretches_is_refused(tmp_path, scene):
    copy = tmp_path / "s.ome.zarr"
    shutil.copytree(scene[0], copy)
    state(copy, [step(A, WORLD, "rotation", rotation=[[1, 0, 0], [0, 2, 0], [0, 0, 1]]), TO_WORLD[1]])
    with pytest.raises(InputError, match="has a rotation that stretches or shears"):
        open_views(copy, no_data="none")


@pytest.mark.parametrize(
    "second",
    [step(B, WORLD, "translation", translation=[5, 5, 5]), step(WORLD, B, "translation", translation=[5, 5, 5])],
    ids=["forwards", "backwards"],
)
def test_two_places_of_one_image_are_refused_and_one_that_is_said_twice_is_not(tmp_path, scene, second):
    copy = tmp_path / "s.ome.zarr"
    shutil.copytree(scene[0], copy)
    state(copy, [*TO_WORLD, second])
    with pytest.raises(InputError, match="two transforms from 'raw/b/intrinsic' to 'world' that contradict each other"):
        open_views(copy, no_data="none")
    state(copy, [*TO_WORLD, TO_WORLD[1], step(WORLD, B, "translation", translation=[-1, -2, -3])])
    once, twice = open_views(scene[0], no_data="none"), open_views(copy, no_data="none")
    for a, b in zip(once.views, twice.views, strict=True):
        np.testing.assert_array_equal(a.affine, b.affine)


def test_cycles_end_and_links_do_not_leave_a_scene(scene, tmp_path):
    path, _ = scene
    kept = json.loads((path / "zarr.json").read_text())
    try:
        state(path, [*TO_WORLD, step(WORLD, MID, "identity"), step(MID, A, "identity")], ["world", "mid"])
        a, _ = open_views(path, registration="world", no_data="none").views
        np.testing.assert_allclose(world_of(a, (0, 0, 0)), (35, 26, -3))
        (tmp_path / "far").mkdir()
        write_image(tmp_path / "far" / "c", 3)
        (path / "raw" / "c").symlink_to(tmp_path / "far" / "c")
        (path / "raw" / "round").symlink_to(path)
        state(path, [*TO_WORLD, step(of("raw/c"), WORLD, "identity")])
        with pytest.raises(InputError, match=r"image 'raw/c', which is a link to .*/far/c, outside of it: refused"):
            open_views(path)
        state(path, [*TO_WORLD, step(of("raw/round"), WORLD, "identity")])
        with pytest.raises(InputError, match="holds another scene, 'raw/round'"):
            open_views(path)
    finally:
        (path / "zarr.json").write_text(json.dumps(kept))
        for link in ("c", "round"):
            (path / "raw" / link).unlink(missing_ok=True)


def test_units_that_differ_count_axis_by_axis(tmp_path, scene):
    """The world has z in nanometres and y and x in micrometres; an image's own unit is none of its affair."""
    path, _ = scene
    kept = json.loads((path / "zarr.json").read_text())
    mixed = {"name": "world", "axes": [SYSTEM[0] | {"unit": "nanometer"}, *SYSTEM[1:]]}
    try:
        state(path, [step(A, WORLD, "scale", scale=[1000, 1, 1]), step(B, WORLD, "scale", scale=[2000, 1, 1])], [mixed])
        a, b = open_views(path, no_data="none").views
        np.testing.assert_allclose(world_of(a, (1, 1, 1)), SCALE + ORIGIN)
        np.testing.assert_allclose(world_of(b, (1, 1, 1)), (SCALE + ORIGIN) * (2, 1, 1))
    finally:
        (path / "zarr.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("unit", "numbers", "said"),
    [
        (
            "nanometer",
            1,
            "'world', which is in 'nanometer', and its transform, which should convert that, makes it 0.001 times",
        ),
        ("nanometer", 1000, ""),
        ("", 1, "'world', which is in no unit: the voxel size there is not known, correct the unit of 'world'"),
        ("bananas", 1, "'world', which is in 'bananas': the voxel size there is not known"),
    ],
)
def test_units_of_an_image_and_of_the_world_are_never_mixed_without_a_word(tmp_path, unit, numbers, said):
    path = tmp_path / "s.zarr"
    world = {"name": "world", "axes": [axis | {"unit": unit} for axis in SYSTEM]}
    ways = [step(image, WORLD, "scale", scale=[numbers] * 3) for image in (A, B)]
    write_scene(path, ways, [world])
    remarks = [note for note in open_views(path, no_data="none").remarks if "brings" in note]
    assert len(remarks) == bool(said)
    assert all(f"{path} brings what is measured in 'micrometer' into {said}" in note for note in remarks)


def test_an_image_without_a_unit_is_measured_in_that_of_the_world(tmp_path):
    path = tmp_path / "s.zarr"
    write_scene(path, TO_WORLD)
    change_ome(path / "raw/b", lambda ome: [a.pop("unit") for a in own_axes(ome)])
    views = open_views(path, no_data="none")
    said = "brings what is measured in no unit into 'world', which is in 'micrometer': what its transform makes of the"
    assert sum(said in note for note in views.remarks) == 1
    assert all(views.grid.known)


def own_axes(ome):
    return ome["multiscales"][0]["coordinateSystems"][0]["axes"]


@pytest.mark.parametrize("fill", [0, 7])
def test_a_chunk_that_nobody_wrote_is_the_fill_value(tmp_path, fill):
    path = tmp_path / "s.zarr"
    pixels = write_scene(path, TO_WORLD)["raw/a"]
    image = path / "raw" / "a"
    zarr.create_array(image / "scale0/image", data=pixels, chunks=(6, 8, 10), fill_value=fill, overwrite=True)
    described = json.loads((image / "zarr.json").read_text())
    described.pop("consolidated_metadata", None)
    (image / "zarr.json").write_text(json.dumps(described))
    (image / "scale0/image/c/1/1/1").unlink()
    expected = pixels.copy()
    expected[6:, 8:, 10:] = fill
    np.testing.assert_array_equal(np.asarray(open_views(path, no_data="none").views[0].data), expected)


def test_images_of_a_scene_are_called_views_and_no_angles(scene):
    path, _ = scene
    found = format_of(path).describe(path)
    assert (found.images, found.angles) == (("a", "b"), ())
    said = run("info", path).stdout
    assert "angles" not in said
