"""The engine on a GPU: memory that runs out and comes back, and what is the same as on the CPU."""

from functools import partial

import numpy as np
import pytest
import torch

from napari_mvfusion.data.events import Cancelled, Finished, Prepared, TileHalved
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation import light_sheet_psf

pytestmark = pytest.mark.cuda

ANGLES = (0.0, 90.0, 180.0, 270.0)
METHODS = {
    "cbif": make_method("cbif"),
    "ebmd": make_method("ebmd", iterations=3),
    "generator": make_method("generator"),
    "wiener": make_method("wiener"),
}
# Of the Wiener filter a cell is what takes the memory, and its size depends on the volume alone.
HALVED = [name for name in METHODS if name != "wiener"]


def views_of(*shape, seed=0):
    rng = np.random.default_rng(seed)
    glow = 20 + 300 * np.prod(np.meshgrid(*map(np.hanning, shape), indexing="ij"), axis=0)
    return RegisteredViews(
        View(
            rng.poisson(glow).astype(np.uint16),
            f"{angle:g}",
            angle=angle,
            psf=light_sheet_psf(angle, axial_fwhm=5, lateral_fwhm=2, shape=(15, 15, 15)),
        )
        for angle in ANGLES
    )


# Weights of a network stay on the GPU for the next run.
KEPT_BYTES = 2**23


@pytest.mark.parametrize("name", HALVED)
def test_when_the_memory_of_the_gpu_runs_out_tiles_are_halved(name):
    views = views_of(400, 96, 96)  # two cells of the filter of the generator
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole = np.asarray(fuse(views, METHODS[name], device="cuda").data)
    taken = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.8 * taken / torch.cuda.mem_get_info()[1])
    try:
        events = list(fuse_events(views, METHODS[name], device="cuda"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any(isinstance(event, TileHalved) for event in events)
    assert isinstance(events[-1], Finished)
    np.testing.assert_allclose(events[-1].fused.data, whole, rtol=0, atol=1e-4 * np.ptp(whole))


@pytest.mark.parametrize("name", METHODS)
def test_memory_comes_back(name):
    views = views_of(64, 64, 64)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    fuse(views, METHODS[name], device="cuda")
    assert torch.cuda.memory_allocated() <= before + KEPT_BYTES


@pytest.mark.parametrize("name", METHODS)
def test_what_a_tile_takes_stays_below_what_was_said(name):
    views = views_of(128, 128, 128)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    bound = 0
    for event in fuse_events(views, METHODS[name], device="cuda"):
        if isinstance(event, Prepared):
            bound = event.memory_bound_bytes
    assert torch.cuda.max_memory_allocated() - before <= bound


def test_an_estimate_on_disk_gives_what_one_on_the_gpu_gives(tmp_path):
    views = views_of(96, 96, 96)
    whole = fuse(views, METHODS["ebmd"], device="cuda").data
    tiled = fuse(views, METHODS["ebmd"], device="cuda", tile=(64, 64, 64), out=tmp_path / "fused.zarr").data
    np.testing.assert_allclose(np.asarray(tiled), whole, rtol=0, atol=1e-4 * np.ptp(whole))


@pytest.mark.parametrize("name", METHODS)
def test_a_cancelled_run_gives_the_gpu_back(name):
    views = views_of(96, 96, 96)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    begun: list[Prepared] = []
    for event in fuse_events(views, METHODS[name], device="cuda", cancel=partial(bool, begun)):
        begun += [event] if isinstance(event, Prepared) else []
    assert isinstance(event, Cancelled)
    del event
    assert torch.cuda.memory_allocated() <= before + KEPT_BYTES


@pytest.mark.parametrize("name", METHODS)
def test_a_preview_shows_what_the_cpu_shows(name):
    views, box = views_of(64, 64, 64), Box((20, 10, 12), (36, 50, 52))
    there, here = (list(Previewer(views, torch.device(device)).run(METHODS[name], box)) for device in ("cuda", "cpu"))
    assert there[-1].final
    np.testing.assert_allclose(there[-1].values, here[-1].values, rtol=0, atol=1e-3 * np.ptp(here[-1].values))
