"""What can be chosen of a project, and what it gives, without a window: what the dialog in napari and `info` show."""

import shutil

import numpy as np
import pytest

from bdv_projects import IDENTITY, Setup, scaled, write_n5_view, xml_of
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.project_levels import coarser_levels
from napari_mvfusion.engine.project_plan import NO_VIEW, OUTSIDE_LACKING, UNIT_LACKING, ProjectPlanner, first_of_project
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.io.opening import open_views

N5 = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'


def planned(planner, left_out=(), **chosen):
    return planner.plan(planner.proposed.model_copy(update=chosen), left_out)


@pytest.fixture
def project(tmp_path):
    """Two channels and time points of two angles by two illuminations; one was not recorded."""
    setups, transforms = {}, {}
    for number in range(8):
        angle, light, channel = (number >> 1) % 2, number % 2, number // 4
        setups[number] = Setup(parts={"angle": angle, "illumination": light, "channel": channel})
        for time in (3, 4):
            transforms[time, number] = [IDENTITY]
            levels = [np.full((6, 7, 8), number + 1, np.uint8), np.full((3, 4, 4), number + 1, np.uint8)]
            write_n5_view(tmp_path / "d.n5", number, time, levels, [[1, 1, 1], [2, 2, 2]])
    names = {"channel": {0: "GFP", 1: "RFP"}, "angle": {0: "0", 1: "90"}, "illumination": {0: "left", 1: "right"}}
    file = tmp_path / "dataset.xml"
    text = xml_of(
        N5, setups, transforms, timepoints=(3, 4), names=names, missing=[(3, 4)], boxes={"a": ((0, 0, 0), (3, 3, 3))}
    )
    file.write_text(text)
    return file


def test_the_first_of_everything_is_proposed_and_said(project):
    inputs, said = first_of_project(project)
    assert (inputs.timepoint, inputs.channel, inputs.views) == (3, 0, None)
    assert "2 time points" in said[0]
    assert "0 (GFP), 1 (RFP)" in said[1]
    assert inputs.open().names == ("0", "90")


def test_illuminations_of_an_angle_are_one_view_or_kept_apart(project):
    planner = ProjectPlanner(project)
    blended = planned(planner)
    assert blended.can_blend
    assert [view.name for view in blended.views] == ["0", "90"]
    assert blended.views[0].parts["illumination"] == "left, right"
    assert (blended.needs.views, blended.lacking, blended.inputs.views) == (2, "", None)
    # Pixels are counted as they are kept, and not as what is made of them.
    assert blended.needs.view_bytes == 4 * 6 * 7 * 8
    apart = planned(planner, apart=True)
    assert [view.name for view in apart.views][:2] == ["0 illumination left", "0 illumination right"]
    assert apart.needs.views == 4
    assert apart.inputs.open().names == tuple(view.name for view in apart.views)


def test_what_is_chosen_is_what_is_opened(project):
    planner = ProjectPlanner(project)
    plan = planned(planner, ["0"], box="a", voxel_size_um=(2.0, 1.0, 1.0), timepoint=4, channel=1)
    assert plan.inputs.views == ["90"]
    views = plan.inputs.open()
    assert plan.needs.shape == views.grid.shape == (2, 4, 4)
    assert views.read(views.grid.box).max() <= 8
    coarse = planned(planner, level=1)
    assert [view.size for view in coarse.views] == ["3 × 4 × 4"] * 2
    assert coarse.needs.shape == coarse.inputs.open().grid.shape


def test_what_is_not_there_is_listed_and_cannot_be_chosen(project):
    shutil.rmtree(project.parent / "d.n5/setup7/timepoint3")
    plan = planned(ProjectPlanner(project), channel=1)
    names = {view.name: view for view in plan.views}
    assert not names["0"].unusable
    assert "setup7/timepoint3 does not exist" in names["90"].unusable
    (absent,) = (view for view in plan.views if not view.recorded)
    assert absent.unusable == "not recorded at this time point"
    # The angle whose file is gone is left out, as it would end the opening of all.
    assert plan.inputs.views == ["0"]
    assert plan.inputs.open().names == ("0",)


def test_nothing_is_worked_out_before_all_is_said(project, tmp_path):
    planner = ProjectPlanner(project)
    assert planned(planner, ["0", "90"]).lacking == NO_VIEW
    with pytest.raises(Interrupted):
        planner.plan(planner.proposed, cancel=lambda: True)
    outside = tmp_path.parent / f"{tmp_path.name}-pixels"
    shutil.move(tmp_path / "d.n5", outside)
    text = project.read_text()
    project.write_text(text.replace("d.n5", f"../{outside.name}"))
    planner = ProjectPlanner(project)
    plan = planned(planner)
    assert (plan.lacking, plan.outside, plan.needs) == (OUTSIDE_LACKING, outside, None)
    allowed = planned(planner, outside=True)
    assert (allowed.lacking, allowed.needs.views) == ("", 2)


def test_an_unclear_unit_has_to_be_said(tmp_path):
    write_n5_view(tmp_path / "d.n5", 0, 0, [np.ones((6, 7, 8), np.uint8)], [[1, 1, 1]])
    file = tmp_path / "dataset.xml"
    file.write_text(xml_of(N5, {0: Setup(voxel=(0.5, 0.5, 0.5), unit="mm")}, {(0, 0): [scaled(5, 5, 5)]}))
    planner = ProjectPlanner(file)
    assert planned(planner).lacking == UNIT_LACKING
    said = planned(planner, world_unit_um=100.0)
    assert said.needs.voxel_size_um == (500, 500, 500)


def test_a_file_that_ends_the_opening_is_said(project):
    (project.parent / "d.n5/setup0/timepoint3/s0/attributes.json").write_text("{")
    plan = planned(ProjectPlanner(project), apart=True)
    assert "s0" in plan.views[0].unusable
    assert plan.needs.views == 3


def test_coarser_levels_cover_what_the_full_one_covers(test_data):
    file = test_data / "projects/npy2bdv/npy2bdv_angles.xml"
    if not file.is_file():
        pytest.skip("the projects of other programs are not at hand")
    planner = ProjectPlanner(file)
    views = planner.proposed.open()
    (coarse,) = coarser_levels(planner.proposed, views, planned(planner).levels)
    assert isinstance(coarse, RegisteredViews)
    np.testing.assert_allclose(coarse.grid.voxel_size_um, 2 * np.array(views.grid.voxel_size_um))
    # Outer faces of the volume: half a voxel before the first one.
    for grid in (views.grid, coarse.grid):
        np.testing.assert_allclose(
            np.array(grid.origin_um) - 0.5 * np.array(grid.voxel_size_um), [-0.25, -0.25, -10.25]
        )
    direct = open_views(file, timepoint=0, level=1)
    assert {view.shape for view in coarse.views} == {view.shape for view in direct.views}
