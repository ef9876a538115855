from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_mvfusion.cli import app
from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe, recipe_path
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.gains import BesideOthers, compare_brightness, find_gains
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import embryo, light_sheet_psf, nuclei, simulate
from napari_mvfusion.training.verdict import judge


def specimen(attenuation: float = 0.01, angles: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0), size: int = 40):
    rng = np.random.default_rng(2)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in angles]
    return simulate(embryo(size, rng), angles, psfs, rng=rng, attenuation=attenuation).views


def brighter(views: RegisteredViews, index: int, factor: float, **changes: float) -> RegisteredViews:
    changed = list(views.views)
    changed[index] = replace(changed[index], data=np.asarray(changed[index].data) * factor, **changes)
    return RegisteredViews(changed, views.grid)


@pytest.mark.parametrize("attenuation", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("angles", [(0.0, 180.0), (0.0, 90.0), (0.0, 90.0, 180.0, 270.0)])
def test_attenuation_is_no_gain(attenuation: float, angles: tuple[float, ...]) -> None:
    assert find_gains(specimen(attenuation, angles)) == (1.0,) * len(angles)


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_a_view_that_is_brighter_everywhere_is_found(factor: float) -> None:
    gains = find_gains(brighter(specimen(), 1, factor))
    assert gains[0] == gains[2] == gains[3] == 1
    assert gains[1] == pytest.approx(factor, rel=0.2)


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_one_of_three_views_does_not_make_the_other_two_stand_out(factor: float) -> None:
    gains = find_gains(brighter(specimen(angles=(0.0, 90.0, 180.0)), 1, factor))
    assert gains == (1.0, pytest.approx(factor, rel=0.2), 1.0)


@pytest.mark.parametrize("angles", [(0.0, 180.0), (0.0, 90.0, 180.0, 270.0)])
def test_an_offset_of_one_view_alone_is_no_gain(angles: tuple[float, ...]) -> None:
    views = specimen(angles=angles)
    brightest = float(np.max(views.views[1].data))
    for added in (brightest, 4 * brightest):
        changed = list(views.views)
        changed[1] = replace(changed[1], data=np.asarray(changed[1].data) + np.float32(added))
        shifted = RegisteredViews(changed, views.grid)
        assert find_gains(shifted) == (1.0,) * len(angles)
        additions = [beside.added for beside in compare_brightness(shifted)]
        assert additions[1] == pytest.approx(added, rel=0.2)
        assert sum(map(bool, additions)) == 1
    assert not any(beside.added for beside in compare_brightness(brighter(views, 1, 4.0)))


@pytest.mark.parametrize("attenuation", [0.003, 0.01])
@pytest.mark.parametrize("angles", [(0.0, 90.0), (0.0, 180.0), (0.0, 90.0, 180.0, 270.0)])
def test_a_gain_beside_lost_light_is_told_by_most_places(attenuation: float, angles: tuple[float, ...]) -> None:
    views = specimen(attenuation, angles)
    assert compare_brightness(views) == (BesideOthers(),) * len(angles)
    for index, factor in ((0, 2.2), (1, 0.45)):
        found = compare_brightness(brighter(views, index, factor))
        # Of two views the brighter one stands out.
        named, ratio = (1 - index, 1 / factor) if len(angles) == 2 and factor < 1 else (index, factor)
        assert [n for n, beside in enumerate(found) if beside != BesideOthers()] == [named]
        assert found[named].gain * found[named].mostly == pytest.approx(ratio, rel=0.25)
        assert not found[named].added


def test_where_hardly_any_light_is_left_nothing_wrong_is_said() -> None:
    views = specimen(0.03, (0.0, 180.0))
    assert compare_brightness(views) == (BesideOthers(),) * 2
    for index, factor in ((0, 2.2), (1, 0.45)):
        found = compare_brightness(brighter(views, index, factor))
        assert found[1] == BesideOthers()
        assert (found[0].gain, found[0].added) == (1, 0)


def said_of_brightness(views: RegisteredViews, attenuation: str) -> Warned | Noted:
    events = fuse_events(views, Average.model_validate({"attenuation": attenuation}))
    (event,) = [each for each in events if isinstance(each, (Warned, Noted)) and "'90'" in each.message]
    return event


def test_a_run_says_which_view_is_darker_at_most_places_and_whether_lost_light_allows_for_it() -> None:
    views = brighter(specimen(0.01), 1, 0.45)
    darker = r"view '90' is 2\.\d+ times darker than the others at most places"
    plain = said_of_brightness(views, "none")
    assert isinstance(plain, Warned)
    assert re.search(darker, plain.message)
    assert "this run allows for none" in plain.message
    assert "divide it by its gain (--gain 90=0.4" in plain.message
    estimated = said_of_brightness(views, "estimated")
    assert isinstance(estimated, Noted)
    assert re.search(darker + ".*the lost light that is found allows for it$", estimated.message)
    everywhere = brighter(specimen(), 1, 4.0)
    assert isinstance(said_of_brightness(everywhere, "none"), Warned)
    assert isinstance(said_of_brightness(everywhere, "estimated"), Noted)
    known = find_transmission(everywhere)
    assert known is not None
    assert known.values[1].mean() / known.values[3].mean() == pytest.approx(4, rel=0.01)
    unknown = brighter(specimen(0.03), 1, 0.25)
    assert find_transmission(unknown) is None
    event = said_of_brightness(unknown, "estimated")
    assert isinstance(event, Warned)
    assert "no lost light is found, so it counts too much or too little: divide it by its gain" in event.message
    found = find_transmission(views)
    assert found is not None
    assert found.values[1].mean() / found.values[0].mean() == pytest.approx(0.45, rel=0.1)


def test_of_two_views_the_brighter_one_has_the_gain() -> None:
    views = specimen(angles=(0.0, 180.0))
    for index, factor in ((0, 4.0), (1, 0.25)):
        gains = find_gains(brighter(views, index, factor))
        assert gains == (pytest.approx(4.0, rel=0.2), 1.0)


def test_nuclei_have_no_gain() -> None:
    rng = np.random.default_rng(2)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in (0.0, 180.0)]
    assert find_gains(simulate(nuclei(32, rng), (0.0, 180.0), psfs, rng=rng).views) == (1.0, 1.0)


def test_a_view_divided_by_its_gain_is_as_it_was() -> None:
    views = specimen()
    balanced = brighter(views, 1, 4.0, gain=4.0)
    np.testing.assert_array_equal(balanced.read(views.grid.box), views.read(views.grid.box))
    assert find_gains(balanced) == (1.0,) * 4
    with pytest.raises(InputError, match="gain 0"):
        brighter(views, 1, 4.0, gain=0.0)


def test_a_run_says_which_view_is_brighter_and_what_to_do() -> None:
    events = [*fuse_events(brighter(specimen(), 1, 4.0), Average())]
    said = [event.message for event in events if isinstance(event, Warned)]
    assert len(said) == 1
    assert "view '90'" in said[0]
    assert "--gain 90=" in said[0]


def test_gains_and_hot_pixels_on_the_command_line_and_in_a_recipe(tmp_path: Path) -> None:
    views = specimen(angles=(0.0, 90.0), size=32)
    pixels = np.asarray(views.views[1].data) * 4
    pixels[5, 6, 7] = 60000
    changed = RegisteredViews([views.views[0], replace(views.views[1], data=pixels)], views.grid)
    write_views_folder(tmp_path / "in", changed, tag="s")
    out = tmp_path / "fused.tif"
    call = ["fuse", str(tmp_path / "in"), "--method", "average", "--gain", "90=4", "--remove-hot", "-o", str(out)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    recipe = load_recipe(recipe_path(out))
    assert recipe.inputs is not None
    assert (recipe.inputs.gains, recipe.inputs.remove_hot) == ({"90": 4.0}, True)
    assert (recipe.views[1].gain, recipe.views[1].remove_hot) == (4.0, True)
    opened = recipe.inputs.open()
    assert [numbers.hot for numbers in opened.statistics()] == [0, 1]
    assert opened.read(opened.grid.box).max() < 2 * views.read(views.grid.box).max()
    with pytest.raises(InputError, match="a gain is given for view '45'"):
        Inputs(source=str(tmp_path / "in"), gains={"45": 2.0}).open()


def test_offsets_of_some_views_and_those_that_files_hold(tmp_path: Path) -> None:
    views = specimen(angles=(0.0, 90.0), size=32)
    held = RegisteredViews([replace(view, offset=2.0) for view in views.views], views.grid)
    write_views_zarr(tmp_path / "in.zarr", held)
    source = str(tmp_path / "in.zarr")

    def offsets(**said: object) -> list[float]:
        return [view.offset for view in Inputs.model_validate({"source": source, **said}).open().views]

    assert offsets() == offsets(weights={"0": 2.0}) == [2, 2]
    assert offsets(offset=5.0) == [5, 5]
    assert offsets(offset=5.0, offsets={"90": 0.0}) == [5, 0]
    with pytest.raises(InputError, match="an offset is given for view '45'"):
        offsets(offsets={"45": 2.0})


def test_a_residual_that_rises_is_never_called_better() -> None:
    before = {"residual": 13160.08, "structure_residual": 2.0}
    verdict = judge(before, {"residual": 13214.59, "structure_residual": 1.0})
    assert verdict.kind == "no better"
    # Towards the noise floor from below is no rise.
    assert (
        judge({"residual": 0.97, "structure_residual": 0.2}, {"residual": 1.0, "structure_residual": 0.1}).kind
        == "better"
    )
