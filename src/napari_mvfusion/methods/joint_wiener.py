"""Deconvolution of all views at once, without a network: a handful of updates, each through one Wiener filter.

An update blurs the image with the PSF of every view, compares that with the views, and carries what they differ by back
with the Wiener filter of all views together. A back-projector that undoes the blur, where Richardson-Lucy has one that
blurs once more, needs a few updates instead of a hundred. Where what it finds is no more than the noise of the views
would make, it changes nothing, voxel by voxel: so the updates come to an end by themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from napari_mvfusion.data.events import Event, Noted
from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.methods.base import OneStage, Steps, TileInput
from napari_mvfusion.methods.deblurring import context_of_psfs, look_at_psfs, scan_light
from napari_mvfusion.methods.joint_updates import MOST_UPDATES, JointUpdates
from napari_mvfusion.methods.lost_light import (
    Attenuation,
    attenuation_field,
    known_transmission,
    look_at_transmissions,
)

_CONTEXT_VOXELS = 16


class JointWiener(OneStage):
    """Parameters of the joint Wiener deconvolution.

    With `B` the Wiener filter of all views (`napari_mvfusion.imaging.WienerBank`), views `X_v`, PSFs `P_v`, transmissions
    `T_v` (1 where nothing is known), their mean `T`, and all brightness in units of that of the specimen, the image begins
    as `max(B[X_v / T], 0)`, and every further update is

        I' = max(I + m (I - I_before), 0),   E_v = (T_v I') (x) P_v,   d_v = (X_v - E_v) / (E_v + c T)
        I <- max(I' + s (sqrt(I' E) + c) B[d_v], 0),   E = mean of E_v over T

    with `m = (k - 2) / (k + 1)` in update k, counted from 1 again after an update that is larger than the one before, and
    c = 0.03. In the light an update is multiplicative, as photon noise is, and in the dark it is not without bounds. The
    factor is the mean of the image and its blur: with the image alone peaks are brighter than what the views see of them,
    and updates grew without end where there was little noise; with the blur alone two opposed views took twice as many.

    Beyond its border the volume is mirrored, and where no view has data the mean of others stands, which nobody has seen.
    So `d_v` counts by the share w of `P_v` that lies where there are data, and w (1 - w) / 4 of the light counts as noise.
    The share `s = max(0, 1 - n / e)` compares the energy e of the update in a Gaussian of 1.5 voxels round a voxel with
    what that and the noise that was measured would bring there on their own, n.

    References
    ----------
    Guo et al., Rapid image deconvolution and multiview fusion for optical microscopy, Nature Biotechnology 38 (2020), for
    back-projectors that do not match the blur; Nesterov, Doklady 27 (1983), for m; O'Donoghue & Candes, Adaptive restart
    for accelerated gradient schemes, Foundations of Computational Mathematics 15 (2015).
    """

    name: ClassVar[str] = "wiener"
    title: ClassVar[str] = "Wiener deconvolution"
    summary: ClassVar[str] = (
        "Deconvolves all views at once, in a few updates that leave noise alone: sharp, without a network."
    )
    stage: ClassVar[str] = "updates"
    coarse_first: ClassVar[bool] = True
    removes_hot: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"Best": {}, "Fast": {"iterations": 4}}

    iterations: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = Field(
        default="auto",
        title="Iterations",
        description="More make the picture sharper, until all that is left to be found is noise, which is left alone. auto "
        f"goes on until that is so, {MOST_UPDATES} at most.",
    )
    smoothness: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Smoothness",
        description="Above 1 keeps more noise out than its measured strength asks for, below 1 less.",
    )
    attenuation: Attenuation = attenuation_field("estimated")

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at the PSFs, and at transmissions that are given; see `look_at_psfs`."""
        return [*look_at_psfs(views), *look_at_transmissions(views, self.attenuation)]

    def context(self, views: RegisteredViews) -> Triple:
        """What a voxel visibly depends on: most of the reach of the PSFs."""
        return triple(max(n, _CONTEXT_VOXELS) for n in context_of_psfs(views))

    def precompute(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, JointUpdates]:
        """Scan the views, and find how noisy they are and how much light they lost.

        Raises
        ------
        InputError
            If a view is constant or negative somewhere.
        """
        yield from scan_light(views)
        transmission = yield from known_transmission(views, self.attenuation)
        most = None if self.iterations == "auto" else self.iterations
        updates = JointUpdates(views, transmission, device, iterations=most, smoothness=self.smoothness)
        yield Noted(f"the filter allows for noise of {updates.level:.2%} of what the views see best")
        return updates

    def halo(self, views: RegisteredViews, precomputed: JointUpdates) -> Triple:
        """What the cells need."""
        return precomputed.cells.halo

    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: JointUpdates) -> Steps:
        """One tile, cell by cell."""
        return precomputed.fuse(tile)

    def tile_bytes(self, tile_shape: Triple, views: RegisteredViews, precomputed: JointUpdates) -> int:
        """See `BoundMethod.working_bytes`."""
        return precomputed.working_bytes(tile_shape)

    def taken(self, precomputed: JointUpdates) -> set[int]:
        """After how many updates cells ended."""
        return precomputed.taken

    def outcome(self, precomputed: JointUpdates) -> str | None:
        """After how many updates it ended and why, where that was left to it."""
        return precomputed.outcome

    def release(self, precomputed: JointUpdates) -> None:
        """Drop transfer functions, and cells that are kept for the next tile."""
        precomputed.release()
