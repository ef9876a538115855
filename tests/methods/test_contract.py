"""What every registered method has to hold, and a new one gets for nothing: one line in `METHODS` brings it here.

A method with other parameters that matter here, as CBIF with entropy, stands in `OTHERS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_mvfusion
import warm_process
from napari_mvfusion.data.events import Cancelled, Prepared
from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.methods.base import Method
from napari_mvfusion.methods.parameters import parameters_of
from napari_mvfusion.simulation import light_sheet_psf
from small_models import SMALL, save

SHAPE = (26, 30, 33)
ANGLES = (0.0, 90.0, 180.0)
# So that tests take seconds; every other parameter has its default.
QUICK: dict[str, dict[str, Any]] = {"ebmd": {"iterations": 2}, "generator": {"model": "small"}}
# A network with random weights makes much of what hardly differs.
TRAINED = {"generator": {"model": "universal", "mirrored": False}}
OTHERS = {"cbif, entropy": ("cbif", {"weights": "entropy", "window": 9})}
NAMES = [*METHODS, *OTHERS]
# Of the range of the fused volume: what tiles and other types of pixels may change.
TOLERANCE = 2e-5


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Method]:
    """Makes a method by its name here."""
    folder = tmp_path / "models"
    folder.mkdir()
    save(folder, "small", SMALL)
    monkeypatch.setenv("MVFUSION_MODELS", str(folder))

    def made(name: str, *, trained: bool = False) -> Method:
        kind, parameters = OTHERS.get(name, (name, {}))
        quick = QUICK | TRAINED if trained else QUICK
        return make_method(kind, **quick.get(kind, {}), **parameters)

    return made


def pixels_of(shape: Triple = SHAPE, seed: int = 5) -> list[np.ndarray]:
    """Whole numbers from 20 to some hundreds, brighter in the middle, as 64-bit integers."""
    rng = np.random.default_rng(seed)
    middle = np.prod(np.meshgrid(*(np.hanning(n + 2)[1:-1] for n in shape), indexing="ij"), axis=0)
    return [rng.poisson(20 + 100 * middle) for _ in ANGLES]


def views_of(pixels: list[np.ndarray], **more: Any) -> RegisteredViews:
    psfs = [light_sheet_psf(angle, axial_fwhm=3, lateral_fwhm=1.5, shape=(7, 7, 7)) for angle in ANGLES]
    return RegisteredViews(
        [
            View(values, f"{angle:g}", angle=angle, psf=psf, **{key: each[i] for key, each in more.items()})
            for i, (values, angle, psf) in enumerate(zip(pixels, ANGLES, psfs, strict=True))
        ]
    )


def fused(views: RegisteredViews, method: Method, **how: Any) -> np.ndarray:
    return np.asarray(fuse(views, method, device="cpu", **how).data)


def assert_alike(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.ptp(expected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tile", [(16, 16, 16), (7, 30, 20)], ids=str)
@pytest.mark.long
def test_tiles_do_not_show(make: Callable[..., Method], name: str, tile: Triple) -> None:
    views = views_of([values.astype(np.float32) for values in pixels_of()])
    assert_alike(fused(views, make(name), tile=tile), fused(views, make(name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_region_equals_the_whole(make: Callable[..., Method], name: str) -> None:
    shape = (26, 60, 62)
    views = views_of([values.astype(np.float32) for values in pixels_of(shape)])
    box = Box((8, 22, 24), (18, 40, 38))
    *_, last = Previewer(views, torch.device("cpu")).run(make(name, trained=True), box, coarse_first=False)
    assert last.final
    expected = fused(views, make(name, trained=True))
    error = last.values - expected[box.slices]
    # These views are little but noise, of which a generator makes most.
    assert np.sqrt(np.square(error).mean()) < 0.03 * np.ptp(expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float64])
def test_the_type_of_the_pixels_does_not_matter(make: Callable[..., Method], name: str, dtype: type) -> None:
    pixels = pixels_of()
    expected = fused(views_of([values.astype(np.float32) for values in pixels]), make(name))
    assert_alike(fused(views_of([values.astype(dtype) for values in pixels]), make(name)), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-3, 7.0, 4096.0])
def test_the_result_is_as_bright_as_the_views(make: Callable[..., Method], name: str, factor: float) -> None:
    pixels = [values.astype(np.float32) for values in pixels_of()]
    expected = fused(views_of(pixels), make(name))
    assert_alike(
        fused(views_of([values * np.float32(factor) for values in pixels]), make(name)) / factor, expected, 1e-3
    )
    mean = np.mean(pixels)
    assert 0.5 * mean < expected.mean() < 2 * mean


@pytest.mark.parametrize("name", NAMES)
def test_what_a_mask_leaves_out_is_never_looked_at(make: Callable[..., Method], name: str) -> None:
    pixels = [values.astype(np.float32) for values in pixels_of()]
    masks = [np.ones(SHAPE, bool) for _ in ANGLES]
    masks[1][:9] = False
    masks[2][:, :, 25:] = False
    spoilt = [np.where(mask, values, 5e4).astype(np.float32) for values, mask in zip(pixels, masks, strict=True)]
    expected = fused(views_of(pixels, mask=masks), make(name))
    assert_alike(fused(views_of(spoilt, mask=masks), make(name)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_where_no_view_has_data_there_is_no_light(make: Callable[..., Method], name: str) -> None:
    masks = [np.ones(SHAPE, bool) for _ in ANGLES]
    for mask in masks:
        mask[:, :12] = False
    pixels = [values.astype(np.float32) for values in pixels_of()]
    result = fused(views_of(pixels, mask=masks), make(name, trained=True))
    assert np.isfinite(result).all()
    # Deconvolution may carry a little light over the edge of the field, as far as the PSFs reach.
    assert np.abs(result[:, :6]).mean() < 0.1 * result[:, 12:].mean()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_one_tile_can_be_cancelled(make: Callable[..., Method], name: str) -> None:
    views = views_of([values.astype(np.float32) for values in pixels_of()])
    prepared = asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += prepared
        return asked > 0

    last: object = None
    for event in fuse_events(views, make(name), device="cpu", cancel=cancel):
        prepared += isinstance(event, Prepared)
        last = event
    assert isinstance(last, Cancelled)
    assert last.finished_tiles == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_twice_gives_the_same_bits(make: Callable[..., Method], name: str) -> None:
    views = views_of([values.astype(np.float32) for values in pixels_of()])
    np.testing.assert_array_equal(fused(views, make(name)), fused(views, make(name)))


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_gives_what_the_cpu_gives(make: Callable[..., Method], name: str) -> None:
    views = views_of([values.astype(np.float32) for values in pixels_of()])
    on_gpu = np.asarray(fuse(views, make(name), device="cuda").data)
    assert_alike(on_gpu, fused(views, make(name)), 1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is_and_what_its_parameters_are(name: str) -> None:
    kind = METHODS[name]
    assert isinstance(kind(), Method)
    assert kind.name == name
    assert kind.title
    assert kind.summary.endswith(".")
    assert getattr(napari_mvfusion, kind.__name__) is kind, "a run that is copied as Python names it: __init__.pyi"
    assert kind().model_dump(mode="json", by_alias=True) == make_method(name).model_dump(mode="json", by_alias=True)
    for parameter in parameters_of(kind):
        assert parameter.title
        assert parameter.help
        assert parameter.allowed
    for preset in kind.presets.values():
        assert set(preset) <= set(kind.model_fields)
        make_method(name, **preset)


_PEAK = """
import sys
import numpy as np
sys.path[:0] = sys.argv[1:3]
import test_contract as here
from peak_memory import used_and_stated
kind, parameters = here.OTHERS.get(sys.argv[3], (sys.argv[3], {}))
method = here.make_method(kind, **here.QUICK.get(kind, {}), **parameters)
for shape in ((30, 30, 30), (96, 100, 104)):
    views = here.views_of([values.astype(np.float32) for values in here.pixels_of(shape)])
    print(*used_and_stated(method, views, views.grid.box))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.long
def test_memory_stays_within_the_stated_bound(make: Callable[..., Method], name: str) -> None:
    """In a process of its own: one tile as large as the volume, after a small one for which libraries set themselves up."""
    make(name)
    here = Path(__file__).parent
    done = warm_process.run(_PEAK, here, here.parent, name)
    assert done.returncode == 0, done.stderr
    *_, large = done.stdout.splitlines()
    used, bound = (int(number) for number in large.split())
    assert used < bound
