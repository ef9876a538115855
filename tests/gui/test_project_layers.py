"""A project of BigStitcher that is dropped on the window: its views as layers, in their places, with their PSFs."""

import json

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mvfusion.gui.layers.conversion import open_layers
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.reader import get_reader

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def project(test_data):
    path = test_data / "projects" / "bigstitcher-tiff" / "dataset.xml"
    if not path.is_file():
        pytest.skip("the projects of other programs are not at hand")
    return path


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_views_of_a_project_become_layers_where_they_lie(viewer, project):
    layers = viewer.open(project, plugin="napari-mvfusion")
    assert [layer.name for layer in layers] == ["dataset view 0", "dataset view 90"]
    expected = json.loads((project.parents[1] / "expected.json").read_text())
    known = [e for e in expected if e["project"] == "bigstitcher-tiff/dataset.xml"]
    for layer, view in zip(layers, known, strict=True):
        for point in view["points"]:
            assert np.asarray(layer.data[tuple(point["zyx"])]) == point["value"]
            np.testing.assert_allclose(layer.data_to_world(point["zyx"]), point["world_zyx_um"], atol=1e-6)
        assert str(layer.units[0]) in ("micrometer", "micron")
        # In the pixels of the raw view: the panel brings it into the frame of whichever volume is fused.
        assert layer.metadata[KEY]["psf"] is None
        assert layer.metadata[KEY]["psf_own"].shape == (9, 5, 5)
    assert len(open_layers(list(layers)).views) == 2


def test_other_xml_files_are_left_to_others(tmp_path):
    (tmp_path / "a.xml").write_text("<OME/>")
    assert get_reader(str(tmp_path / "a.xml")) is None
