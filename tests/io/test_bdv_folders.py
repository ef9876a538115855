"""Folders in which a project of BigStitcher lies, opened by the name of the folder."""

import shutil

import numpy as np
import pytest

from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.opening import open_views


@pytest.fixture
def folder(test_data, tmp_path):
    return shutil.copytree(test_data / "projects" / "npy2bdv", tmp_path / "npy2bdv")


def test_a_folder_opens_as_the_project_in_it(folder):
    here, there = open_views(folder, timepoint=0), open_views(folder / "npy2bdv_angles.xml", timepoint=0)
    assert here.names == there.names
    np.testing.assert_array_equal(here.read(here.grid.box), there.read(there.grid.box))
    assert here.remarks[0] == f"{folder} opens as the project in it, npy2bdv_angles.xml"
    assert "opens as the project in it" in run("info", folder).stderr
    assert get_reader(str(folder)) is not None
    run("fuse", folder, "--timepoint", "0", "--method", "average", "-o", folder.parent / "f.zarr")


def test_of_several_projects_one_is_to_be_named(folder):
    shutil.copy(folder / "npy2bdv_angles.xml", folder / "other.xml")
    with pytest.raises(InputError, match=r"holds 2 BDV projects: name one of them, as .*angles\.xml or .*other\.xml"):
        open_views(folder, timepoint=0)
    shutil.copy(folder / "other.xml", folder / "dataset.xml")
    assert "dataset.xml" in open_views(folder, timepoint=0).remarks[0]
