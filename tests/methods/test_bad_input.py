"""What methods say of views, PSFs, trust and transmissions that cannot be used: each names the view, and what to do.

All of it is said before a tile is fused, and by every method alike that needs what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from command_line import run
from napari_mvfusion.data.events import Event, Noted, Prepared, Preparing, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.trust import Fade, with_trust
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import make_method
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.simulation import light_sheet_psf
from small_models import LIGHT, save

SHAPE = (22, 24, 26)
GRID = Grid(SHAPE)
DEBLURRING = ("ebmd", "wiener", "universal")
TELL_LOST_LIGHT = ("average", "cbif", "ebmd", "wiener")
ALL = (*TELL_LOST_LIGHT, "universal", "paper")
HALF = np.full(SHAPE, 0.5, np.float32)
VOXEL = (20, 3, 4)


def light(seed: int = 0) -> np.ndarray:
    z, y, x = np.indices(SHAPE) / 4
    return np.random.default_rng(seed).poisson(60 + 40 * np.sin(z) * np.cos(y + x)).astype(np.float32)


ONE, OTHER = (
    View(
        light(seed),
        f"{angle:g}",
        psf=light_sheet_psf(angle, axial_fwhm=4, lateral_fwhm=2, shape=(9, 9, 9)),
        angle=angle,
        source=f"view_{angle:g}.tif",
    )
    for seed, angle in enumerate((0.0, 90.0))
)


def odd(value: float, rest: float = 1.0) -> np.ndarray:
    values = np.full(SHAPE, rest, np.float32)
    values[VOXEL] = value
    return values


def passed(view: View, transmission: Any) -> View:
    return replace(view, transmission=transmission)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    folder = tmp_path / "models"
    folder.mkdir()
    save(folder, "universal", LIGHT)
    save(folder, "paper", PaperArchitecture(views=2, feature_maps=4))
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))

    def made(name: str, attenuation: str | None = None) -> Any:
        if name in ("universal", "paper"):
            return make_method("generator", model=name)
        given: dict[str, Any] = {} if attenuation is None else {"attenuation": attenuation}
        return make_method(name, **given, **({"iterations": 1} if name in ("ebmd", "wiener") else {}))

    return made


Bad = tuple[Sequence[str], str | None, Callable[[], Sequence[View]], str]
NAMED = r"view '0' \(view_0\.tif\)"
# Which methods say it, what they are told of lost light, the views, and what is said.
REFUSED: dict[str, Bad] = {
    "one view and a model": (
        ("universal", "paper"),
        None,
        lambda: [ONE],
        r"the model '\w+' takes 2( to 8)? views, and there are 1: choose other views, or another model",
    ),
    "no photon": (
        ALL,
        None,
        lambda: [replace(ONE, data=np.zeros(SHAPE, np.uint16)), OTHER],
        f"{NAMED} has the same value 0 everywhere, so it holds no image: leave it out",
    ),
    "a constant view": (
        ALL,
        None,
        lambda: [OTHER, replace(ONE, data=np.full(SHAPE, 7, np.uint16))],
        f"{NAMED} has the same value 7 everywhere",
    ),
    "all below the offset": (
        ALL,
        None,
        lambda: [replace(ONE, offset=1e5), OTHER],
        f"{NAMED} has the same value 0 everywhere.* check its file and camera offset",
    ),
    "negative light": (
        DEBLURRING,
        None,
        lambda: [replace(ONE, data=ONE.data - 50), OTHER],
        f"{NAMED} has negative values .* set its camera offset",
    ),
    "no PSF for one": (
        DEBLURRING,
        None,
        lambda: [replace(ONE, psf=None), OTHER],
        rf"{NAMED} has no PSF, which .* needs: put it beside the view as psf_0\.tif",
    ),
    "an even PSF": (
        DEBLURRING,
        None,
        lambda: [replace(ONE, psf=np.ones((8, 8, 8)) / 512), OTHER],
        rf"the PSF of {NAMED} has the even shape \(8, 8, 8\)",
    ),
    "an even PSF, to find lost light": (
        TELL_LOST_LIGHT,
        "estimated",
        lambda: [replace(ONE, psf=np.ones((8, 8, 8)) / 512), OTHER],
        rf"the PSF of {NAMED} has the even shape \(8, 8, 8\)",
    ),
    "a PSF with NaN, to find lost light": (
        TELL_LOST_LIGHT,
        "estimated",
        lambda: [replace(ONE, psf=np.full((9, 9, 9), np.nan)), OTHER],
        f"the PSF of {NAMED} has values that are NaN or infinite",
    ),
    "weights of another shape": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=np.ones((3, 3, 3))), OTHER],
        rf"the trust in {NAMED} has shape \(3, 3, 3\), but the view \(22, 24, 26\): it needs one value for each voxel",
    ),
    "weights of 0": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=np.zeros(SHAPE)), OTHER],
        f"{NAMED} is trusted nowhere in the fused volume .* or leave it out",
    ),
    "weights of 0 in all views": (
        ALL,
        None,
        lambda: [with_trust(view, GRID, weights=np.zeros(SHAPE)) for view in (ONE, OTHER)],
        f"{NAMED} is trusted nowhere",
    ),
    "a negative weight": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=odd(-1)), OTHER],
        rf"trust in {NAMED} has the value -1 at .* = \(20, 3, 4\).* write 0 where the view is not to count",
    ),
    "a weight that is NaN": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=odd(np.nan)), OTHER],
        rf"trust in {NAMED} has the value nan at .* = \(20, 3, 4\)",
    ),
    "weights from 0 to 255": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=np.full(SHAPE, 255, np.uint8)), OTHER],
        f"trust in {NAMED} has the value 255 .* from 0 to 1: divide all of it by the largest$",
    ),
    "weights in percent": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=100 * HALF), OTHER],
        f"trust in {NAMED} has the value 50 .*: divide all of it by the largest, or by 100 if it is in percent",
    ),
    "complex weights": (
        ALL,
        None,
        lambda: [with_trust(ONE, GRID, weights=HALF.astype(complex)), OTHER],
        f"the values of the trust in {NAMED} are of type complex128: real numbers are needed",
    ),
    "a fade without an angle": (
        ALL,
        None,
        lambda: [with_trust(replace(ONE, angle=None), GRID, fade=Fade(1, 5)), OTHER],
        f"{NAMED} has no known angle, so its detection axis is not known: enter its angle",
    ),
    "no transmission": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [ONE, OTHER],
        f"{NAMED} has no transmission: give one for each view",
    ),
    "one transmission": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(OTHER, HALF), ONE],
        f"{NAMED} has no transmission: give one for each view",
    ),
    "a transmission of another shape": (
        ALL,
        "given",
        lambda: [passed(ONE, HALF[1:]), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} has shape \(21, 24, 26\), but the fused volume has \(22, 24, 26\)",
    ),
    "a plane as transmission": (
        ALL,
        "given",
        lambda: [passed(ONE, HALF[0]), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} has shape \(24, 26\)",
    ),
    "a transmission of 0": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(ONE, odd(0, 0.5)), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} is 0 at voxel \(20, 3, 4\): a share of light is above 0",
    ),
    "a negative transmission": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(ONE, odd(-0.1, 0.5)), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} is -0\.1 at voxel",
    ),
    "a transmission that is NaN": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(ONE, odd(np.nan, 0.5)), passed(OTHER, HALF)],
        f"the transmission of {NAMED} is nan at voxel",
    ),
    "a transmission in grey values": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(ONE, np.full(SHAPE, 128, np.uint8)), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} is 128 at voxel \(0, 0, 0\): .* the mean of the views$",
    ),
    "a transmission in percent": (
        TELL_LOST_LIGHT,
        "given",
        lambda: [passed(ONE, 100 * HALF), passed(OTHER, HALF)],
        rf"the transmission of {NAMED} is 50 at voxel \(0, 0, 0\): .*; divide all of it by 100 if it is in percent",
    ),
    "a complex transmission": (
        ALL,
        "given",
        lambda: [passed(ONE, HALF.astype(complex)), passed(OTHER, HALF)],
        f"the values of the transmission of {NAMED} are of type complex128: real numbers are needed",
    ),
    "a mask of 0": (
        ALL,
        None,
        lambda: [replace(ONE, mask=np.zeros(SHAPE, bool)), OTHER],
        f"{NAMED} has no data inside the fused volume: check its affine and mask",
    ),
}
CASES = [pytest.param(name, *case[1:], id=f"{what}, {name}") for what, case in REFUSED.items() for name in case[0]]


@pytest.mark.parametrize(("name", "attenuation", "views", "said"), CASES)
def test_it_is_refused_before_a_tile_is_fused(make, tmp_path: Path, name, attenuation, views, said) -> None:
    events: list[Event] = []
    out = tmp_path / "fused.zarr"
    with pytest.raises(InputError, match=said):
        events.extend(fuse_events(RegisteredViews(views(), GRID), make(name, attenuation), device="cpu", out=out))
    assert not any(isinstance(event, Prepared) for event in events)
    assert [path.name for path in tmp_path.iterdir() if "fused" in path.name] == []


def test_a_transmission_is_looked_at_as_a_whole_before_a_trial_on_a_part(make) -> None:
    shape = (24, 24, 200)
    far = np.full(shape, 0.5, np.float32)
    far[20, 3, 190] = 0
    made = [
        replace(view, data=np.pad(view.data, ((0, 2), (0, 0), (0, 174)), mode="wrap"), transmission=far)
        for view in (ONE, OTHER)
    ]
    events: list[Event] = []
    views = RegisteredViews(made, Grid(shape))
    with pytest.raises(InputError, match=rf"the transmission of {NAMED} is 0 at voxel \(20, 3, 190\)"):
        events.extend(fuse_events(views, make_method("ebmd", attenuation="given"), device="cpu"))
    assert not any(isinstance(event, Preparing) and "how many iterations" in event.label for event in events)


def without_angle(view: View) -> View:
    return replace(view, angle=None)


Fused = tuple[Sequence[str], str | None, Callable[[], Sequence[View]], type, str]
LACKS = "has no {}, without which lost light cannot be found: give it one"
# The same for what is fused all the same, and what kind of event says it.
SAID: dict[str, Fused] = {
    "one view": (
        ("average", "cbif"),
        None,
        lambda: [ONE],
        Warned,
        "there is only view '0' .*: the result is that view",
    ),
    "one view, deblurred": (("ebmd", "wiener"), None, lambda: [ONE], Warned, "a plain deconvolution, not a fusion"),
    "no angles": (
        (*TELL_LOST_LIGHT, "universal"),
        "estimated",
        lambda: [without_angle(ONE), without_angle(OTHER)],
        Noted,
        f"{NAMED} {LACKS.format('angle')}",
    ),
    "one angle": (
        (*TELL_LOST_LIGHT, "universal"),
        "estimated",
        lambda: [OTHER, without_angle(ONE)],
        Noted,
        f"{NAMED} {LACKS.format('angle')}",
    ),
    "no PSF to find lost light with": (
        ("average", "cbif"),
        "estimated",
        lambda: [replace(ONE, psf=None), OTHER],
        Noted,
        f"{NAMED} {LACKS.format('PSF')}, or choose attenuation none",
    ),
    "transmissions that are not used": (
        TELL_LOST_LIGHT,
        "none",
        lambda: [passed(ONE, HALF), passed(OTHER, HALF)],
        Warned,
        "transmissions were given and are not used: attenuation is none, choose given",
    ),
    "transmissions for a model": (
        ("universal", "paper"),
        None,
        lambda: [passed(ONE, HALF), passed(OTHER, HALF)],
        Warned,
        rf"the transmission of {NAMED} was given and is not used: the model '\w+' takes none",
    ),
}
SPOKEN = [pytest.param(name, *case[1:], id=f"{what}, {name}") for what, case in SAID.items() for name in case[0]]


@pytest.mark.parametrize(("name", "attenuation", "views", "kind", "said"), SPOKEN)
def test_it_is_said_once_and_the_views_are_fused(make, name, attenuation, views, kind, said) -> None:
    events = list(fuse_events(RegisteredViews(views(), GRID), make(name, attenuation), device="cpu"))
    spoken = [event.message for event in events if isinstance(event, kind)]
    assert re.search(said, "; ".join(spoken))
    assert len([message for message in spoken if "lost light" in message or "transmission" in message]) <= 1
    assert np.isfinite(events[-1].fused.data).all()


def test_given_transmissions_need_no_angles(make) -> None:
    views = [passed(without_angle(view), HALF) for view in (ONE, OTHER)]
    plain, bright = (
        np.asarray(list(fuse_events(RegisteredViews(views, GRID), make("average", how)))[-1].fused.data)
        for how in ("none", "given")
    )
    np.testing.assert_allclose(bright, 2 * plain, rtol=1e-5)


def test_unlike_psfs_are_each_as_large_as_they_are(make) -> None:
    wide = light_sheet_psf(0, axial_fwhm=4, lateral_fwhm=2, shape=(15, 11, 9))
    for name in DEBLURRING:
        events = list(fuse_events(RegisteredViews([replace(ONE, psf=wide), OTHER], GRID), make(name), device="cpu"))
        assert np.isfinite(events[-1].fused.data).all()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for view in (ONE, OTHER):
        tifffile.imwrite(folder / f"view_{view.name}.tif", np.asarray(view.data))
        tifffile.imwrite(folder / f"psf_{view.name}.tif", np.asarray(view.psf, np.float32))
    for name, values in {
        "zero": odd(0, 0),
        "half": HALF,
        "negative": odd(-1),
        "plane": HALF[:1],
        "even": np.ones((8, 8, 8), np.float32),
    }.items():
        tifffile.imwrite(folder / f"{name}.tif", values)
    return folder


# Options of the command beside the views and their PSFs, the exit code, and what is said.
OPTIONS: dict[str, tuple[Sequence[str], int, str]] = {
    "trust of another shape": (["--trust", "0={}/plane.tif"], 2, "plane.tif) has shape (1, 24, 26), but the view"),
    "trust of 0": (["--trust", "0={}/zero.tif"], 2, "is trusted nowhere"),
    "negative trust": (["--trust", "0={}/negative.tif"], 2, "negative.tif) has the value -1 at"),
    "trust for no view": (["--trust", "45={}/half.tif"], 2, "a volume of weights is given for view '45'"),
    "trust without a view": (["--trust", "{}/half.tif"], 2, "is not of the form 90=FILE"),
    "trust of no file": (["--trust", "0={}/none.tif"], 2, "does not exist"),
    "a flat box": (["--trust-box", "0=5,5,5,5,9,9"], 2, "has no extent: give its first place, then its last"),
    "a box elsewhere": (["--trust-box", "0=500,5,5,505,9,9"], 2, "outside of its box of trust"),
    "a fade beyond": (["--fade", "0=-5,-1"], 2, "is trusted nowhere"),
    "transmission of one": (
        ["--set", "attenuation=given", "--transmission", "0={}/half.tif"],
        2,
        "view '90' (view_90.tif) has no transmission: give one for each view",
    ),
    "transmission of 0": (
        ["--set", "attenuation=given", "--transmission", "0={}/zero.tif", "--transmission", "90={}/half.tif"],
        2,
        "zero.tif) is 0 at voxel (0, 0, 0): a share of light is above 0",
    ),
    "transmission of another shape": (
        ["--set", "attenuation=given", "--transmission", "0={}/plane.tif", "--transmission", "90={}/half.tif"],
        2,
        "plane.tif) has shape (1, 24, 26), but the fused volume has (22, 24, 26)",
    ),
    "transmission for no view": (["--transmission", "45={}/half.tif"], 2, "a transmission is given for view '45'"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_the_command_says_the_same(files: Path, tmp_path: Path, what: str) -> None:
    options, code, said = OPTIONS[what]
    named = [f"--view={name}={files}/view_{name}.tif" for name in ("0", "90")]
    given = [option.format(files) for option in options]
    done = run("fuse", *named, *given, "--method", "average", "-o", tmp_path / "fused.zarr", code=code)
    words = " ".join(done.stderr.replace("│", " ").split())
    assert said in words.replace(f"{files}/", "")
    assert list(tmp_path.iterdir()) == []
