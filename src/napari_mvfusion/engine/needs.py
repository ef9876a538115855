"""What fusing the views of a project would take, told before any pixel of them is read: voxels, and memory by method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import StatedSize, Triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.forecast import Forecaster, Speeds
from napari_mvfusion.errors import InputError, MemoryShortage
from napari_mvfusion.io.base import bytes_of
from napari_mvfusion.methods import EBMD, Average
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import free_bytes, pick_device
from napari_mvfusion.system.words import bytes_words, size_words, times

# What a run takes of the memory that is free, where nobody says more, as in napari's preferences.
_SHARE = 0.5
# The kernels of EBMD are products over pairs of views. Of more views, those that reach as far as the PSFs stand for them,
# which is as far as kernels can reach.
_MOST_PAIRED = 6


@dataclass(frozen=True)
class MethodNeeds:
    """What one method would take.

    Attributes
    ----------
    title : of the method
    memory_bytes : at most, None where the method cannot be used, or does not fit
    lacking : why not, "" where it can
    """

    title: str
    memory_bytes: int | None
    lacking: str = ""


@dataclass(frozen=True)
class FusionNeeds:
    """What fusing some views would take.

    Attributes
    ----------
    views : how many there are
    shape : voxels (z, y, x) of the fused volume
    voxel_size_um : of its voxels, None along axes where that is not known
    view_bytes : of the pixels of all views, as they are kept
    fused_bytes : of the fused volume
    free_bytes : of memory, at present
    methods : the quickest, and the one that takes most
    """

    views: int
    shape: Triple
    voxel_size_um: StatedSize
    view_bytes: int
    fused_bytes: int
    free_bytes: int
    methods: tuple[MethodNeeds, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words, a line each."""
        one = "1 view" if self.views == 1 else f"{self.views} views"
        known = any(size is not None for size in self.voxel_size_um)
        size = f"of {size_words(self.voxel_size_um)}" if known else "whose size is not known"
        return (
            f"Fused volume: {times(self.shape)} voxels (z, y, x) {size}, {bytes_words(self.fused_bytes)}",
            f"{one}: {bytes_words(self.view_bytes)} of pixels, read piece by piece",
            *(
                f"{each.title}: {each.lacking}"
                if each.memory_bytes is None
                else f"{each.title}: up to {bytes_words(each.memory_bytes)} of memory"
                for each in self.methods
            ),
            f"Free memory: {bytes_words(self.free_bytes)}",
        )


def fusion_needs(
    views: RegisteredViews,
    *,
    device: str = "auto",
    memory_share: float = _SHARE,
    cancel: Callable[[], bool] = lambda: False,
) -> FusionNeeds:
    """Say what fusing views would take; no pixel is read.

    Parameters
    ----------
    views : in their places, with their PSFs
    device : that computes, see `pick_device`
    memory_share : of the memory that is free, what a run may take
    cancel : polled; when it says yes, `Interrupted` is raised

    Raises
    ------
    DeviceError
        If there is no such device.
    Interrupted
        If it was cancelled.
    """
    free = free_bytes(pick_device(device))
    forecaster = Forecaster.of_sizes(views, Speeds())
    ebmd = EBMD() if len(views) <= _MOST_PAIRED else EBMD(kernel="independent")
    found = [
        _of_method(forecaster, method, title, device, int(free * memory_share), cancel)
        for method, title in ((Average(), "Average"), (ebmd, "Deconvolution (EBMD)"))
    ]
    return FusionNeeds(
        len(views),
        views.grid.shape,
        views.grid.stated_size_um,
        sum(bytes_of(view.data) for view in views.views),
        views.grid.box.size * np.dtype(np.float32).itemsize,
        free,
        tuple(found),
    )


def _of_method(
    forecaster: Forecaster, method: Method, title: str, device: str, budget: int, cancel: Callable[[], bool]
) -> MethodNeeds:
    try:
        # Into a file: what does not fit as an array in memory is still fused that way.
        needed = forecaster.forecast(method, device, memory_bytes=budget, to_file=True, cancel=cancel)
    except MemoryShortage:
        return MethodNeeds(title, None, "does not fit into memory: choose larger voxels, or a box")
    except InputError as error:
        return MethodNeeds(title, None, _without_psf(forecaster.views) or str(error))
    return MethodNeeds(title, needed.memory_bytes, "" if needed.memory_bytes else "memory not known yet")


def _without_psf(views: RegisteredViews) -> str:
    """What to say where views lack their PSF."""
    count = sum(view.psf is None for view in views.views)
    if not count:
        return ""
    if count == len(views):
        return "needs PSFs, and none is known"
    return f"needs a PSF of each view, and {count} of {len(views)} have none"
