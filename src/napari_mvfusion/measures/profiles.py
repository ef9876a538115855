"""Values of volumes along a straight line, and curves of different gain brought together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report

# A diagonal through a large volume has a large bounding box: it is read in pieces whose boxes are small.
_PIECE_VOXELS = 48.0
_SAMPLES_PER_VOXEL = 2
_MOST_SAMPLES = 5000
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class ProfileCurve:
    """Values of one volume along a line.

    Attributes
    ----------
    name : of the volume
    distance : from the beginning of the line, micrometres, float64 (samples,)
    values : float32 (samples,), NaN outside the volume
    """

    name: str
    distance: np.ndarray
    values: np.ndarray

    def over_its_range(self) -> np.ndarray:
        """The values as shares of their range: the least is 0 and the greatest 1."""
        known = self.values[np.isfinite(self.values)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        return np.asarray((self.values - low) / (high - low if high > low else 1.0))

    def fitted_to(self, reference: ProfileCurve) -> np.ndarray:
        """The values, brought to those of another curve by scale and offset of least squares over what both know.

        They are left as they are where the two have no distance in common, or where one falls when the other rises.
        """
        known = np.isfinite(reference.values)
        if not known.any():
            return self.values
        x, y = reference.distance[known], reference.values[known]
        target = np.interp(self.distance, x, y, left=np.nan, right=np.nan)
        both = np.isfinite(target) & np.isfinite(self.values)
        moments = PairMoments()
        moments.add(target[both], self.values[both])
        scale, offset = moments.fit() if moments.count else (0.0, 0.0)
        return self.values * scale + offset if scale > 0 else self.values


def read_profiles(
    volumes: Sequence[PlacedVolume], ends_um: np.ndarray, report: Report
) -> Generator[list[ProfileCurve], None, None]:
    """Read one line through several volumes, about two samples a voxel of each, 5000 at most.

    Parameters
    ----------
    volumes : where they lie and how large their voxels are may differ
    ends_um : both ends of the line, (2, 3), world micrometres
    report : how far it is
    """
    length_um = float(np.linalg.norm(ends_um[1] - ends_um[0]))
    curves = []
    for number, volume in enumerate(volumes):
        report("Reading profiles", number / len(volumes))
        start, stop = volume.voxels(ends_um)
        samples = int(np.clip(_SAMPLES_PER_VOXEL * np.linalg.norm(stop - start) + 2, 2, _MOST_SAMPLES))
        values = line_profile(volume.data, start, stop, samples)
        curves.append(ProfileCurve(volume.name, np.linspace(0, length_um, samples), values))
    yield curves


def line_profile(
    volume: VolumeLike, start: Sequence[float], stop: Sequence[float], samples: int | None = None
) -> np.ndarray:
    """Values at evenly spaced points of a line, interpolated linearly between voxels.

    Parameters
    ----------
    volume : (z, y, x) of any real dtype; numpy, dask or zarr. Only small boxes round pieces of the line are read.
    start, stop : ends of the line, (z, y, x) in voxels; whole numbers are centres of voxels
    samples : number of points from one end to the other, both included; about two a voxel when None

    Returns
    -------
    float32 (samples,). NaN outside the volume, whose border is the outer face of its outermost voxels; within half a
        voxel of that face the value is that of the nearest centres.

    Raises
    ------
    InputError
        If the volume has not three axes, an end is not finite, or there are fewer than two samples.
    """
    shape = np.array(volume.shape)
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"a profile needs a volume with three axes (z, y, x), not one of shape {tuple(volume.shape)}")
    first, last = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    if first.shape != (3,) or last.shape != (3,) or not (np.isfinite(first).all() and np.isfinite(last).all()):
        raise InputError("both ends of a profile must be three finite coordinates (z, y, x)")
    length = float(np.linalg.norm(last - first))
    count = ceil(_SAMPLES_PER_VOXEL * length) + 1 if samples is None else samples
    if samples is None:
        count = max(count, 2)
    if count < 2:
        raise InputError(f"a profile needs two samples or more, not {count}")
    points = first + np.linspace(0, 1, count)[:, None] * (last - first)
    values = np.full(count, np.nan, np.float32)
    inside = np.flatnonzero(((points >= -_HALF) & (points <= shape - _HALF)).all(axis=1))
    if inside.size == 0:
        return values
    points = np.clip(points, 0, shape - 1)
    pieces = max(1, ceil(length * inside.size / count / _PIECE_VOXELS))
    for piece in np.array_split(inside, pieces):
        if piece.size:
            values[piece] = _interpolated(volume, points[piece])
    return values


def _interpolated(volume: VolumeLike, points: np.ndarray) -> np.ndarray:
    """Values at points inside the volume, (n, 3) in voxels, from the box round them."""
    low = np.floor(points.min(axis=0)).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, volume.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = np.asarray(volume[z, y, x]).astype(np.float32)
    return np.asarray(ndimage.map_coordinates(box, (points - low).T, order=1, mode="nearest"))
