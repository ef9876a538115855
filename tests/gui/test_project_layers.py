"""A project of BigStitcher that is dropped on the window: its views as layers, in their places, with their PSFs."""

import json
import re
import shutil

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mvfusion.gui.layers.conversion import open_layers
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.opening import open_views

pytestmark = pytest.mark.usefixtures("plugin")

PROJECTS = ("bigstitcher-tiff/dataset.xml", "bigstitcher-zarr/dataset.xml", "npy2bdv/npy2bdv_angles.xml")


@pytest.fixture
def projects(test_data):
    path = test_data / "projects"
    if not path.is_dir():
        pytest.skip("the projects of other programs are not at hand")
    return path


@pytest.fixture
def viewer():
    return ViewerModel()


def known_of(projects, called):
    """What is known of the views of a project at its first time point."""
    expected = json.loads((projects / "expected.json").read_text())
    return [e for e in expected if e["project"] == called and e["timepoint"] == 0]


def test_upright_views_of_a_project_become_layers_as_they_are(viewer, projects):
    (layer,) = viewer.open(projects / "mri-stack/mri-stack.xml", plugin="napari-mvfusion")
    (view,) = known_of(projects, "mri-stack.xml")
    for point in view["points"]:
        assert np.asarray(layer.data[tuple(point["zyx"])]) == point["value"]
        np.testing.assert_allclose(layer.data_to_world(point["zyx"]), point["world_zyx_um"], rtol=1e-9, atol=1e-6)
    assert str(layer.units[0]) in ("micrometer", "micron")


def test_upright_views_keep_their_pixels_and_their_psfs_are_on_those_of_the_first(viewer, projects, tmp_path):
    shutil.copytree(projects / "bigstitcher-tiff", tmp_path / "upright")
    file = tmp_path / "upright/dataset.xml"
    found = dict(
        re.findall(r'<ViewRegistration timepoint="0" setup="(.)">(.*?)</ViewRegistration>', file.read_text(), re.S)
    )
    moved = '<ViewTransform type="affine"><affine>1 0 0 3.5 0 1 0 2 0 0 1 0</affine></ViewTransform>'
    file.write_text(file.read_text().replace(found["1"], moved + found["0"]))
    layers = viewer.open(file, plugin="napari-mvfusion")
    fused = open_layers(list(layers)).views
    assert fused.grid.shape == layers[0].data.shape == layers[1].data.shape
    np.testing.assert_allclose(layers[1].translate - layers[0].translate, [0, 1, 1.75])
    views = open_views(file, voxel_size_um=fused.grid.voxel_size_um, apart=True, no_data="none")
    for layer, view, other in zip(layers, fused.views, views.views, strict=True):
        assert layer.metadata[KEY]["psf_own"].shape == (9, 5, 5)
        np.testing.assert_allclose(view.psf, other.psf, atol=1e-6)
        np.testing.assert_array_equal(layer.data, other.data[:, :, :])


@pytest.mark.parametrize("project", PROJECTS)
def test_turned_views_of_a_project_are_shown_on_the_grid_on_which_they_are_fused(viewer, projects, project):
    """napari cannot show a plane of a layer that is turned out of it."""
    layers = viewer.open(projects / project, plugin="napari-mvfusion")
    known = known_of(projects, project)
    assert len(layers) == len(known) == 2
    for layer, view in zip(layers, known, strict=True):
        values = np.asarray(layer.data)
        for point in view["points"]:
            place = np.array(layer.world_to_data(point["world_zyx_um"]))
            np.testing.assert_allclose(place, place.round(), atol=1e-6)
            assert values[tuple(place.round().astype(int))] == pytest.approx(point["value"], abs=1e-2)
        assert np.array_equal(layer.affine.affine_matrix, np.eye(4))
    # They are fused as the command line fuses the project.
    fused = open_layers(list(layers)).views
    views = open_views(projects / project, timepoint=0, no_data="none")
    assert fused.grid == views.grid
    box = views.grid.box
    np.testing.assert_array_equal(fused.read(box), views.read(box))
    np.testing.assert_array_equal(fused.coverage(box) > 0, views.coverage(box) > 0)
    for view, other in zip(fused.views, views.views, strict=True):
        assert (view.psf is None) == (other.psf is None) == project.startswith("npy2bdv")
        if view.psf is not None:
            np.testing.assert_allclose(view.psf, other.psf, atol=1e-6)


@pytest.mark.window
def test_a_project_is_shown_in_planes_and_in_space(make_napari_viewer_proxy, projects, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    first, second = viewer.open(projects / "bigstitcher-zarr/dataset.xml", plugin="napari-mvfusion")
    for shown in (3, 2):
        viewer.dims.ndisplay = shown
        viewer.reset_view()
        picture = viewer.screenshot(canvas_only=True, flash=False)
        assert picture[..., :3].max() > 100
    assert first.visible
    assert second.visible


def test_other_xml_files_are_left_to_others(tmp_path):
    (tmp_path / "a.xml").write_text("<OME/>")
    assert get_reader(str(tmp_path / "a.xml")) is None
