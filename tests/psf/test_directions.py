"""Angles that are one direction, and PSFs that lie across the angles of their views."""

import numpy as np
import pytest

from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.psf_files import load_psf
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.psf.directions import about_one_direction, about_psfs_across, long_axis, one_direction_of_all

SHAPE = (24, 26, 28)


def gaussian(sigmas, size=15):
    z, y, x = np.indices((size, size, size)) - size // 2
    values = np.exp(-0.5 * ((z / sigmas[0]) ** 2 + (y / sigmas[1]) ** 2 + (x / sigmas[2]) ** 2))
    return (values / values.sum()).astype(np.float32)


LONG = gaussian((3.0, 1.0, 1.0))


def at(angles, psfs, size=(1.0, 1.0, 1.0), shape=SHAPE):
    data = np.random.default_rng(0).random(shape, np.float32)
    pairs = zip(angles, psfs, strict=True)
    return RegisteredViews([View(data, f"{a:g}", angle=a, psf=psf) for a, psf in pairs], Grid(shape, size))


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135, 170, 225, 300])
@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5)])
def test_the_long_axis_is_found_in_micrometres_at_any_angle(angle, size):
    """Drawn as an ellipsoid along the angle, in micrometres."""
    z, y, x = ((np.arange(25) - 12) * s for s in size)
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    turn = np.radians(angle)
    along, across = z * np.cos(turn) + y * np.sin(turn), -z * np.sin(turn) + y * np.cos(turn)
    psf = np.exp(-0.5 * ((along / 4) ** 2 + (across / 1.5) ** 2 + (x / 1.5) ** 2))
    found = long_axis(psf, size)
    assert found is not None
    assert abs(np.dot(found, (np.cos(turn), np.sin(turn), 0))) > np.cos(np.radians(2))


@pytest.mark.parametrize(
    ("own", "turned", "said"),
    [
        ((0, 90), (90, 0), {0: ("z", "y"), 90: ("y", "z")}),
        ((0, 90, 180, 270), (90, 0, 180, 270), {0: ("z", "y"), 90: ("y", "z")}),
        ((10, 280), (270, 0), {10: ("z", "y"), 280: ("y", "z")}),
        ((0, 180), (90, 90), {0: ("z", "y"), 180: ("z", "y")}),
        ((0, 90), (0, 0), {90: ("y", "z")}),
    ],
    ids=["swapped", "two of four swapped", "nearly along an axis", "one axis alone", "one PSF for both"],
)
def test_a_psf_across_the_angle_of_its_view_is_told_with_both_directions(own, turned, said):
    across = about_psfs_across(at(own, [rotate_psf(LONG, angle) for angle in turned]))
    assert [line.split(":")[0] for line in across] == [
        f"view '{angle}' looks along {by_angle} by its angle of {angle} degrees, but its PSF is long along {by_psf}"
        for angle, (by_angle, by_psf) in said.items()
    ]
    assert all("check its angle (--view ANGLE=FILE)" in line for line in across)
    assert about_psfs_across(at(own, [rotate_psf(LONG, angle) for angle in own])) == []
    # Views that are recorded from the other side of the axis turn the other way.
    assert about_psfs_across(at(own, [rotate_psf(LONG, -angle) for angle in own])) == []


@pytest.mark.parametrize(
    ("angles", "psfs"),
    [
        ((0, 90), (gaussian((2.0, 2.0, 2.0)),) * 2),
        ((0, 90), (gaussian((2.3, 2.0, 2.0)),) * 2),
        ((0, 90), (gaussian((2.0, 2.8, 2.0)), gaussian((2.8, 2.0, 2.0)))),
        ((45, 135), (LONG, rotate_psf(LONG, 90))),
        ((0, 180), (rotate_psf(LONG, 180), LONG)),
        ((0, 90), (None, None)),
    ],
    ids=["round", "nearly round", "hardly long", "in the frame of the first view", "from opposite sides", "none"],
)
def test_where_psfs_may_be_right_nothing_is_said(angles, psfs):
    assert about_psfs_across(at(angles, psfs)) == []


def test_a_psf_along_x_or_aslant_is_told_in_words():
    (along_x,) = about_psfs_across(at((0,), [gaussian((1.0, 1.0, 3.0))]))
    assert "long along x" in along_x
    (mirrored,) = about_psfs_across(at((45,), [rotate_psf(LONG, 135)]))
    assert "looks at 45 degrees from z to y by its angle of 45 degrees, but its PSF is long at 135 degrees" in mirrored
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    view = View(np.ones(SHAPE, np.float32), "own", psf=LONG, angle=90, affine=turned)
    assert about_psfs_across(RegisteredViews([view], Grid(SHAPE))) == []


@pytest.mark.parametrize(
    ("angles", "psfs", "said"),
    [
        ((0, 180), (None, None), "along z"),
        ((90, 270, 90), (None,) * 3, "along y"),
        ((45, 225), (None, None), "at 45 degrees from z to y"),
        ((0, 90), (None, None), ""),
        ((0, 45), (None, None), ""),
        ((None, None), (LONG, LONG), "along z"),
        ((None, 0), (None, None), ""),
    ],
)
def test_views_that_look_along_one_axis_alone_are_told_by_angles_or_else_psfs(angles, psfs, said):
    data = np.zeros(SHAPE, np.float32)
    views = [View(data, f"v{n}", angle=a, psf=psf) for n, (a, psf) in enumerate(zip(angles, psfs, strict=True))]
    assert one_direction_of_all(RegisteredViews(views)) == said


def test_the_measured_psfs_are_right_and_their_swap_is_told(test_data):
    for angle in (0, 180):
        psf = load_psf(test_data / "psf" / "two_view" / f"psf_{angle}.tif")
        assert about_psfs_across(at((angle,), [psf])) == []
        assert len(about_psfs_across(at((angle + 90,), [psf]))) == 1
    angles = (0, 90, 180, 270)
    psfs = {angle: load_psf(test_data / "psf" / "quad_view" / f"psf_{angle}.tif") for angle in angles}
    assert about_psfs_across(at(angles, [psfs[angle] for angle in angles])) == []
    assert len(about_psfs_across(at(angles, [psfs[(angle + 90) % 360] for angle in angles]))) == 4


@pytest.mark.parametrize(
    ("angles", "said"), [((0, 360), 1), ((-90, 270), 1), ((0, 90, 180, 270), 0), ((0, 0), 1), ((None, None), 0)]
)
def test_angles_that_differ_by_full_turns_are_one_direction(angles, said):
    data = np.random.default_rng(0).random(SHAPE, np.float32)
    views = RegisteredViews([View(data, f"v{i}", angle=angle) for i, angle in enumerate(angles)])
    lines = about_one_direction(views)
    assert len(lines) == said
    assert all("count as two views" in line for line in lines)


def test_both_are_said_by_info_and_before_fusing_where_psfs_count(tmp_path):
    views = at((0, 90, 360), [rotate_psf(LONG, 90), LONG, rotate_psf(LONG, 90)])
    for view in views.views:
        write_tiff(tmp_path / f"view_{view.name}.tif", view.data, views.grid)
        write_tiff(tmp_path / f"psf_{view.name}.tif", view.psf, Grid(view.psf.shape))
    (tmp_path / "psf_360.tif").unlink()
    (sample,) = describe(tmp_path).samples
    assert any("look from one direction" in line for line in sample.problems)
    # The PSF of 0 degrees is that of 360.
    opened = open_views(tmp_path)
    assert all(view.psf is not None for view in opened.views)

    def warned(method, **parameters):
        events = fuse_events(opened, make_method(method, **parameters), device="cpu")
        return [event.message for event in events if isinstance(event, Warned)]

    across = [line for line in sample.problems if "but its PSF is long along" in line]
    assert len(across) == 3
    # Lost light, which the average estimates when asked to, is found by angles and PSFs.
    for method, parameters in (("ebmd", {"iterations": 1}), ("average", {"attenuation": "estimated"})):
        assert [line for line in warned(method, **parameters) if "is long along" in line] == across
    (alone,) = warned("average")
    assert "look from one direction" in alone
