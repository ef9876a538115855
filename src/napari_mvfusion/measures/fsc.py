"""Resolution without ground truth: Fourier shell correlation of two volumes whose noise is independent, along each axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import ALL_KNOWN, Box, Grid
from napari_mvfusion.errors import InputError

AXES = "zyx"
THRESHOLD = 1 / 7
"""Where the correlation of two halves falls below it, all of the light correlates with the truth by less than one half."""
HALF_ANGLE = 30.0
"""Of the cones about the axes, degrees."""

Outcome = Literal["found", "finer than two voxels", "no signal", "too few voxels"]

# Fewer periods of the coarsest pattern than that tell nothing.
_FEWEST_VOXELS = 16
_SMOOTH = (1.0, 2.0, 1.0)
# Noise alone gives more evidence than that in less than one case of 5,000.
_SURE = 8.0
# Where there are few waves, noise correlates by more than the threshold too.
_SPREADS = 2.0


@dataclass(frozen=True, eq=False)
class AxisResolution:
    """The resolution along one axis, and the curve it was read from.

    Attributes
    ----------
    axis : "z", "y" or "x"
    outcome : whether there is a number, or why there is none
    period : of the finest pattern along the axis in which both halves agree, in `unit`; None where there is none
    unit : "µm", or "voxels" where the voxel size of the axis is not known
    voxel : size of a voxel in the unit
    frequency : (n,), in periods a unit, ascending up to two voxels a period
    correlation : (n,), of the two halves, smoothed
    """

    axis: str
    outcome: Outcome
    period: float | None
    unit: str
    voxel: float
    frequency: np.ndarray
    correlation: np.ndarray

    @property
    def text(self) -> str:
        """The number with its unit, or words where there is none."""
        if self.period is not None:
            return f"{self.number} {self.unit}"
        return f"finer than {2 * self.voxel:.3g} {self.unit}" if self.outcome.startswith("finer") else self.outcome

    @property
    def number(self) -> str:
        """The number alone, to three digits; empty where there is none."""
        return "" if self.period is None else f"{self.period:#.3g}".rstrip(".")


@dataclass(frozen=True, eq=False)
class Resolution:
    """The resolution of a fused volume along z, y and x, by Fourier shell correlation of two halves of the light.

    Attributes
    ----------
    axes : in this order
    box : the part of the volume that was looked at, None for all of it
    caution : what may make a number too fine here, a sentence; "" where nothing is known to
    """

    axes: tuple[AxisResolution, AxisResolution, AxisResolution]
    box: Box | None = None
    caution: str = ""

    @property
    def sentence(self) -> str:
        """All three axes in a line."""
        each = ", ".join(f"{one.axis} {one.text}" for one in self.axes)
        return f"Resolution along {each} (Fourier shell correlation of two halves of the light, 1/7{self.where})"

    @property
    def where(self) -> str:
        """Of which part of the volume it is, after a comma; empty where it is of all."""
        if self.box is None:
            return ""
        ranges = ", ".join(f"{a} to {b - 1}" for a, b in zip(self.box.start, self.box.stop, strict=True))
        return f", in the part with voxels z, y, x from {ranges}"

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and words, by axis, as "caution", and as "box": first voxel and the one after the last, or None."""
        box = None if self.box is None else [list(self.box.start), list(self.box.stop)]
        return {"box": box, "caution": self.caution} | {
            one.axis: {
                "resolution": one.period,
                "outcome": one.outcome,
                "unit": "um" if one.unit == "µm" else one.unit,
                "frequency": [float(f) for f in one.frequency],
                "correlation": [float(c) for c in one.correlation],
            }
            for one in self.axes
        }


def resolution_of_halves(
    first: np.ndarray, second: np.ndarray, grid: Grid, *, progress: Callable[[float], None] = lambda share: None
) -> Resolution:
    """Find the finest pattern along each axis in which two volumes of one specimen agree, whose noise is independent.

    Volumes fade out at their border and are taken apart into plane waves. Of those whose direction is within
    `HALF_ANGLE` of an axis, the ones of equal frequency along this axis are correlated: conical Fourier shell
    correlation, in planes across the axis (as in Fourier plane correlation) and not in spherical shells, which would
    find 15 % too much where a volume is blurred along the axis alone. The curve is smoothed over three frequencies,
    each weighted with its number of waves, and the resolution is where it first falls below `THRESHOLD`, or below twice
    the spread of noise where waves are few, for two frequencies, interpolated; what rises again beyond does not count.
    The threshold is that of halves of the data: with 1/7, the whole would correlate with the truth by 1/2. There is no
    signal where the curve is nowhere above it, or no more so than noise can be. Frequencies are blurred by one period a
    side of the volume, so a sharp limit seems that much finer than it is.

    Patterns count that both halves have, whatever made them: borders of fields, hot pixels or what a method invents count
    as the specimen does.

    Parameters
    ----------
    first, second : float (z, y, x) of the shape of the grid, in any units
    grid : its voxel sizes make micrometres
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work

    Returns
    -------
    Resolution. Takes about 40 bytes a voxel.

    Raises
    ------
    InputError
        If the shapes are not that of the grid, or a value is not finite.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333 (2003), 721: the threshold of halves. Nieuwenhuizen et al., Nature Methods 10
    (2013), 557: in light microscopy, and in planes. Diebolder et al., J. Struct. Biol. 190 (2015), 215: in cones. Koho et
    al., Nature Communications 10 (2019), 3103: along directions, of light-sheet and confocal images.
    """
    shape = grid.shape
    for volume in (first, second):
        if volume.shape != shape:
            raise InputError(f"a half has shape {volume.shape}, but its grid {shape}: they do not belong together")
        if not np.isfinite(volume).all():
            raise InputError("a half of the light was fused to values that are not finite: no resolution can be found")
    waves = []
    for number, volume in enumerate((first, second)):
        waves.append(_waves(volume))
        progress((number + 1) / 4)
    # Of a real volume half of the waves along x are the mirror images of the others.
    twice = np.full(shape[2] // 2 + 1, 2.0)
    twice[0] = 1
    if shape[2] % 2 == 0:
        twice[-1] = 1
    together = twice * (waves[0].real * waves[1].real + waves[0].imag * waves[1].imag)
    powers = [twice * (one.real**2 + one.imag**2) for one in waves]
    size = grid.voxel_size_um if grid.known == ALL_KNOWN else (1.0, 1.0, 1.0)
    squares = [
        (np.fft.rfftfreq(n, s) if axis == 2 else np.fft.fftfreq(n, s)) ** 2
        for axis, (n, s) in enumerate(zip(shape, size, strict=True))
    ]
    square = sum(np.expand_dims(each, [a for a in range(3) if a != axis]) for axis, each in enumerate(squares))
    independent = np.prod([_independent(n) for n in shape])
    found = []
    for axis, n in enumerate(shape):
        along = np.expand_dims(squares[axis], [a for a in range(3) if a != axis])
        inside = (along >= np.cos(np.radians(HALF_ANGLE)) ** 2 * square) & (along > 0)
        sums = [_planes(values * inside, axis, n) for values in (together, *powers, twice)]
        known = grid.known[axis]
        voxel = grid.voxel_size_um[axis] if known else 1.0
        # A mirror image is no other wave, and those that the fading border smears are not independent either.
        waves_in = sums[3] / 2 * independent
        found.append(_read_off(AXES[axis], sums[0], sums[1] * sums[2], waves_in, n, voxel, "µm" if known else "voxels"))
        progress((axis + 2) / 4)
    return Resolution((found[0], found[1], found[2]))


def _waves(volume: np.ndarray) -> np.ndarray:
    """The Fourier transform of a volume without its mean, whose border fades out."""
    windows = [_window(n) for n in volume.shape]
    weight = np.einsum("i,j,k->ijk", *windows, dtype=np.float32)
    values = np.asarray(volume, np.float32)
    # Volumes in extreme units have squares beyond float32.
    values = values / (np.abs(values).max(initial=0) or 1)
    mean = np.vdot(values, weight) / weight.sum(dtype=np.float64)
    return np.asarray(fft.rfftn((values - np.float32(mean)) * weight))


def _window(n: int) -> np.ndarray:
    """Hann's window, float32 (n,): coarse patterns are far stronger than fine ones, and others let them leak."""
    return np.sin(np.pi * (np.arange(n, dtype=np.float64) + 0.5) / n).astype(np.float32) ** 2


def _independent(n: int) -> float:
    """The share of the frequencies along an axis that are independent under the window."""
    window = _window(n).astype(np.float64)
    return float((window**2).mean() ** 2 / (window**4).mean())


def _planes(values: np.ndarray, axis: int, n: int) -> np.ndarray:
    """Sums over planes across an axis by frequency along it, without regard to its sign: (n // 2,), from 1 on."""
    sums = values.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
    if axis == 2:
        return np.asarray(sums[1:])
    folded = sums[1 : n // 2 + 1].copy()
    negative = sums[: -(n // 2) - 1 : -1]
    folded += negative
    if n % 2 == 0:
        folded[-1] = sums[n // 2]
    return np.asarray(folded)


def _read_off(
    axis: str, together: np.ndarray, powers: np.ndarray, waves: np.ndarray, n: int, voxel: float, unit: str
) -> AxisResolution:
    """Smooth the curve of an axis, and find where it falls below the threshold."""
    frequency = np.arange(1, len(together) + 1) / (n * voxel)
    curve = np.divide(together, np.sqrt(powers), out=np.zeros_like(together), where=powers > 0)
    # Of all waves up to a frequency together, n in number, noise correlates by more than r with a chance of about
    # (1 - r^2)^n / 2: minus its logarithm is the evidence that there is a signal.
    number = np.maximum(np.cumsum(waves), np.finfo(float).tiny)
    mean = np.cumsum(curve * waves) / number
    evidence = np.where(mean > 0, -number * np.log1p(-np.minimum(mean**2, 1 - 1e-12)), 0)
    kernel = np.array(_SMOOTH)
    known = np.maximum(np.convolve(waves, kernel, "same"), np.finfo(float).tiny)
    curve = np.convolve(curve * waves, kernel, "same") / known
    outcome: Outcome
    period = None
    limit = np.maximum(THRESHOLD, _SPREADS * np.sqrt(np.convolve(waves, kernel**2, "same") / 2) / known)
    above = curve >= limit
    sure = np.flatnonzero(above & (evidence > _SURE))
    if n < _FEWEST_VOXELS:
        outcome = "too few voxels"
    elif not len(sure):
        outcome = "no signal"
    elif not (falls := np.flatnonzero(~above[sure[0] :] & ~np.append(above[sure[0] + 1 :], False))).size:
        outcome = "finer than two voxels"
    else:
        outcome = "found"
        below = int(sure[0] + falls[0])
        margin = curve - limit
        share = margin[below - 1] / (margin[below - 1] - margin[below])
        period = float(1 / (frequency[below - 1] + share * (frequency[below] - frequency[below - 1])))
    return AxisResolution(axis, outcome, period, unit, voxel, frequency, curve)
