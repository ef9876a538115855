"""Fusing in child processes, however they were started, after the parent has fused with several threads."""

import multiprocessing
import sys

import numpy as np
import pytest
import torch

from napari_mvfusion.data.events import Finished, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.methods import make_method

SHAPE = (40, 36, 44)
METHODS = {"average": {}, "cbif": {}, "ebmd": {"iterations": 2}, "generator": {"mirrored": False}}
CASES = [
    (start, method)
    for start in multiprocessing.get_all_start_methods()
    # Only a fork has anything of its parent's threads.
    for method in (METHODS if start == "fork" else ["ebmd"])
]
LONGEST_SECONDS = 300


def made():
    """Two views with PSFs, the same in every process."""
    rng = np.random.default_rng(8)
    psf = np.zeros((5, 5, 5), np.float32)
    psf[1:4, 2, 2] = psf[2, 1:4, 2] = psf[2, 2, 1:4] = 1
    psf[2, 2, 2] = 2
    views = [View(rng.random(SHAPE, np.float32) * 100, f"v{i}", psf=psf / psf.sum(), angle=90.0 * i) for i in range(2)]
    return RegisteredViews(views, Grid(SHAPE))


def fused(method):
    return fuse(made(), make_method(method, **METHODS[method]), device="cpu", tile=(32, 32, 32)).data


def in_child(method, out, queue):
    """The volume as file, the number of threads and what was said through the queue."""
    torch.set_num_threads(2)
    said = []
    for event in fuse_events(made(), make_method(method, **METHODS[method]), device="cpu", out=out, tile=(32, 32, 32)):
        if isinstance(event, Warned):
            said.append(event.message)
        if isinstance(event, Finished):
            queue.put((torch.get_num_threads(), said, np.asarray(event.fused.data[:])))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(("start", "method"), CASES)
def test_a_child_fuses_after_its_parent_has_with_several_threads(tmp_path, start, method):
    torch.set_num_threads(2)
    expected = np.asarray(fused(method))
    context = multiprocessing.get_context(start)
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(method, tmp_path / "fused.zarr", queue))
    child.start()
    try:
        # The result is read before the end of the child is waited for: a full pipe would hold it.
        assert queue._reader.poll(LONGEST_SECONDS), "the child hangs"
        threads, said, result = queue.get()
        child.join(LONGEST_SECONDS)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
    forked = start == "fork"
    assert threads == (1 if forked else 2)
    assert any("was forked, so one thread computes" in line for line in said) == forked


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_the_parent_keeps_its_threads(tmp_path):
    torch.set_num_threads(2)
    before = np.asarray(fused("ebmd"))
    queue = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=in_child, args=("ebmd", tmp_path / "x.tif", queue))
    child.start()
    again = np.asarray(fused("ebmd"))
    assert queue._reader.poll(LONGEST_SECONDS), "the child hangs"
    queue.get()
    child.join(LONGEST_SECONDS)
    assert child.exitcode == 0
    assert torch.get_num_threads() == 2
    assert (again == before).all()
