"""Folders in which a project of BigStitcher lies, opened by the name of the folder."""

import shutil

import numpy as np
import pytest

from command_line import run
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.opening import open_views


@pytest.fixture
def folder(test_data, tmp_path):
    return shutil.copytree(test_data / "projects" / "npy2bdv", tmp_path / "npy2bdv")


def test_a_folder_opens_as_the_project_in_it(folder):
    here, there = open_views(folder, timepoint=0), open_views(folder / "npy2bdv_angles.xml", timepoint=0)
    assert here.names == there.names
    np.testing.assert_array_equal(here.read(here.grid.box), there.read(there.grid.box))
    assert here.remarks[0] == f"{folder} opens as the project in it, npy2bdv_angles.xml"
    told = run("info", folder)
    assert "opens as the project in it" in told.stdout, "it is no warning"
    assert "in it" not in told.stderr
    assert "one unit of the world is" not in told.stderr
    assert get_reader(str(folder)) is not None
    run("fuse", folder, "--timepoint", "0", "--method", "average", "-o", folder.parent / "f.zarr")


def test_of_several_projects_one_is_to_be_named(folder):
    shutil.copy(folder / "npy2bdv_angles.xml", folder / "other.xml")
    with pytest.raises(InputError, match=r"holds 2 BDV projects: name one of them, as .*angles\.xml or .*other\.xml"):
        open_views(folder, timepoint=0)
    shutil.copy(folder / "other.xml", folder / "dataset.xml")
    assert "dataset.xml" in open_views(folder, timepoint=0).remarks[0]


@pytest.fixture(params=[".", "raw"])
def with_tiffs(request, test_data, tmp_path):
    """A project of TIFF files that are views by their names alone too, beside its XML or in a folder below."""
    folder = shutil.copytree(test_data / "projects" / "bigstitcher-tiff", tmp_path / "embryo")
    for file in sorted((folder / "raw").iterdir()):
        if request.param == ".":
            shutil.copy(file, folder / file.name.replace("angle", "view"))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "is empty"),
        (lambda text: text.replace("SpimData", "SpamData"), "its root is <SpamData>"),
        (lambda text: "\0" * len(text), "is damaged: it is no XML"),
    ],
    ids=["empty", "root", "zeros"],
)
def test_files_beside_a_damaged_project_are_not_fused_without_it(with_tiffs, change, words):
    project = with_tiffs / "dataset.xml"
    project.write_text(change(project.read_text(encoding="utf-8")), encoding="utf-8")
    for look in (open_views, describe):
        with pytest.raises(InputError, match=words) as raised:
            look(with_tiffs)
        assert str(project) in str(raised.value)
        assert "would be fused without its registrations" in str(raised.value)
    assert str(project) in run("info", with_tiffs, code=2).stderr


def test_a_project_in_utf_16_opens_as_in_utf_8(with_tiffs):
    usual = open_views(with_tiffs)
    project = with_tiffs / "dataset.xml"
    text = project.read_text(encoding="utf-8").replace("UTF-8", "UTF-16")
    project.unlink()
    # Not by its usual name, so that its first bytes alone tell.
    (with_tiffs / "other.xml").write_text(text, encoding="utf-16")
    views = open_views(with_tiffs)
    assert views.names == usual.names
    assert views.grid.shape == usual.grid.shape
    np.testing.assert_array_equal(views.read(views.grid.box), usual.read(usual.grid.box))


def test_a_folder_with_only_the_backup_of_a_project_says_so(with_tiffs):
    (with_tiffs / "dataset.xml").rename(with_tiffs / "dataset.xml~1")
    words = "holds dataset.xml~1, the backup of a project, and no dataset.xml"
    if list(with_tiffs.glob("*.tif")):
        assert any(words in remark for remark in open_views(with_tiffs).remarks)
        assert "without the registrations" in run("info", with_tiffs).stderr
    else:
        with pytest.raises(InputError, match=words):
            open_views(with_tiffs)


def test_setups_that_are_one_file_are_named(with_tiffs):
    assert not any("same pixels" in remark for remark in open_views(with_tiffs).remarks)
    project = with_tiffs / "dataset.xml"
    text = project.read_text(encoding="utf-8")
    assert "angle_90.tif" in text
    project.write_text(text.replace("angle_90.tif", "angle_0.tif"), encoding="utf-8")
    views = open_views(with_tiffs)
    (said,) = [remark for remark in views.remarks if "same pixels" in remark]
    first, second = views.names
    assert said.startswith(f"setup 0 ('{first}') and setup 1 ('{second}') have the same pixels, those of ")
    assert "angle_0.tif: correct the names of files" in said
    assert "same pixels" in " ".join(run("info", with_tiffs).stderr.split())


def test_files_of_a_project_that_are_named_one_by_one_are_said_to_be_its(test_data, tmp_path):
    folder = shutil.copytree(test_data / "projects" / "bigstitcher-tiff", tmp_path / "embryo")
    files = sorted((folder / "raw").iterdir())
    said = f"{folder / 'dataset.xml'} is the project of these very files"
    assert [remark for remark in open_views(files).remarks if remark.startswith(said)]
    assert "the project of these very files" in " ".join(run("info", *files).stderr.split())
    other = shutil.copy(files[0], folder / "raw" / "other.tif")
    assert not any("very files" in remark for remark in open_views([files[0], other]).remarks)
    (folder / "dataset.xml").write_text("", encoding="utf-8")
    assert not any("very files" in remark for remark in open_views(files).remarks)
