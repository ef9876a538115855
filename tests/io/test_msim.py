"""The msim zarrs of multiview-stitcher, as it wrote them: pixels and world coordinates, registrations, times, levels."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from multiview_stitcher import msi_utils, param_utils
from multiview_stitcher import spatial_image_utils as si_utils

from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import format_of, is_project, open_stored
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.volume_choice import NotChosenError, ProjectChoice, VolumeChoice

SHAPE = (2, 2, 12, 16, 20)
KEYS = ("affine_registered", "second")


def affine_of(seed):
    """A turn about a slanted axis, with a shift."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turned * np.sign(np.linalg.det(turned))
    matrix[:3, 3] = rng.uniform(-20, 20, 3)
    return matrix


def write(how, msim, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels are texts, which zarr 3 does not specify yet
        how(msim, path)


def write_msim(path, pixels, registrations, *, origin=(10.0, 20.0, 30.0), factors=(2,)):
    sim = si_utils.get_sim_from_array(
        pixels,
        dims=["t", "c", "z", "y", "x"],
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        translation=dict(zip("zyx", origin, strict=True)),
        transform_key="affine_metadata",
        c_coords=["gfp", "rfp"][: pixels.shape[1]],
        t_coords=list(range(len(pixels))),
    )
    msim = msi_utils.get_msim_from_sim(sim, scale_factors=list(factors))
    for key, matrices in registrations.items():
        affine = param_utils.affine_to_xaffine(matrices[0], t_coords=[0, 1] if len(matrices) > 1 else None)
        affine.values[...] = matrices if len(matrices) > 1 else matrices[0]
        msi_utils.set_affine_transform(msim, affine, key, base_transform_key="affine_metadata")
    write(msi_utils.multiscale_spatial_image_to_zarr, msim, path)
    return msim


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two views of multiview-stitcher with two registrations, one of them by time point, and the same as it reads them."""
    folder = tmp_path_factory.mktemp("msims")
    rng = np.random.default_rng(3)
    views = {}
    for number in range(2):
        pixels = rng.integers(0, 60_000, SHAPE).astype(np.uint16)
        own = {KEYS[0]: [affine_of(number)], KEYS[1]: [affine_of(number + 5), affine_of(number + 7)]}
        views[f"view{number}"] = write_msim(folder / f"view{number}_msim.zarr", pixels, own)
    return folder, views


def test_the_test_data_lies_where_an_independent_reader_put_it(test_data):
    folder = test_data / "projects" / "multiview-stitcher"
    expected = json.loads((test_data / "projects" / "expected.json").read_text())
    known = {entry["project"]: entry for entry in expected if "_msim.zarr" in str(entry.get("project"))}
    views = open_views(folder, no_data="none")
    assert views.names == ("view0", "view1")
    assert known.keys() <= {f"multiview-stitcher/{name}_msim.zarr" for name in views.names}
    assert known
    for view in views.views:
        entry = known.get(f"multiview-stitcher/{view.name}_msim.zarr")
        if entry is None:
            continue
        assert view.shape == tuple(entry["shape_zyx"])
        for point in entry["points"]:
            assert view.data[tuple(point["zyx"])] == point["value"]
            place = view.affine @ [*point["zyx"], 1]
            np.testing.assert_allclose(place[:3], point["world_zyx_um"], atol=1e-9)


@pytest.mark.parametrize(("key", "time"), [(KEYS[0], 1), (KEYS[1], 0), (KEYS[1], 1)])
@pytest.mark.parametrize("level", [0, 1])
def test_pixels_and_places_are_those_of_multiview_stitcher(written, key, time, level):
    folder, msims = written
    views = open_views(folder, registration=key, timepoint=time, channel=1, level=level, no_data="none")
    for view in views.views:
        sim = msi_utils.get_sim_from_msim(msims[view.name], scale=f"scale{level}")
        np.testing.assert_array_equal(np.asarray(view.data), sim.values[time, 1])
        matrix = np.asarray(si_utils.get_affine_from_sim(sim, key))
        matrix = matrix[time] if matrix.ndim == 3 else matrix
        last = np.array(sim.shape[2:]) - 1
        physical = [sim.coords[axis].values[-1] for axis in "zyx"]
        np.testing.assert_allclose((view.affine @ [*last, 1])[:3], (matrix @ [*physical, 1])[:3], atol=1e-6)


def test_a_list_of_them_is_laid_like_their_folder(written):
    folder, _ = written
    of_list = open_views(
        sorted(folder.iterdir()), registration=KEYS[0], timepoint=0, channel=0, level=1, no_data="none"
    )
    of_folder = open_views(folder, registration=KEYS[0], timepoint=0, channel=0, level=1, no_data="none")
    assert of_list.grid == of_folder.grid
    for one, other in zip(of_list.views, of_folder.views, strict=True):
        np.testing.assert_allclose(one.affine, other.affine)


def test_which_registration_is_asked(written):
    folder, _ = written
    with pytest.raises(NotChosenError, match="has 2 registrations: choose one with --registration, of affine_reg"):
        open_views(folder, timepoint=0, channel=0)
    with pytest.raises(InputError, match="no registration 'third': it has affine_metadata, affine_registered, second"):
        open_views(folder, registration="third", timepoint=0, channel=0)
    with pytest.raises(InputError, match=r"has 2 resolution levels: --level 2 \(level=\) is not there"):
        open_views(folder, registration=KEYS[0], timepoint=0, channel=0, level=2)
    said = run("fuse", folder, "--out", folder.parent / "f.zarr", "--timepoint", 0, "--channel", 0, code=2).stderr
    assert "choose one with --registration" in said


def test_info_shows_what_there_is_to_choose(written):
    folder, _ = written
    assert is_project(folder)
    contents = format_of(folder).describe(folder)
    assert (contents.registrations, contents.views) == (KEYS, 8)
    listed = format_of(folder).list_views(folder, ProjectChoice(0, 1, level=1, registration=KEYS[0]))
    assert [(view.name, view.shape) for view in listed.views] == [("view0", (6, 8, 10)), ("view1", (6, 8, 10))]
    assert listed.levels == 2
    assert (contents.timepoints, contents.channels) == ((0, 1), ("0", "1"))
    shown = run("info", folder, "--registration", KEYS[1], "--timepoint", "1", "--channel", "0").stdout
    assert "affine_registered, second" in shown
    assert describe(folder).samples[0].readable  # the first of everything


def test_one_that_was_not_registered_says_so(tmp_path):
    write_msim(tmp_path / "a_msim.zarr", np.ones((1, 1, 4, 5, 6), np.uint16)[:, :, :], {}, factors=())
    stored = open_stored(tmp_path / "a_msim.zarr", VolumeChoice())
    assert (stored.origin_um, stored.size_um) == ((10.0, 20.0, 30.0), (2.0, 0.5, 0.5))
    assert "was not registered" in stored.notes[0]


def test_a_registration_that_was_added_later_is_found(written, tmp_path):
    folder, msims = written
    path = tmp_path / "view0_msim.zarr"
    shutil.copytree(folder / "view0_msim.zarr", path)
    msi_utils.set_affine_transform(msims["view0"], param_utils.affine_to_xaffine(affine_of(9)), "added")
    write(msi_utils.update_msim_transforms_zarr, msims["view0"], path)
    stored = open_stored(path, VolumeChoice(registration="added"))
    first = affine_of(9) @ [10.0, 20.0, 30.0, 1]
    np.testing.assert_allclose(stored.affine_um[:3, 3], first[:3])


def values_of(path, change):
    array = zarr.open_array(path, mode="r+")
    array[:] = change(array[:])


BAD = {
    "a singular affine": (lambda p: values_of(p / "scale0" / KEYS[0], lambda m: m * [0, 1, 1, 1]), "squeezes it flat"),
    "an affine of nan": (
        lambda p: values_of(p / "scale0" / KEYS[0], lambda m: m * np.nan),
        "no affine as registration",
    ),
    "uneven steps": (lambda p: values_of(p / "scale0" / "z", lambda z: z**2), "uneven steps along z"),
    "no coordinates": (lambda p: shutil.rmtree(p / "scale0" / "y"), "coordinates along y are no row of numbers"),
    "a cut chunk": (lambda p: cut(p / "scale0" / "image" / "c"), "a chunk in .* cannot be read"),
    "huge affine": (lambda p: values_of(p / "scale0" / KEYS[0], lambda m: np.diag([1e9, 1e9, 1e9, 1.0]) @ m), "voxel"),
}


def cut(folder):
    for chunk in filter(Path.is_file, folder.rglob("*")):
        chunk.write_bytes(chunk.read_bytes()[:-7])


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(test_data, tmp_path, name):
    change, said = BAD[name]
    path = tmp_path / "view1_msim.zarr"
    shutil.copytree(test_data / "projects" / "multiview-stitcher" / "view1_msim.zarr", path)
    change(path)
    with pytest.raises(InputError, match=said) as failure:
        np.asarray(open_views([path], no_data="none").views[0].data)
    assert "\n" not in str(failure.value)
    assert "view1" in str(failure.value)
