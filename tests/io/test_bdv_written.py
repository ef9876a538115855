"""Fused volumes as projects of BigDataViewer: where their views lie, with all values, for readers of others too."""

import json
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest

from bdv_projects import IDENTITY, Setup, scaled, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import recipe_path
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import open_stored, write_volume, writer_of
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe

SHAPE = (12, 14, 70)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project as BigStitcher writes it, whose unit of the world is its finest voxel, 0.4 um; beside it what it gives."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(3)
    setup = Setup(SHAPE[::-1], (0.4, 0.4, 1.6), parts={"angle": 0, "channel": 0})
    place = IDENTITY.copy()
    place[:, 3] = 30, -20, 10
    for number in (0, 1):
        pixels = rng.integers(100, 4000, SHAPE).astype(np.uint16)
        write_n5_view(folder / "dataset.n5", number, 0, [pixels], [[1, 1, 1]], block=(12, 14, 35))
    setups = {0: setup, 1: Setup(setup.size, setup.voxel, parts={"angle": 1, "channel": 0})}
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">dataset.n5</n5></ImageLoader>'
    transforms = {(0, number): [place, scaled(1, 1, 4)] for number in (0, 1)}
    (folder / "dataset.xml").write_text(xml_of(loader, setups, transforms))
    return folder / "dataset.xml"


@pytest.fixture(scope="module")
def fused(project):
    """The folder of the same views fused, and as an OME-Zarr beside it."""
    for ending in ("bdv", "zarr"):
        run("fuse", project, "--method", "average", "-o", project.with_name(f"fused.{ending}"), "--device", "cpu")
    return project.with_name("fused.bdv")


def model_of(registration):
    """The matrix of a view, as BigDataViewer puts its transforms together: (x, y, z)."""
    whole = np.eye(4)
    for each in registration.iterfind("ViewTransform/affine"):
        whole = whole @ np.vstack([np.array(each.text.split(), float).reshape(3, 4), [0, 0, 0, 1]])
    return whole


def test_the_fused_volume_lies_on_its_views_in_the_world_of_their_project(project, fused):
    """In world units of BigStitcher; oracle: the rule of its XML, and pixels by h5py."""
    root = ElementTree.parse(fused / "dataset.xml").getroot()
    (registration,) = root.iterfind("ViewRegistrations/ViewRegistration")
    model = model_of(registration)
    own = next(ElementTree.parse(project).getroot().iterfind("ViewRegistrations/*"))
    # Views on one grid keep their voxels, the finest side of which is the unit.
    np.testing.assert_allclose(model, model_of(own), atol=1e-9)
    np.testing.assert_allclose(np.diag(model), [1, 1, 4, 1], atol=1e-9)
    expected = np.asarray(open_volume(project.with_name("fused.zarr"))[0][:])
    with h5py.File(fused / "dataset.h5") as file:
        assert file["s00"].attrs["dataType"] == b"float32"
        np.testing.assert_array_equal(file["t00000/s00/0/cells"], expected)
        # Levels: (x, y, z) factors, and means.
        np.testing.assert_array_equal(file["s00/resolutions"], [[1, 1, 1], [2, 1, 1]])
        np.testing.assert_array_equal(file["s00/subdivisions"], [[64, 14, 12], [35, 14, 12]])
        means = expected.reshape(*expected.shape[:2], -1, 2).mean(-1, dtype=np.float64)
        np.testing.assert_allclose(file["t00000/s00/1/cells"], means, rtol=1e-6)
    size = [float(n) for n in root.findtext(".//voxelSize/size").split()]
    assert (size, root.findtext(".//voxelSize/unit")) == ([0.4, 0.4, 1.6], "µm")


def test_it_opens_again_as_a_volume_and_as_a_project_at_the_same_place(project, fused):
    expected, grid = open_volume(project.with_name("fused.zarr"))
    for named in (fused, fused / "dataset.xml"):
        volume, found = open_volume(named)
        assert found.shape == grid.shape
        np.testing.assert_allclose([*found.voxel_size_um, *found.origin_um], [*grid.voxel_size_um, *grid.origin_um])
        np.testing.assert_array_equal(volume[:, 3:9, ::7], expected[:, 3:9, ::7])
    views = open_views(fused / "dataset.xml", no_data="none")
    np.testing.assert_allclose(views.grid.affine, grid.affine)
    assert any("0.4 um, as the project says" in remark for remark in views.remarks)
    assert read_recipe(fused) == json.loads(recipe_path(fused).read_text())
    said = run("info", fused).stdout
    assert "1.6 x 0.4 x 0.4" in said


def test_pybdv_reads_what_was_written(fused):
    metadata = pytest.importorskip("pybdv.metadata")
    from pybdv.util import get_key, get_scale_factors, open_file

    xml = str(fused / "dataset.xml")
    assert metadata.get_bdv_format(xml) == "bdv.hdf5"
    assert metadata.get_resolution(xml, 0) == [1.6, 0.4, 0.4]
    assert metadata.get_unit(xml, 0) == "µm"
    volume, _ = open_volume(fused)
    assert tuple(metadata.get_size(xml, 0)) == volume.shape
    pixels = metadata.get_data_path(xml, return_absolute_path=True)
    assert get_scale_factors(pixels, 0) == [[1, 1, 1], [1, 1, 2]]
    with open_file(pixels) as file:
        np.testing.assert_array_equal(file[get_key(True, 0, 0, 0)], volume[:])


@pytest.mark.parametrize(("unit", "um"), [("nm", 1e-3), ("mm", 1e3)])
def test_voxels_are_stated_in_the_unit_of_the_world(tmp_path, unit, um):
    """Oracle: pybdv, whose unit, size and affine belong together."""
    metadata = pytest.importorskip("pybdv.metadata")
    size = [0.5 / um, 0.5 / um, 2.0 / um]
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    source = tmp_path / "dataset.xml"
    source.write_text(xml_of(loader, {0: Setup((5, 4, 3), tuple(size), unit)}, {(0, 0): [scaled(*size)]}))
    grid = Grid((3, 4, 5), (2.0, 0.5, 0.5), (28e3, 4e3, 1.0))
    write_volume(tmp_path / "f.bdv", np.zeros(grid.shape, np.float32), grid, recipe={"inputs": {"source": str(source)}})
    xml = str(tmp_path / "f.bdv" / "dataset.xml")
    assert metadata.get_unit(xml, 0) == unit
    np.testing.assert_allclose(metadata.get_resolution(xml, 0), size[::-1], rtol=1e-14)
    (registration,) = ElementTree.parse(xml).getroot().iterfind("ViewRegistrations/ViewRegistration")
    np.testing.assert_allclose(model_of(registration)[:3, 3], np.array([1.0, 4e3, 28e3]) / um)
    np.testing.assert_allclose(np.diag(model_of(registration))[:3], size)
    found = open_stored(tmp_path / "f.bdv").grid
    assert found.voxel_size_um == grid.voxel_size_um
    np.testing.assert_allclose(found.origin_um, grid.origin_um, rtol=1e-12)
    np.testing.assert_allclose(open_views(xml, no_data="none").grid.affine, grid.affine, rtol=1e-12)


@pytest.mark.parametrize("name", ["uint16", "int16", "uint8", "float64"])
def test_types_are_kept_as_all_versions_of_bigdataviewer_read_them(tmp_path, rng, name):
    """Whole numbers of 16 bits without a sign are stored as its first version did, whose pixels had one."""
    values = rng.integers(0, 255, (4, 5, 130)).astype(name)
    values[0, 0, 0] = np.iinfo(name).max if values.dtype.kind != "f" else 1e300
    write_volume(tmp_path / "v.bdv", values, Grid(values.shape))
    assert writer_of("v.bdv").flaw(tmp_path / "v.bdv") == ""
    with h5py.File(tmp_path / "v.bdv" / "dataset.h5") as file:
        stored = file["t00000/s00/0/cells"]
        assert stored.dtype == ("int16" if name == "uint16" else name)
        assert file["s00"].attrs.get("dataType") == (None if name == "uint16" else name.encode())
        np.testing.assert_array_equal(stored[:].view(name), values)
    with h5py.File(tmp_path / "v.bdv" / "dataset.h5", "a") as file:
        file["t00000/s00/1/cells"][0, 0, 3] += 1
    assert "level 1 is not made of its voxels" in writer_of("v.bdv").flaw(tmp_path / "v.bdv")


def test_what_is_not_known_of_the_voxels_stays_so(tmp_path):
    values = np.zeros((3, 4, 5), np.float32)
    for known in ((False, False, False), (False, True, True)):
        path = tmp_path / f"{sum(known)}.bdv"
        write_volume(path, values, Grid(values.shape, (1.0, 0.5, 0.5), known=known))
        assert open_stored(path).grid.known == known
    unit = ElementTree.parse(tmp_path / "0.bdv" / "dataset.xml").findtext(".//voxelSize/unit")
    assert unit == "pixel", "no length that nobody said"


def test_a_name_of_a_project_file_says_which_ending_is_meant(tmp_path):
    with pytest.raises(OutputError, match=r"name it .*\.bdv for BDV project"):
        write_volume(tmp_path / "fused.xml", np.zeros((3, 4, 5)), Grid((3, 4, 5)))
