"""The views of a project as they can be chosen: those that cannot be opened, too, with the reason."""

import shutil

import numpy as np
import pytest

from bdv_projects import IDENTITY, Setup, scaled, write_n5_view, xml_of
from napari_mvfusion.io.formats import format_of
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.volume_choice import NotChosenError, ProjectChoice

N5 = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'


def listed(path, **choice):
    return format_of(path).list_views(path, ProjectChoice(**choice))


@pytest.fixture
def project(tmp_path):
    """Two angles by two illuminations of two levels; one view was not recorded, and the file of another is gone."""
    setups, transforms = {}, {}
    for number, (angle, light) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        setups[number] = Setup(parts={"angle": angle, "illumination": light, "channel": 0})
        transforms[0, number] = [IDENTITY]
        levels = [np.ones((6, 7, 8), np.uint8), np.ones((3, 4, 4), np.uint8)]
        write_n5_view(tmp_path / "d.n5", number, 0, levels, [[1, 1, 1], [2, 2, 2]])
    shutil.rmtree(tmp_path / "d.n5/setup3/timepoint0")
    names = {"angle": {0: "0", 1: "90"}, "illumination": {0: "left", 1: "right"}}
    file = tmp_path / "dataset.xml"
    file.write_text(xml_of(N5, setups, transforms, names=names, missing=[(0, 2)], psfs={(0, 0): "0.tif"}))
    return file


def test_every_view_is_listed_with_what_it_is_and_why_it_cannot_be_opened(project):
    found = listed(project)
    assert found.levels == 2
    assert found.outside is None
    first, second, gone, absent = found.views
    assert (first.name, first.fused_as, first.shape, first.has_psf) == ("0 illumination left", "0", (6, 7, 8), True)
    assert dict(first.parts) == {"angle": "0", "illumination": "left"}
    assert (second.fused_as, second.has_psf, second.unusable) == ("0", False, "")
    assert "setup3/timepoint0 does not exist" in gone.unusable
    assert absent.unusable == "not recorded at this time point"
    assert dict(absent.parts) == {"angle": "90", "illumination": "left"}
    # By these names they are opened.
    assert open_views(project, views=[first.name, second.name], apart=True).names == (first.name, second.name)
    assert open_views(project, views=["0"]).names == ("0",)


def test_sizes_and_places_are_those_of_the_level_that_is_asked_for(project):
    (view, *_) = listed(project, level=1).views
    assert view.shape == (3, 4, 4)
    opened = open_views(project, views=[view.name], apart=True, level=1)
    affine = opened.grid.affine if opened.views[0].affine is None else opened.views[0].affine
    np.testing.assert_allclose(view.affine, affine)


def test_what_has_to_be_chosen_first_is_asked(project):
    text = project.read_text().replace("</Timepoints>", "<Timepoint><id>1</id></Timepoint></Timepoints>")
    project.write_text(text)
    with pytest.raises(NotChosenError, match="2 time points"):
        listed(project)
    assert len(listed(project, timepoint=0).views) == 4


def test_files_elsewhere_are_told_and_followed_only_with_leave(project, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-pixels"
    shutil.move(tmp_path / "d.n5", outside)
    project.write_text(project.read_text().replace("d.n5", f"../{outside.name}"))
    assert listed(project).outside == outside
    allowed = listed(project, outside=True)
    assert allowed.outside is None
    assert allowed.views[0].shape == (6, 7, 8)


def test_the_unit_of_the_world_is_clear_or_asked_for_with_what_it_may_be(tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    file = tmp_path / "dataset.xml"

    def said(voxel, unit, transform):
        file.write_text(xml_of(N5, {0: Setup(voxel=voxel, unit=unit)}, {(0, 0): [transform]}))
        return format_of(file).describe(file)

    clear = said((0.5, 0.5, 2), "um", scaled(1, 1, 4))
    assert (clear.unit, clear.unit_um) == ("clear", 0.5)
    none = said((1, 1, 1), "pixel", IDENTITY)
    assert none.unit == "not stated"
    unclear = said((0.5, 0.5, 0.5), "mm", scaled(5, 5, 5))
    assert unclear.unit == "unclear"
    assert sorted(unclear.likely_um.values()) == pytest.approx([100, 500, 1000])
    (view,) = listed(file).views
    assert view.affine is None
    np.testing.assert_allclose(listed(file, world_unit_um=100).views[0].affine, np.diag([500, 500, 500, 1]))
