"""Attenuation: the transmission of each view, how much of the specimen it saw, from the views alone.

Light that passes through a specimen is absorbed and scattered, the more the brighter the specimen is on its way. So
a view is darker on the side that its light reaches last, and views from other directions are not. With S the specimen
and L_v the sum of S along the way of the light to a voxel, view v saw `T_v S` of it, where

    log T_v = g_v - sum_d k_d L_vd

The ways d are the six directions along the own axes of a view: illumination along y or x, detection along z. Their
strengths k_d, not negative, are the same for all views, as they have one microscope; g_v is the gain of a view. They are
found on an overview of the volume by comparing views with each other, which needs no knowledge of S beyond its sums. PSFs
that differ must not be taken for attenuation, so every view is first blurred with the PSFs of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from scipy import ndimage, optimize

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import Overview, RegisteredViews
from napari_mvfusion.imaging import Blur
from napari_mvfusion.psf import resample_psf

# Own axis along which light travels, and whether it comes from the far end.
_WAYS = ((1, True), (1, False), (2, True), (2, False), (0, True), (0, False))
_MOST_WAYS = 2
# A way counts when it explains this share of what views differ by, or of what is left of that.
_LEAST_SHARE = 0.15
_ROUNDS = 6
# Cells; smooths what noise is left after the blur with all PSFs.
_SIGMA = 1.0
# Cells darker than this share of the brightest say nothing, and logarithms are taken this far from 0.
_DARK = 0.05
_NEARLY_DARK = 1e-3
# Pulls strengths and gains towards 0, in units of what the data say about them.
_PULL = 1e-3
_GAIN_PULL = 1e-6
_LEAST, MOST = 0.05, 8.0
# Views in which attenuation cannot be told from an edge of the field.
_COVERED = 0.99
_FEWEST_CELLS = 50


# What the brightest view of a place may have got, on average, relative to the specimen; from where on it is so much that
# one would miss it; and the share of what views differ by that may stay unexplained (root mean square). On simulated
# specimens that absorb where they shine it is up to 0.35. Where they do not, as an even body with a few bright cells, it
# was 0.43 and more, and allowing for what was found made the fused volume much worse.
_BRIGHTEST = 0.5, 2.0
_MUCH = 1.3
# Less is no matter, and is what noise and PSFs make of views that lost none (1.013 at most, in eight simulated sets of
# views); in two that lost light which explains too little it was 1.07 and 1.09.
_LITTLE = 1.03
_UNEXPLAINED = 0.4

# What was found last for an overview, or why it was refused, with all that it was found from.
_LAST: WeakKeyDictionary[Overview, tuple[object, Transmission | _RefusedError | None]] = WeakKeyDictionary()


class _RefusedError(Exception):
    """What was found is not used; the message says why.

    Attributes
    ----------
    doubtful : whether it would change much, and cannot be right; else it only explains little
    """

    def __init__(self, why: str, *, doubtful: bool = True) -> None:
        super().__init__(why)
        self.doubtful = doubtful


@dataclass(frozen=True, eq=False)
class Transmission:
    """How much of the specimen each view saw; what was found is relative to the mean over all views and voxels.

    Attributes
    ----------
    cell : voxels along a side of a cell
    values : float32 (view, z, y, x), one value a cell of the whole volume
    strengths : of each way of the light, in the order +y, -y, +x, -x, +z, -z, each named after the side of the view's own
        axis that it comes from: share of the light absorbed, logarithmic, over as many cells as the volume is wide, all as
        bright as the brightest; empty where the transmission was given
    """

    cell: int
    values: np.ndarray
    strengths: tuple[float, ...]

    @property
    def least_share(self) -> float:
        """Light of the darkest view over that of the brightest, where views differ most (but for 1 % of the cells)."""
        return float(np.percentile(self.values.min(axis=0) / self.values.max(axis=0), 1))

    @property
    def mean_share(self) -> float:
        """Mean of all values, where they are shares of the light, none above 1; 1 where they are relative to a mean."""
        return 1.0 if self.values.max() > 1 else float(self.values.mean(dtype=np.float64))

    def over(self, box: Box, device: torch.device) -> torch.Tensor:
        """That of all views: float32 (view, z, y, x) over a box of the whole volume, see `of`."""
        return torch.stack([self.of(view, box, device) for view in range(len(self.values))])

    def of(self, view: int, box: Box, device: torch.device) -> torch.Tensor:
        """That of one view: float32 (z, y, x) over a box of the whole volume.

        Interpolated linearly between the centres of cells, and the same beyond the outer ones.
        """
        places = [
            ((np.arange(start, stop) + 0.5) / self.cell - 0.5).clip(0, count - 1)
            for start, stop, count in zip(box.start, box.stop, self.values.shape[1:], strict=True)
        ]
        # Of a plane of a large volume all the others would be interpolated too.
        needed = tuple(slice(int(at[0]), int(at[-1]) + 2) for at in places)
        values = torch.from_numpy(np.ascontiguousarray(self.values[view][needed])).to(device)
        # z last: arrays grow as late as possible.
        for axis in (2, 1, 0):
            count = values.shape[axis]
            at = places[axis] - needed[axis].start
            below = at.astype(np.int64)
            low = values.index_select(axis, torch.from_numpy(below).to(device))
            high = values.index_select(axis, torch.from_numpy(np.minimum(below + 1, count - 1)).to(device))
            share = torch.from_numpy((at - below).astype(np.float32)).to(device)
            values = low.lerp_(high, share.reshape([-1 if a == axis else 1 for a in range(3)]))
        return values

    def mean(self, trust: Sequence[float]) -> Transmission:
        """The mean over all views as that of a single one, which counts views by how much they are trusted."""
        mean = np.tensordot(np.asarray(trust, np.float64) / np.sum(trust), self.values, 1)
        return replace(self, values=mean[None].astype(np.float32))


def find_transmission(views: RegisteredViews) -> Transmission | None:
    """Find the transmission of each view.

    Parameters
    ----------
    views : with their statistics known, and PSFs

    Returns
    -------
    None where no light is missing, or it cannot be known: a view has no angle or no PSF, there are fewer than two
    views, no overview of the whole volume, or what was found cannot be right (`doubt_about_transmission` says why).
    """
    found = _found(views)
    return found if isinstance(found, Transmission) else None


def possible_transmission(views: RegisteredViews) -> Transmission | None:
    """What stands for the transmission that pixels which nobody has read may tell; None where they cannot tell any."""
    return uniform_transmission(views) if _can_be_found(views) else None


def uniform_transmission(views: RegisteredViews) -> Transmission:
    """The transmission of views that got all of their light: it takes as much memory where it is used as any other one."""
    return Transmission(max(views.grid.shape), np.ones((len(views), 1, 1, 1), np.float32), ())


def _can_be_found(views: RegisteredViews) -> bool:
    return len(views) > 1 and all(view.angle is not None and view.psf is not None for view in views.views)


def doubt_about_transmission(views: RegisteredViews) -> str:
    """Why the attenuation was looked for and not found, in a line; empty where that is not so."""
    found = _found(views)
    if not isinstance(found, _RefusedError) or not found.doubtful:
        return ""
    return f"the attenuation of the views cannot be told from other differences: {found}; it is taken as none"


def faint_transmission(views: RegisteredViews) -> str:
    """That a little lost light was found and explains too little to be used, in a line; empty where that is not so."""
    found = _found(views)
    if not isinstance(found, _RefusedError) or found.doubtful:
        return ""
    return f"lost light was looked for, but what looks like it {found}: it is taken as none"


def lacking_for_transmission(views: RegisteredViews) -> str:
    """Which view lacks the angle or the PSF that `find_transmission` needs, in a line; empty where none does."""
    for view in views.views:
        lacking = "angle" if view.angle is None else "PSF" if view.psf is None else ""
        if lacking:
            return f"{view.label} has no {lacking}, without which lost light cannot be found: give it one"
    return ""


def why_no_transmission(views: RegisteredViews) -> str:
    """Why `find_transmission` finds none, in a line that says what would help; empty where it finds one."""
    if find_transmission(views) is not None:
        return ""
    if len(views) < 2:
        return "lost light is found by comparing views, and there is one: give two or more"
    return (
        lacking_for_transmission(views)
        or doubt_about_transmission(views)
        or faint_transmission(views)
        or ("the views do not differ as if they had lost light in the specimen: it is taken as none")
    )


def _found(views: RegisteredViews) -> Transmission | _RefusedError | None:
    overviews = [numbers.overview for numbers in views.statistics()]
    known = [overview for overview in overviews if overview is not None]
    psfs = [view.psf for view in views.views if view.psf is not None]
    angles = [view.angle for view in views.views if view.angle is not None]
    if not _can_be_found(views) or len(known) < len(views):
        return None
    # Previews and blocks of one volume ask again and again.
    key = (tuple(map(ref, known)), tuple(psf.tobytes() for psf in psfs), tuple(angles), views.grid.voxel_size_um)
    last = _LAST.get(known[0])
    if last is None or last[0] != key:
        found: Transmission | _RefusedError | None
        try:
            found = _Fit(known, psfs, angles, views.grid.voxel_size_um).run()
        except _RefusedError as refused:
            # Its traceback would keep all arrays of the fit.
            found = refused.with_traceback(None)
        except np.linalg.LinAlgError:
            found = _RefusedError("the equations have no solution")
        last = _LAST[known[0]] = (key, found)
    return last[1]


class _Fit:
    """Fits the model to overviews; all arrays are float64 (view, z, y, x) or (view, way, z, y, x)."""

    def __init__(
        self,
        overviews: Sequence[Overview],
        psfs: Sequence[np.ndarray],
        angles: Sequence[float],
        voxel_size: tuple[float, float, float],
    ) -> None:
        self._cell = overviews[0].cell
        self._angles = angles
        self._size = np.asarray(voxel_size) / min(voxel_size)
        covered = np.stack([overview.covered for overview in overviews])
        views = np.stack([overview.values for overview in overviews]).astype(np.float64)
        shared = (views * covered).sum(axis=0) / np.maximum(covered.sum(axis=0), 1e-6)
        self._views = np.where(covered > 0, views, shared)
        coarse = [resample_psf(psf, np.eye(3) / self._cell) if self._cell > 1 else psf for psf in psfs]
        shape = triple(views.shape[1:])
        # The blur of every view with the PSF of the view that comes s places after it.
        self._blurs = [Blur(coarse[s:] + coarse[:s], shape, "mirror") for s in range(len(coarse))]
        light = self._views.mean(axis=0)
        self._chosen = (light > _DARK * light.max()) & (covered.min(axis=0) >= _COVERED)
        self._weights = np.sqrt(light[self._chosen])

    def run(self) -> Transmission | None:
        """See `find_transmission`."""
        if self._chosen.sum() < _FEWEST_CELLS:
            return None
        seen = self._logarithm(self._equally_blurred(self._views, 1))
        ways = self._choose(seen)
        if not ways:
            return None
        count = len(self._views)
        transmission = np.ones_like(self._views)
        strengths, gains = np.zeros(len(ways)), np.zeros(count)
        unit = float(self._views.mean(axis=0).max()) * max(self._views.shape[1:])
        for number in range(_ROUNDS):
            specimen = self._views.mean(axis=0) / transmission.mean(axis=0)
            lengths = np.stack([self._lengths(specimen / unit, angle, ways) for angle in self._angles])
            missing = seen
            if number:
                # What the model does not say yet; blurred as the views are, so that the blur is no part of it.
                missing = seen - self._logarithm(self._equally_blurred(transmission * specimen, 0))
            change, _ = self._solve(missing, lengths, np.concatenate([strengths, gains]))
            strengths, gains = change[: len(ways)], change[len(ways) :]
            with np.errstate(over="ignore"):
                transmission = np.exp(gains[:, None, None, None] - np.tensordot(lengths, strengths, ([1], [0])))
            # The light of the result is the mean of the light of the views.
            light = self._views.mean(axis=0)
            with np.errstate(all="ignore"):
                transmission *= (light / transmission.mean(axis=0)).sum() / light.sum()
            if not np.isfinite(transmission).all() or not transmission.mean(axis=0).all():
                raise _RefusedError("it gave no finite number")
        if not strengths.any():
            return None
        if not self._explains(seen, transmission, gains):
            return None
        found = np.zeros(len(_WAYS))
        found[ways] = strengths
        return Transmission(self._cell, transmission.clip(_LEAST, MOST).astype(np.float32), tuple(found.tolist()))

    def _explains(self, seen: np.ndarray, transmission: np.ndarray, gains: np.ndarray) -> bool:
        """Whether it explains most of what views differ by; refuses what cannot be right, or matters and does not."""
        light = self._views.mean(axis=0) * self._chosen
        # With another exposure a view may well be brighter than the specimen; that is no light that it found.
        exposure = np.exp(gains) / np.exp(gains).mean()
        on_its_way = transmission / exposure[:, None, None, None]
        brightest = float((on_its_way.max(axis=0) * light).sum() / light.sum())
        if not _BRIGHTEST[0] < brightest < _BRIGHTEST[1]:
            raise _RefusedError(f"the brightest view would have {brightest:.2g} times the light of the specimen")
        specimen = self._views.mean(axis=0) / transmission.mean(axis=0)
        left = seen - self._logarithm(self._equally_blurred(transmission * specimen, 0))
        before, after = (float(np.sqrt(self._differences(each))) for each in (seen, left))
        if after <= _UNEXPLAINED * before:
            return True
        if brightest > _LITTLE:
            much = brightest > _MUCH
            it = "it " if much else ""
            raise _RefusedError(f"{it}leaves {after / before:.0%} of what views differ by unexplained", doubtful=much)
        return False

    def _differences(self, values: np.ndarray) -> float:
        """Squares of what views differ by beyond a gain, where there is light."""
        apart = (values - values.mean(axis=0))[:, self._chosen]
        apart = apart - np.average(apart, axis=1, weights=self._weights**2)[:, None]
        return float((np.square(apart) * self._weights**2).sum())

    def _choose(self, seen: np.ndarray) -> list[int]:
        """The ways that explain most of what views differ by, each of them a good part of it."""
        specimen = self._views.mean(axis=0)
        unit = float(specimen.max()) * max(specimen.shape)
        every = list(range(len(_WAYS)))
        lengths = np.stack([self._lengths(specimen / unit, angle, every) for angle in self._angles])
        chosen: list[int] = []
        _, left = self._solve(seen, lengths[:, []], np.zeros(len(self._views)))
        while len(chosen) < _MOST_WAYS:
            tried = {}
            for way in every:
                if way not in chosen:
                    ways = [*chosen, way]
                    start = np.zeros(len(ways) + len(self._views))
                    tried[way] = self._solve(seen, lengths[:, ways], start)[1]
            best = min(tried, key=lambda way: tried[way])
            if tried[best] > (1 - _LEAST_SHARE) * left:
                break
            chosen.append(best)
            left = tried[best]
        return chosen

    def _solve(self, missing: np.ndarray, lengths: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        """Strengths and gains that explain what is missing from a start, and the squares that they leave."""
        count, ways = lengths.shape[:2]
        missing = missing - missing.mean(axis=0)
        relative = lengths - lengths.mean(axis=0)
        columns = []
        for v in range(count):
            mine = [-relative[v, way][self._chosen] * self._weights for way in range(ways)]
            mine += [((u == v) - 1 / count) * self._weights for u in range(count)]
            columns.append(np.stack(mine, axis=1))
        matrix = np.concatenate(columns)
        wanted = np.concatenate([missing[v][self._chosen] * self._weights for v in range(count)]) + matrix @ start
        squares = matrix.T @ matrix
        pull = [_PULL * np.trace(squares[:ways, :ways])] * ways + [_GAIN_PULL * np.trace(squares)] * count
        root = np.linalg.cholesky(squares + np.diag(np.maximum(pull, 1e-12 * np.trace(squares))))
        lower = np.concatenate([np.zeros(ways), np.full(count, -np.inf)])
        found = optimize.lsq_linear(
            root.T, np.linalg.solve(root, matrix.T @ wanted), bounds=(lower, np.inf), method="bvls"
        ).x
        return found, float(np.square(matrix @ found - wanted).sum())

    def _equally_blurred(self, volumes: np.ndarray, first: int) -> np.ndarray:
        """Each volume blurred with the PSFs of all views; with `first` 1, of all others."""
        blurred = torch.from_numpy(volumes.astype(np.float32))
        for blur in self._blurs[first:]:
            blurred = blur.each(blurred)
        return np.stack([ndimage.gaussian_filter(volume, _SIGMA) for volume in blurred.numpy().astype(np.float64)])

    def _logarithm(self, volumes: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(volumes.clip(min=0) + _NEARLY_DARK * volumes.max()))

    def _lengths(self, specimen: np.ndarray, angle: float, ways: Sequence[int]) -> np.ndarray:
        """Sum of the specimen before each cell, along some of `_WAYS`: (way, z, y, x)."""
        shape = specimen.shape
        z, y, x = (int(np.ceil(n * s)) for n, s in zip(shape, self._size, strict=True))
        side = int(np.ceil(np.hypot(z, y))) + 2
        own_shape: Triple = (side, side, x)
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        # Columns: where the own axes z, y and x point in the fused volume, in its cells.
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) / self._size[:, None]
        middle, own_middle = (np.array(shape) - 1) / 2, (np.array(own_shape) - 1) / 2
        own = ndimage.affine_transform(specimen, turn, middle - turn @ own_middle, own_shape, order=1)
        back = np.linalg.inv(turn)
        found = []
        for axis, far in (_WAYS[way] for way in ways):
            one = np.flip(own, axis) if far else own
            before = np.cumsum(one, axis) - 0.5 * one
            before = np.flip(before, axis) if far else before
            offset = own_middle - back @ middle
            found.append(ndimage.affine_transform(before, back, offset, shape, order=1, mode="nearest"))
        return np.stack(found)
