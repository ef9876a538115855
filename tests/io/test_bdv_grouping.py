"""Illuminations and tiles of one angle as one view: blended, in their place, with one PSF."""

import numpy as np
import pytest

from bdv_projects import IDENTITY, Setup, write_n5, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import open_views

LOADER = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
TURN = np.array([[0.8, 0, -0.6, 12], [0, 1, 0, 0], [0.6, 0, 0.8, 3]])
NAMES = {"angle": {0: "0", 1: "90"}, "tile": {0: "left", 1: "right"}, "illumination": {0: "up", 1: "down"}}
SHAPE = (10, 12, 30)
OVERLAP = (12, 20)


def shifted(x):
    return np.hstack([np.eye(3), [[float(x)], [0], [0]]])


def after(first, second):
    """The 3 x 4 matrix that does the second after the first."""
    return (np.vstack([second, [0, 0, 0, 1]]) @ np.vstack([first, [0, 0, 0, 1]]))[:3]


@pytest.fixture
def specimen(rng):
    """A volume that two angles see, whole."""
    return rng.integers(100, 1000, SHAPE, np.uint16)


def tiled(folder, volume, turn=IDENTITY, **how):
    """A project of two angles: the first as two tiles that overlap, the second, one unit along x, as one."""
    left, right = volume[:, :, : OVERLAP[1]], volume[:, :, OVERLAP[0] :]
    recorded = [(left, 0, 0, shifted(0)), (right, 0, 1, shifted(OVERLAP[0])), (volume, 1, 0, shifted(1))]
    setups, transforms = {}, {}
    for number, (pixels, angle, tile, place) in enumerate(recorded):
        write_n5_view(folder / "d.n5", number, 0, [pixels], [[1, 1, 1]], block=(4, 8, 8))
        parts = {"angle": angle, "tile": tile, "illumination": 0, "channel": 0}
        setups[number] = Setup(size=pixels.shape[::-1], parts=parts)
        transforms[0, number] = [turn, place]
    path = folder / "dataset.xml"
    path.write_text(xml_of(LOADER, setups, transforms, names=NAMES, **how))
    return path


def test_tiles_that_agree_are_the_volume_that_they_were_cut_from(tmp_path, specimen):
    views = open_views(tiled(tmp_path, specimen), no_data="none")
    assert views.names == ("0", "90")
    assert views.grid.shape == (10, 12, 31)
    block = views.read(views.grid.box)
    np.testing.assert_allclose(block[0, :, :, :30], specimen, rtol=1e-5)
    np.testing.assert_allclose(block[1, :, :, 1:], specimen, rtol=1e-6)
    covered = views.coverage(views.grid.box)
    assert covered[0, :, :, :30].all()
    assert not covered[0, :, :, 30].any()
    assert any("view '0' is 0 tile left, 0 tile right, blended" in line for line in views.remarks)


def test_turned_tiles_are_interpolated_once(tmp_path, specimen):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    parts = open_views(tiled(tmp_path / "a", specimen, TURN), no_data="none")
    # The whole volume where the tiles lie, and nothing in its place but itself.
    write_n5_view(tmp_path / "b" / "d.n5", 0, 0, [specimen], [[1, 1, 1]])
    write_n5_view(tmp_path / "b" / "d.n5", 1, 0, [specimen], [[1, 1, 1]])
    setups = {n: Setup(size=SHAPE[::-1], parts={"angle": n}) for n in (0, 1)}
    whole = tmp_path / "b" / "dataset.xml"
    whole.write_text(xml_of(LOADER, setups, {(0, 0): [TURN], (0, 1): [TURN, shifted(1)]}))
    known = open_views(whole, no_data="none")
    assert parts.grid == known.grid
    box = parts.grid.box
    inside = known.coverage(box)[0] > 0
    np.testing.assert_array_equal(parts.coverage(box)[0] > 0, inside)
    np.testing.assert_allclose(parts.read(box)[0][inside], known.read(box)[0][inside], rtol=1e-4)


def test_a_tile_fades_into_its_neighbour(tmp_path):
    dark, bright = np.full(SHAPE, 100, np.uint16), np.full(SHAPE, 300, np.uint16)
    path = tiled(tmp_path, dark)
    write_n5(tmp_path / "new", bright[:, :, OVERLAP[0] :], (4, 8, 8))
    stored = tmp_path / "d.n5" / "setup1" / "timepoint0" / "s0"
    stored.rename(tmp_path / "old")
    (tmp_path / "new").rename(stored)
    views = open_views(path, no_data="none")
    row = views.read(Box((5, 6, 0), (6, 7, 30)))[0, 0, 0]
    np.testing.assert_allclose(row[: OVERLAP[0]], 100, rtol=1e-6)
    np.testing.assert_allclose(row[OVERLAP[1] :], 300, rtol=1e-6)
    steps = np.diff(row[OVERLAP[0] - 1 : OVERLAP[1] + 1])
    assert (steps >= -1e-3).all()
    assert steps.max() < 100
    # Half way between the borders both count alike.
    middle = row[OVERLAP[0] : OVERLAP[1]]
    np.testing.assert_allclose(middle + middle[::-1], 400, rtol=0.1)


def test_any_box_is_part_of_the_whole(tmp_path, specimen):
    views = open_views(tiled(tmp_path, specimen, TURN), no_data="none")
    whole = views.read(views.grid.box)
    for start in ((0, 0, 0), (3, 2, 5), (9, 0, 11)):
        box = Box(start, tuple(a + 4 for a in start))
        np.testing.assert_allclose(views.read(box), whole[(slice(None), *box.slices)], rtol=1e-4, atol=1e-2)
    data = views.views[0].data
    np.testing.assert_allclose(np.asarray(data[2:8:3, 1, ::-1]), np.asarray(data[:])[2:8:3, 1, ::-1], rtol=1e-4)


def test_its_psf_is_the_mean_of_those_of_its_tiles(tmp_path, specimen):
    psfs = []
    for number, width in enumerate((0.7, 1.2)):
        grids = np.ogrid[-3:4, -3:4, -3:4]
        psfs.append(np.exp(-sum(g**2 for g in grids) / (2 * width**2)).astype(np.float32))
        write_n5(tmp_path / "psf.n5" / f"p{number}", psfs[-1], (7, 7, 7))
    path = tiled(tmp_path, specimen, psfs={(0, 0): "p0", (0, 1): "p1"})
    view = open_views(path, clean_psfs=False, no_data="none").views[0]
    np.testing.assert_allclose(view.psf, np.mean([psf / psf.sum() for psf in psfs], axis=0), atol=1e-6)
    assert view.psf_notes[-1] == "mean of the PSFs of 2 of 2 illuminations and tiles"
    lacking = open_views(tiled(tmp_path / "other", specimen, psfs={(0, 0): "gone"}), no_data="none").views[0]
    assert lacking.psf is None
    assert "gone" in lacking.psf_flaw


def test_what_lies_outside_of_a_box_is_left_out(tmp_path, specimen):
    path = tiled(tmp_path, specimen, boxes={"right": ((22, 0, 0), (29, 11, 9))})
    views = open_views(path, box="right", no_data="none")
    assert "outside of the fused volume, and left out: 0 tile left" in views.remarks
    np.testing.assert_allclose(views.read(views.grid.box)[0], specimen[:, :, 22:], rtol=1e-6)


def test_illuminations_are_taken_apart_where_that_is_asked_for(tmp_path, specimen):
    path = tiled(tmp_path, specimen)
    text = path.read_text()
    path.write_text(text.replace("<tile>1</tile><illumination>0", "<tile>0</tile><illumination>1"))
    assert open_views(path, no_data="none").names == ("0", "90")
    apart = open_views(path, apart=True, no_data="none")
    assert apart.names == ("0 illumination up", "0 illumination down", "90 illumination up")
    with pytest.raises(InputError, match=r"there is no view '0' in .*: the views are 0 illumination up"):
        open_views(path, apart=True, views=["0"])
    assert open_views(path, views=["0"], no_data="none").names == ("0",)


def test_a_view_is_also_named_by_the_number_of_its_setup_or_angle_where_that_is_one_view(tmp_path, specimen):
    path = tiled(tmp_path, specimen)
    # Setup 2 is all of the second angle; 1 is a tile of the first angle, and the number of the second.
    views = open_views(path, views=["2"], no_data="none")
    assert views.names == ("90",)
    assert "view '90' is taken for 2, the number of its setup" in views.remarks
    with pytest.raises(
        InputError, match=r"no view '1' in .*: the views are 0, 90; by the numbers .* 1 may be '0', '90'$"
    ):
        open_views(path, views=["1"])
    assert open_views(path, views=["090", "2"], no_data="none").names == ("90",)
    with pytest.raises(InputError, match=r"no view '3' in .*; the number of a setup or an angle will do too$"):
        open_views(path, views=["3"])


def test_grouped_views_are_fused_and_their_recipe_repeats(tmp_path, specimen):
    path = tiled(tmp_path, specimen)
    for more in ([], ["--apart"]):
        out = tmp_path / f"fused{len(more)}.zarr"
        run("fuse", path, *more, "--method", "average", "-q", "-o", out)
        recipe = load_recipe(tmp_path / f"{out.name}.recipe.json")
        assert len(recipe.views) == 2 + len(more)
        run("fuse", "--recipe", tmp_path / f"{out.name}.recipe.json", "-q", "-o", tmp_path / f"again{len(more)}.zarr")
