"""Places in which no view has data, or none is trusted: the same for every method, and said before the work begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import run
from napari_mvfusion.data.events import Noted, Prepared, Warned
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.trust import Fade, with_trust
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.forecast import Forecaster, Speeds, forecast_words
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.savable_views import open_for_scene
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.scene_writer import write_scene
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.methods import EBMD, METHODS, Average, make_method
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.simulation import light_sheet_psf
from small_models import SMALL, save

SHAPE = (20, 24, 26)
GRID = Grid(SHAPE, (2.0, 1.0, 0.5), (10.0, 20.0, 30.0))
PAPER = PaperArchitecture(views=2, feature_maps=4)
MADE: dict[str, dict[str, Any]] = {"ebmd": {"iterations": 2}, "generator": {"model": "small"}}
NAMES = [*METHODS, "generator, paper", "ebmd, auto"]
# Along x the views have data to here, and are trusted to there.
RECORDED, TRUSTED = 20, 14


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a method by its name here."""
    save(tmp_path, "small", SMALL)
    save(tmp_path, "paper", PAPER)
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path))
    others = {"generator, paper": ("generator", {"model": "paper"}), "ebmd, auto": ("ebmd", {})}

    def made(name: str) -> Any:
        kind, parameters = others.get(name, (name, MADE.get(name, {})))
        return make_method(kind, **parameters)

    return made


def recorded(**known: Any) -> list[View]:
    light = np.random.default_rng(3).poisson(80, SHAPE).astype(np.float32)
    return [
        View(
            np.roll(light, shift, 0),
            f"{angle:g}",
            angle=angle,
            psf=light_sheet_psf(angle, axial_fwhm=3, lateral_fwhm=1.5, shape=(7, 7, 7)),
            **known,
        )
        for shift, angle in enumerate((0.0, 90.0))
    ]


@pytest.fixture(params=["neither has data", "neither is trusted", "each is so elsewhere", "both end there"])
def views(request: pytest.FixtureRequest) -> RegisteredViews:
    """No view sees what lies from x = `TRUSTED` on."""
    kept = np.zeros(SHAPE, np.float32)
    kept[:, :, :TRUSTED] = 1
    match request.param:
        case "neither has data":
            made = recorded(mask=kept > 0)
        case "neither is trusted":
            made = recorded(trust=kept)
        case "each is so elsewhere":
            far, near = recorded()
            wider = np.zeros(SHAPE, np.float32)
            wider[:, :, :RECORDED] = 1
            made = [
                View(far.data, "0", psf=far.psf, angle=0.0, trust=kept, mask=wider > 0),
                View(near.data, "90", psf=near.psf, angle=90.0, trust=wider, mask=kept > 0),
            ]
        case _:
            made = [
                View(v.data[:, :, :TRUSTED], v.name, psf=v.psf, angle=v.angle, affine=GRID.affine) for v in recorded()
            ]
    return RegisteredViews(made, GRID)


@pytest.mark.parametrize("name", NAMES)
def test_what_no_view_sees_is_0_by_every_method_and_said_before_it_begins(views: RegisteredViews, make, name) -> None:
    share = 1 - TRUSTED / SHAPE[2]
    events = list(fuse_events(views, make(name), device="cpu", tile=(16, 16, 16)))
    fused = events[-1].fused
    assert not np.asarray(fused.data)[:, :, TRUSTED:].any()
    # Methods whose results cannot be negative make some voxels 0, but no plane of them.
    assert np.asarray(fused.data)[:, :, :TRUSTED].any(axis=(0, 1)).all(), "what is seen stays"
    (said,) = [n for n, each in enumerate(events) if "no view has data" in str(getattr(each, "message", ""))]
    words = "no view has data, or is trusted, in 46.2% of the fused volume: it is 0 there"
    # Where views have data is as it is; what is not to count was chosen, perhaps without knowing this.
    by_trust = any(view.trust is not None for view in views.views)
    fix = "; let one that has data count there (trust, trust box or fade)"
    assert events[said] == (Warned(words + fix) if by_trust else Noted(words))
    assert said < next(n for n, event in enumerate(events) if isinstance(event, Prepared))
    assert fused.recipe["run"]["unseen_share"] == pytest.approx(share)


@pytest.mark.parametrize("name", ["average", "ebmd"])
def test_a_preview_is_0_there_too(views: RegisteredViews, make, name) -> None:
    box = Box((2, 3, TRUSTED - 6), (18, 20, SHAPE[2] - 1))
    for preview in Previewer(views, torch.device("cpu")).run(make(name), box):
        assert not preview.values[:, :, 6:].any(), preview.label
        assert preview.values[:, :, :6].any()


def test_nothing_is_said_where_one_view_sees_all() -> None:
    one, other = recorded()
    views = RegisteredViews([with_trust(one, GRID, fade=Fade(4, 12)), other], GRID)
    events = list(fuse_events(views, Average(), device="cpu"))
    assert not any(isinstance(event, Noted) and "no view" in event.message for event in events)
    assert "unseen_share" not in events[-1].fused.recipe["run"]
    assert drain(views.unseen_share()) == 0
    assert views.seen(GRID.box) is None


def test_a_resumed_run_and_one_on_tiles_end_alike(tmp_path: Path) -> None:
    views = [with_trust(view, GRID, fade=Fade(3, 7)) for view in recorded()]
    made = []
    for tile in (None, (64, 64, 64)):
        out = tmp_path / f"{tile is None}.zarr"
        events = fuse_events(RegisteredViews(views, GRID), EBMD(iterations=2), device="cpu", out=out, tile=tile)
        for event in events:
            if isinstance(event, Prepared):
                events.close()
        list(fuse_events(RegisteredViews(views, GRID), EBMD(iterations=2), device="cpu", out=out, resume=True))
        made.append(np.asarray(open_stored(out).volume()[:]))
    np.testing.assert_array_equal(*made)
    assert (made[0] == 0).mean() == pytest.approx(drain(RegisteredViews(views, GRID).unseen_share()), abs=1e-9)


def test_a_sample_of_planes_tells_the_share_of_what_does_not_change_along_z() -> None:
    views = RegisteredViews(recorded(mask=np.broadcast_to(np.arange(SHAPE[2]) < RECORDED, SHAPE)), GRID)
    assert drain(views.unseen_share(3)) == drain(views.unseen_share()) == pytest.approx(1 - RECORDED / SHAPE[2])
    words = drain(
        forecast_words(
            Forecaster(views, Speeds()),
            [Average()],
            "cpu",
            volumes=1,
            memory_share=0.5,
            to_file=False,
            threads=0,
            cancel=lambda: False,
        )
    )
    assert words.endswith(". No view has data, or is trusted, in about 23.1% of the fused volume: it is 0 there")


def test_quiet_hides_notes_and_not_that_views_count_nowhere(tmp_path: Path) -> None:
    for view in recorded():
        write_zarr(tmp_path / f"{view.name}.zarr", view.data, GRID)
    named = [f"--view={angle}={tmp_path / f'{angle}.zarr'}" for angle in (0, 90)]
    for quiet in ((), ("-q",)):
        done = run(
            "fuse", *named, "--trust-box", "0=10,20,30,48,30,42.5", "--trust-box", "90=10,20,30,48,30,42.5",
            "--set", "attenuation=estimated", "--method", "average", *quiet, "-o", tmp_path / f"f{len(quiet)}.zarr",
        )  # fmt: skip
        assert "warning: no view has data, or is trusted, in" in done.stderr
        assert ("note: view '0'" in done.stderr) is (not quiet)


def test_a_scene_says_that_it_holds_no_trust(tmp_path: Path) -> None:
    one, other = recorded()
    trusting = RegisteredViews([with_trust(one, GRID, fade=Fade(3, 7)), other], GRID)
    for write in (write_scene, write_views_zarr, lambda path, views: write_views_folder(path, views, "tag")):
        with pytest.raises(OutputError, match=r"view '0'.* trust"):
            write(tmp_path / "refused.zarr", trusting)
        assert not (tmp_path / "refused.zarr").exists()
    write_zarr(tmp_path / "a.zarr", one.data, GRID)
    write_zarr(tmp_path / "b.zarr", other.data, GRID)
    named = [f"--view=0={tmp_path / 'a.zarr'}", f"--view=90={tmp_path / 'b.zarr'}"]
    run("fuse", *named, "--fade", "0=3,7", "--method", "average", "-o", tmp_path / "f.zarr")
    inputs = Inputs.model_validate(json.loads((tmp_path / "f.zarr.recipe.json").read_text())["inputs"])
    assert inputs.says_trust
    assert all(view.trust is None for view in open_for_scene(inputs).views)
    done = run("scene", *named, "--fused", tmp_path / "f.zarr", "-o", tmp_path / "s.zarr")
    assert "how much views count from place to place is not in the scene" in done.stderr.lower()
    run("fuse", *named, "--method", "average", "-o", tmp_path / "plain.zarr")
    done = run("scene", *named, "--fused", tmp_path / "plain.zarr", "-o", tmp_path / "p.zarr")
    assert "from place to place" not in done.stderr
