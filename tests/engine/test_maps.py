"""Maps of how far a fused volume can be trusted: what they hold, where they lie, and what becomes of the volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_mvfusion import EBMD, JointWiener, RegisteredViews, find_unsupported, fuse
from napari_mvfusion.data.events import Event, Finished, Noted, TileDone, TileStep, Warned
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.engine.unsupported import NOTABLE
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.methods import Average, LearnedFusion
from napari_mvfusion.simulation import embryo, light_sheet_psf, simulate
from small_models import FROM_WIENER, save

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_thread")]

ANGLES = (0.0, 90.0)
QUICK = EBMD(iterations=2)


@pytest.fixture(autouse=True)
def sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that says how sure it is."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))
    save(folder, "sure", FROM_WIENER.model_copy(update={"uncertainty": True}))


@cache
def views() -> RegisteredViews:
    rng = np.random.default_rng(2)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in ANGLES]
    return simulate(embryo(32, rng), ANGLES, psfs, snr=15.0, rng=rng).views


def run(out: Path | None, method: Any, cancel: Callable[[], bool] = lambda: False, **how: Any) -> list[Event]:
    return list(fuse_events(views(), method, device="cpu", out=out, cancel=cancel, maps=True, **how))


def last(events: list[Event]) -> Fused:
    assert isinstance(events[-1], Finished)
    return events[-1].fused


def test_maps_are_what_the_method_says_and_what_the_views_speak_against() -> None:
    method = LearnedFusion(model="sure")
    events = run(None, method)
    made = last(events)
    assert made.maps is not None
    assert np.array_equal(made.data, fuse(views(), method, device="cpu").data)
    expected = fuse(views(), method.model_copy(update={"shows": "uncertainty"}), device="cpu").data
    assert made.maps.uncertainty is not None
    assert np.array_equal(made.maps.uncertainty, expected)
    light = find_unsupported(made.data, views())
    assert np.array_equal(made.maps.unsupported, light.values)
    assert made.maps.share == light.share
    assert made.maps.paths == {}
    shares = [event.fraction for event in events if isinstance(event, (TileDone, TileStep))]
    assert shares == sorted(shares)
    assert sum(isinstance(event, Finished) for event in events) == 1


def test_of_a_file_they_lie_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "fused.tif"
    maps = last(run(out, LearnedFusion(model="sure"))).maps
    assert maps is not None
    assert maps.paths == {what: tmp_path / f"fused-{what}.tif" for what in ("uncertainty", "unsupported")}
    for what, values in (("uncertainty", maps.uncertainty), ("unsupported", maps.unsupported)):
        assert np.array_equal(tifffile.imread(maps.paths[what]), np.asarray(values))
        assert open_volume(maps.paths[what])[1] == open_volume(out)[1]
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == {
        *("fused.tif", "fused-uncertainty.tif", "fused-unsupported.tif"),
        *("fused.tif.recipe.json", "fused-uncertainty.tif.recipe.json"),
    }


def test_a_method_that_does_not_say_how_sure_it_is_has_the_other_map_alone(tmp_path: Path) -> None:
    maps = last(run(tmp_path / "fused.zarr", QUICK)).maps
    assert maps is not None
    assert maps.uncertainty is None
    assert maps.paths == {"unsupported": tmp_path / "fused-unsupported.zarr"}


@pytest.mark.parametrize(("method", "kind"), [(JointWiener(), Noted), (QUICK, Warned)], ids=["little", "much"])
def test_light_without_support_is_a_note_and_much_of_it_a_warning(method: Any, kind: type[Event]) -> None:
    events = run(None, method)
    made = last(events)
    assert made.maps is not None
    assert (made.maps.share > NOTABLE) == (kind is Warned)
    (said,) = [event for event in events if "not supported" in getattr(event, "message", "")]
    assert isinstance(said, kind)


@pytest.mark.parametrize("moment", ["how far it may be off", "light without support"])
def test_cancelled_maps_leave_the_volume_complete_and_a_rerun_makes_them(tmp_path: Path, moment: str) -> None:
    out, method = tmp_path / "fused.zarr", LearnedFusion(model="sure")
    events: list[Event] = []

    def come() -> bool:
        return bool(events) and isinstance(events[-1], TileStep) and events[-1].label.startswith(moment)

    for event in fuse_events(views(), method, device="cpu", out=out, cancel=come, maps=True):
        events.append(event)
    assert any(isinstance(event, TileStep) and event.label.startswith(moment) for event in events)
    assert last(events).maps is None
    assert any(isinstance(event, Warned) and "its maps are not" in event.message for event in events)
    before = out.stat().st_ino
    assert not (tmp_path / "fused-unsupported.zarr").exists()
    again = last(run(out, method, resume=True))
    assert not again.made_before
    assert again.maps is not None
    assert out.stat().st_ino == before
    assert np.array_equal(np.asarray(again.maps.unsupported), find_unsupported(again.data, views()).values)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    kept = last(run(out, method, resume=True))
    assert kept.made_before
    assert kept.maps is not None
    assert kept.maps.share == pytest.approx(again.maps.share)


def test_the_recipe_says_that_there_are_maps_and_repeats_them(tmp_path: Path) -> None:
    source = tmp_path / "views"
    source.mkdir()
    for view in views().views:
        write_volume(source / f"a_view_{view.name}.tif", np.asarray(view.data), views().grid)
        assert view.psf is not None
        write_volume(source / f"psf_{view.name}.tif", view.psf, replace(views().grid, shape=view.psf.shape))
    inputs = {"source": str(source), "no_data": "none"}
    opened = Inputs.model_validate(inputs).open()
    for _ in fuse_events(opened, QUICK, device="cpu", out=tmp_path / "one.tif", inputs=inputs, maps=True):
        pass
    for _ in load_recipe(tmp_path / "one.tif.recipe.json").repeat(tmp_path / "two.tif"):
        pass
    one, two = (tifffile.imread(tmp_path / f"{name}-unsupported.tif") for name in ("one", "two"))
    assert np.array_equal(one, two)


def test_what_cannot_be_made_is_refused_before_any_work(tmp_path: Path) -> None:
    bare = views().with_psfs([None, views().views[1].psf])
    with pytest.raises(InputError, match=r"maps compare the views .* but view '0' .*PSF"):
        next(fuse_events(bare, Average(), out=tmp_path / "fused.tif", maps=True))
    with pytest.raises(InputError, match="shows=uncertainty is no image"):
        next(fuse_events(views(), LearnedFusion(model="sure", shows="uncertainty"), maps=True))
    (tmp_path / "fused-unsupported.tif").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"fused-unsupported\.tif exists already"):
        next(fuse_events(views(), QUICK, out=tmp_path / "fused.tif", maps=True))
    assert (tmp_path / "fused-unsupported.tif").read_bytes() == b"mine"
    assert not (tmp_path / "fused.tif").exists()


def test_the_map_of_another_result_is_never_taken_for_that_of_this_one(tmp_path: Path) -> None:
    out = tmp_path / "fused.zarr"
    first = last(run(out, QUICK)).maps
    assert first is not None
    events = list(fuse_events(views(), EBMD(iterations=9), device="cpu", out=out, overwrite=True))
    (said,) = [event.message for event in events if isinstance(event, Warned) and "map of another" in event.message]
    assert "fused-unsupported.zarr" in said
    again = last(run(out, EBMD(iterations=9), resume=True)).maps
    assert again is not None
    assert not again.made_before
    assert again.share < first.share
    assert np.array_equal(np.asarray(again.unsupported), find_unsupported(open_volume(out)[0], views()).values)


def test_an_uncertainty_that_is_still_that_of_the_result_is_not_complained_of(tmp_path: Path) -> None:
    out, method = tmp_path / "fused.tif", LearnedFusion(model="sure")
    run(out, method)
    again = list(fuse_events(views(), method, device="cpu", out=out, overwrite=True))
    assert not [event for event in again if isinstance(event, Warned) and "map of another" in event.message]
    other = list(fuse_events(views(), Average(), device="cpu", out=out, overwrite=True))
    said = [event.message for event in other if isinstance(event, Warned) and "map of another" in event.message]
    assert [Path(text.split(" is the map")[0]).name for text in said] == [
        "fused-uncertainty.tif",
        "fused-unsupported.tif",
    ]


def test_what_a_killed_run_left_of_a_map_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".fused-unsupported.tif.raw.writing-1"
    left.write_bytes(b"left")
    run(tmp_path / "fused.tif", QUICK)
    assert not left.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
