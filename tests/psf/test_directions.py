"""Angles that are one direction, and PSFs that lie across the angles of their views."""

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.psf_files import load_psf
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.psf.directions import about_one_direction, about_psfs_across, long_axis

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
    assert abs((found - angle + 90) % 180 - 90) < 2


@pytest.mark.parametrize(
    ("own", "turned"), [((0, 90), (90, 0)), ((0, 90, 180, 270), (90, 180, 270, 0)), ((10, 280), (270, 0))]
)
def test_swapped_psfs_are_told(own, turned):
    across = about_psfs_across(at(own, [rotate_psf(LONG, angle) for angle in turned]))
    assert len(across) == 1
    assert "as if they were swapped" in across[0]
    assert about_psfs_across(at(own, [rotate_psf(LONG, angle) for angle in own])) == []
    # Views that are recorded from the other side of the axis turn the other way.
    assert about_psfs_across(at(own, [rotate_psf(LONG, -angle) for angle in own])) == []


@pytest.mark.parametrize(
    ("angles", "psfs"),
    [
        ((0, 90), (gaussian((2.0, 2.0, 2.0)),) * 2),
        ((0, 90), (gaussian((2.3, 2.0, 2.0)),) * 2),
        ((45, 135), (rotate_psf(LONG, 135), rotate_psf(LONG, 45))),
        ((0, 180), (rotate_psf(LONG, 90),) * 2),
        ((0, 90), (LONG, LONG)),
        ((0, 90), (None, None)),
    ],
    ids=["round", "nearly round", "halfway", "one axis alone", "one for both", "none"],
)
def test_where_psfs_may_be_right_nothing_is_said(angles, psfs):
    assert about_psfs_across(at(angles, psfs)) == []


def test_the_measured_psfs_are_right_and_their_swap_is_told(test_data):
    angles = (0, 90, 180, 270)
    psfs = {angle: load_psf(test_data / "psf" / "quad_view" / f"psf_{angle}.tif") for angle in angles}
    assert about_psfs_across(at(angles, [psfs[angle] for angle in angles])) == []
    assert about_psfs_across(at(angles, [psfs[(angle + 90) % 360] for angle in angles]))


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
    assert [
        words for words in ("look from one direction", "swapped") if any(words in line for line in sample.problems)
    ] == [
        "look from one direction",
        "swapped",
    ]
    # The PSF of 0 degrees is that of 360.
    opened = open_views(tmp_path)
    assert all(view.psf is not None for view in opened.views)
    with pytest.warns(UserWarning, match="swapped"), pytest.warns(UserWarning, match="one direction"):
        fuse(opened, make_method("ebmd", iterations=1), device="cpu")
    with pytest.warns(UserWarning, match="one direction") as caught:
        fuse(opened, make_method("average"), device="cpu")
    assert not any("swapped" in str(each.message) for each in caught)
