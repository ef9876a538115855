"""A project of BigStitcher that is dropped on the window: its views as layers, in their places, with their PSFs."""

import json

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mvfusion.gui.layers.conversion import open_layers
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.opening import open_views

pytestmark = pytest.mark.usefixtures("plugin")

PROJECTS = {
    "bigstitcher-tiff/dataset.xml": ("bigstitcher-tiff/dataset.xml", 2, (9, 5, 5)),
    "bigstitcher-zarr/dataset.xml": ("bigstitcher-zarr/dataset.xml", 2, (9, 5, 5)),
    "npy2bdv/npy2bdv_angles.xml": ("npy2bdv/npy2bdv_angles.xml", 2, None),
    "mri-stack/mri-stack.xml": ("mri-stack.xml", 1, None),
}


@pytest.fixture
def projects(test_data):
    path = test_data / "projects"
    if not path.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    return path


@pytest.fixture
def viewer():
    return ViewerModel()


def size_of(known):
    """Voxel size (z, y, x) in um, from two of the points of a view that is not turned."""
    first, second = known["points"][:2]
    return np.subtract(second["world_zyx_um"], first["world_zyx_um"]) / np.subtract(second["zyx"], first["zyx"])


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("project", PROJECTS)
def test_views_of_a_project_become_layers_where_they_lie(viewer, projects, project):
    called, count, psf_shape = PROJECTS[project]
    layers = viewer.open(projects / project, plugin="napari-mvfusion")
    assert len(layers) == count
    expected = json.loads((projects / "expected.json").read_text())
    known = [e for e in expected if e["project"] == called and e["timepoint"] == 0]
    for layer, view in zip(layers, known, strict=True):
        for point in view["points"]:
            assert np.asarray(layer.data[tuple(point["zyx"])]) == point["value"]
            np.testing.assert_allclose(layer.data_to_world(point["zyx"]), point["world_zyx_um"], rtol=1e-9, atol=1e-6)
        assert str(layer.units[0]) in ("micrometer", "micron")
        own = layer.metadata[KEY].get("psf_own")
        assert (None if own is None else own.shape) == psf_shape
    # A fused volume of layers has the voxels of the first one, and PSFs are on them.
    fused = open_layers(list(layers)).views
    assert fused.grid.voxel_size_um == pytest.approx(tuple(size_of(known[0])))
    views = open_views(projects / project, timepoint=0, voxel_size_um=fused.grid.voxel_size_um, no_data="none")
    for view, other in zip(fused.views, views.views, strict=True):
        assert (view.psf is None) == (other.psf is None) == (psf_shape is None)
        if view.psf is not None:
            np.testing.assert_allclose(view.psf, other.psf, atol=1e-6)


def test_other_xml_files_are_left_to_others(tmp_path):
    (tmp_path / "a.xml").write_text("<OME/>")
    assert get_reader(str(tmp_path / "a.xml")) is None
