"""Light of a fused volume that its views speak against: what a method invented, or brought to the wrong place.

The volume is blurred as each view was and compared with it, and what is too much is carried back with the Wiener filter of
all views, as in an update of the method `wiener`. What noise would make of it is taken off, voxel by voxel; the rest is
light that no view supports. It takes no ground truth, and any fused volume, whatever it was made by.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.measures.attenuation import Transmission, find_transmission
from napari_mvfusion.measures.finite_values import finite_values
from napari_mvfusion.measures.used_attenuation import UsedAttenuation
from napari_mvfusion.methods.base import Step, TileInput
from napari_mvfusion.methods.cells import FilterSteps
from napari_mvfusion.methods.deblurring import look_at_psfs
from napari_mvfusion.methods.joint_updates import JointUpdates
from napari_mvfusion.system.devices import pick_device

NOTABLE = 0.01
"""Share of the light from which on it is worth a caution that no view supports it."""
_LEAST_SAID = 0.001
_SLAB = 32
_SCAN_SHARE, _LIGHT_SHARE = 0.1, 0.15


@dataclass(frozen=True, eq=False)
class Unsupported:
    """What of a fused volume its views do not support.

    Attributes
    ----------
    values : float32 (z, y, x), light in the units of the fused volume, 0 where it is supported; numpy where it was found now
    share : of the light of the fused volume
    """

    values: VolumeLike
    share: float

    @property
    def sentence(self) -> str:
        """What a user reads."""
        share = f"{self.share:.1%}" if self.share >= _LEAST_SAID else f"less than {_LEAST_SAID:.1%}"
        return f"{share} of the light of the fused volume is not supported by the views"

    @property
    def caution(self) -> str:
        """What such light may be, said of it; "" where there is next to none."""
        return "may be invented or misplaced" if self.share >= NOTABLE else ""

    def as_dict(self) -> dict[str, Any]:
        """What is written."""
        return {"share": self.share}


def find_unsupported(
    fused: VolumeLike,
    views: RegisteredViews,
    *,
    attenuation: UsedAttenuation | None = None,
    device: torch.device | str = "auto",
    report: Callable[[str, float], None] = lambda text, share: None,
    cancel: Callable[[], bool] = lambda: False,
) -> Unsupported:
    """Find the light of a fused volume that its views speak against.

    Structure that is too faint to show in the noise of the views is not found, nor what the blur hides from all of them:
    what is left is not proven to be there.

    Parameters
    ----------
    fused : (z, y, x) on the grid of the views, in any units
    views : each with its PSF
    attenuation : what the run that made the volume took, see `attenuation_of_run`; estimated when None, or when that says
        that it is to be fitted
    device : where it computes, see `fuse_events`
    report : called with what is being done and the share of it that is done, 0 to 1; an error that it raises ends the work
    cancel : polled while it computes; when it returns True, `Interrupted` is raised

    Returns
    -------
    Unsupported. Holds the volume of its values beside a block of the views.

    Raises
    ------
    InputError
        If shapes disagree, a view has no PSF, cannot be read, or a value is not finite.
    Interrupted
        If it was cancelled.
    """
    steps = unsupported_steps(fused, views, attenuation=attenuation, device=device)
    while True:
        try:
            with interruptible(cancel):
                step = next(steps)
        except StopIteration as end:
            found: Unsupported = end.value
            return found
        if cancel():
            raise Interrupted
        report(step.label, step.share)


def unsupported_steps(
    fused: VolumeLike,
    views: RegisteredViews,
    *,
    attenuation: UsedAttenuation | None = None,
    device: torch.device | str = "auto",
    into: np.ndarray | None = None,
) -> Generator[Step, None, Unsupported]:
    """The same, step by step.

    Parameters
    ----------
    fused, views, attenuation, device : as for `find_unsupported`
    into : float32 zeros (z, y, x) that become the values, where they shall not lie in memory
    """
    if tuple(fused.shape) != views.grid.shape:
        raise InputError(
            f"the fused volume has shape {tuple(fused.shape)}, but its views {views.grid.shape}: do they belong together?"
        )
    look_at_psfs(views)
    for event in views.scan():
        yield Step("looking at the views", _SCAN_SHARE * event.fraction)
    views = views.without_hot()
    transmission = (
        find_transmission(views) if attenuation is None or attenuation.fitted else attenuation.of(views.names)
    )
    updates = JointUpdates(views, transmission, pick_device(str(device)))
    found = np.zeros(views.grid.shape, np.float32) if into is None else into
    share = yield from _Comparison(fused, views, transmission, updates).steps(found)
    return Unsupported(found, share)


class _Comparison:
    """A fused volume against its views, cell by cell."""

    def __init__(
        self, fused: VolumeLike, views: RegisteredViews, transmission: Transmission | None, updates: JointUpdates
    ) -> None:
        self._fused = fused
        self._views = views
        self._transmission = transmission
        self._updates = updates
        self._unit = 1.0

    def steps(self, found: np.ndarray) -> Generator[Step, None, float]:
        """Compare all of it, and fill `found`, zeros (z, y, x), with what is too much; returns its share of the light."""
        seen, light, total = 0.0, 0.0, 0.0
        slabs = [
            Box((z, 0, 0), (min(z + _SLAB, self._fused.shape[0]), *self._views.grid.shape[1:]))
            for z in range(0, self._fused.shape[0], _SLAB)
        ]
        for number, slab in enumerate(slabs):
            yield Step("comparing the light", _SCAN_SHARE + (_LIGHT_SHARE - _SCAN_SHARE) * number / len(slabs))
            values = self._of(slab)
            total += float(values.clip(0).sum(dtype=np.float64))
            seen_here, light_here = self._light(slab, values)
            seen, light = seen + seen_here, light + light_here
        # Blurs keep light: what all views saw over what they would have seen of the volume is its unit.
        self._unit = seen / light if light > 0 else 0.0
        into = [torch.from_numpy(found)[None]]
        for share in self._updates.cells.assemble(self._views.grid.box, self._too_much, into, keep=False):
            yield Step("comparing with the views", _LIGHT_SHARE + (1 - _LIGHT_SHARE) * share)
        self._updates.release()
        if self._unit > 0:
            found *= np.float32(1 / self._unit)
        return float(found.sum(dtype=np.float64)) / total if total > 0 else 0.0

    def _of(self, box: Box) -> np.ndarray:
        return finite_values(self._fused, box, "the fused volume")

    def _light(self, box: Box, values: np.ndarray) -> tuple[float, float]:
        """Light of all views in a box, and what they would have of the fused volume."""
        pixels, coverage = self._views.read(box), self._views.coverage(box)
        volume = np.broadcast_to(values, pixels.shape)
        if self._transmission is not None:
            volume = volume * self._transmission.over(self._views.in_frame(box), torch.device("cpu")).numpy()
        if coverage is not None:
            pixels, volume = pixels * coverage, volume * coverage
        return float(pixels.sum(dtype=np.float64)), float(volume.sum(dtype=np.float64))

    def _too_much(self, block: Box, part: Box) -> FilterSteps:
        """What of a block is too much, over a part of it, in the units of the views."""
        yield 0.0
        pixels, coverage = self._views.read(block), self._views.coverage(block)
        device = self._updates.device
        covered = None if coverage is None else torch.from_numpy(coverage).to(device)
        tile = TileInput(block, block, torch.from_numpy(pixels).to(device), covered, None, None)
        image = torch.from_numpy(self._of(block) * np.float32(self._unit)).to(device)
        too_much = self._updates.step_from(image, tile, block).neg_()
        # No more than there is.
        return [torch.minimum(too_much, image)[part.slices].clamp(min=0).cpu()[None]]
