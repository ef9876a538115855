"""Make a PSF ready to fuse with, and say what was done to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.psf.centre import Core, around, centre_of, find_core
from napari_mvfusion.psf.hot_voxels import remove_hot_of_psf
from napari_mvfusion.psf.kernel import DEFAULT_ENERGY, check_light, crop_psf, hot_voxels
from napari_mvfusion.psf.noise import cut_noise, look_at_rim
from napari_mvfusion.psf.resample import resample_psf

# Voxels that differ by less than this share are of one size.
_SAME_SIZE = 0.01
# Voxel sizes that differ more were most likely entered in different units.
_LARGEST_RATIO = 50.0
_MOST_VOXELS = 2**26
# Before interpolation this share of what may be cropped is cropped: it only saves time.
_FIRST_CROP = 0.1
_FLAT = 4


@dataclass(frozen=True, eq=False)
class PreparedPSF:
    """A PSF that is ready to fuse with, and what was done to it, in words."""

    psf: np.ndarray
    notes: tuple[str, ...]


def prepare_values(
    raw: np.ndarray,
    *,
    name: str | None = None,
    energy: float = DEFAULT_ENERGY,
    voxel_size_um: FloatTriple | None = None,
    grid_size_um: FloatTriple | None = None,
    turn: np.ndarray | None = None,
) -> PreparedPSF:
    """Make a PSF ready to fuse with; `napari_mvfusion.prepare_psf` does it with a file too.

    Hot voxels are removed, then background and noise. The centre, which is the centroid of the core, is moved to the
    middle, to parts of a voxel, unless the middle of an odd side is close to it (see `centre_of`). A PSF of other
    voxels than the views is resampled to theirs.

    Parameters
    ----------
    raw : (z, y, x)
    name : how to call it in a message
    energy : share of the sum that the crop keeps
    voxel_size_um : (z, y, x) of the PSF; None where that is not known
    grid_size_um : (z, y, x) of the fused volume; None where that is not known: the PSF is then used voxel for voxel
    turn : 3 x 3, the directions of its axes (z, y, x) in the fused volume as columns, where these are others

    Returns
    -------
    float32 PSF with odd sides and sum 1, and notes on what was done.

    Raises
    ------
    InputError
        If it cannot be used, has two peaks of like height, or its voxels and those of the grid differ so much
        that a unit must be wrong.
    """
    called = name or "an array"
    check_light(raw, called)
    cleaned = remove_hot_of_psf(raw)
    notes = [f"{hot_voxels(len(cleaned.hot))} removed"] if len(cleaned.hot) else []
    values, said = _cleared(np.asarray(cleaned.values, np.float64), called)
    core = _core_of(values, called)
    if core.flat >= _FLAT:
        said.append(f"flat top of {core.flat} voxels left as it is: measure it again with less light")
    centre = centre_of(triple(raw.shape), core)
    ratio = _ratio(voxel_size_um, grid_size_um, called)
    matrix = _onto_grid(ratio, turn, grid_size_um)
    psf, moved = _centred(values, centre, energy, matrix, called)
    notes += said
    shift = tuple(round(n // 2 - c, 2) for n, c in zip(raw.shape, centre, strict=True))
    if any(shift):
        notes.append(f"centre moved to the middle by ({', '.join(f'{s:g}' for s in shift)}) voxels (z, y, x)")
    if turn is not None:
        notes.append("turned as its view is")
    if ratio is not None and voxel_size_um is not None and grid_size_um is not None:
        notes.append(f"resampled from voxels of {_times(voxel_size_um)} to {_times(grid_size_um)} um")
    elif voxel_size_um is None and grid_size_um is not None:
        notes.append("used voxel for voxel, as its voxel size is not known")
    if psf.shape != raw.shape:
        kept = f", which keeps {energy:.1%} of its energy" if not moved else ""
        notes.append(f"cropped from {tuple(raw.shape)} to {tuple(psf.shape)}{kept}")
    total = float(raw.sum(dtype=np.float64))
    if abs(total - 1) > 1e-3:
        notes.append(f"sum brought from {total:.4g} to 1")
    return PreparedPSF(psf, tuple(notes))


def clean_psf(
    psf: np.ndarray, *, background: bool = True, centre: bool = True, energy: float = DEFAULT_ENERGY
) -> np.ndarray:
    """Make a PSF that images can be blurred with: no background or noise, its centre in the middle, small, sum 1.

    Parameters
    ----------
    psf : (z, y, x)
    background : subtract the level of the outer shell where it holds a noticeable share, and cut what noise explains;
        negative values become 0
    centre : move the centroid of the core to the middle, where it is not close to it. The core and not the whole: views
        are registered by their structures, which appear at the core, while asymmetric tails pull the centre of mass away
    energy : share of the sum that the crop keeps

    Returns
    -------
    float32 (z, y, x), odd sides, sum 1. Cleaning it again changes nothing but what the crop leaves out.

    Raises
    ------
    InputError
        If it holds no light, or has two peaks of like height.
    """
    values = np.asarray(psf, np.float64)
    values = _cleared(values, "an array")[0] if background else np.maximum(values, 0)
    middle = triple(n // 2 for n in values.shape)
    place: FloatTriple = (float(middle[0]), float(middle[1]), float(middle[2]))
    if centre:
        place = centre_of(triple(values.shape), _core_of(values, "an array"))
    return _centred(values, place, energy, None, "an array")[0]


def _cleared(values: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Without background and noise, not negative; and what was done."""
    rim = look_at_rim(values)
    notes = []
    if rim.level:
        notes.append(f"background {rim.level:.4g} subtracted")
        values = values - rim.level
    if rim.noise > 0:
        notes.append(
            f"noise of standard deviation {rim.noise:.3g} cut, as it would become haze ({rim.haze:.0%} of the light)"
        )
        values = cut_noise(values, rim.noise)
    elif values.min() < 0 and not rim.level:
        notes.append("negative values set to 0")
    values = np.maximum(values, 0)
    if not values.any():
        raise InputError(f"the PSF of {name} does not stand out of its background and noise: measure it again")
    return values, notes


def _core_of(values: np.ndarray, name: str) -> Core:
    core = find_core(values)
    if core.rivals:
        places = " and ".join(str(place) for place in (triple(round(c) for c in core.centre), *core.rivals))
        raise InputError(
            f"the PSF of {name} has separate peaks of like height at {places} (z, y, x), so its centre cannot be told: "
            "crop it to one of them"
        )
    return core


def _ratio(own: FloatTriple | None, grid: FloatTriple | None, name: str) -> np.ndarray | None:
    """Voxels of the grid in one of the PSF, along each axis; None where they are the same or not known."""
    if own is None or grid is None:
        return None
    ratio = np.divide(own, grid)
    if np.abs(ratio - 1).max() <= _SAME_SIZE:
        return None
    if ratio.max() > _LARGEST_RATIO or ratio.min() < 1 / _LARGEST_RATIO:
        raise InputError(
            f"the PSF of {name} has voxels of {_times(own)} um, and the views of {_times(grid)} um (z, y, x): "
            "check the voxel sizes and their units"
        )
    return ratio


def _onto_grid(ratio: np.ndarray | None, turn: np.ndarray | None, grid: FloatTriple | None) -> np.ndarray | None:
    """3 x 3, from offsets in voxels of a PSF to those in voxels of the grid; None where these are the same."""
    if turn is None:
        return None if ratio is None else np.diag(ratio)
    own = np.ones(3) if ratio is None else ratio
    sides = np.ones(3) if grid is None else np.asarray(grid)
    # Along its own axes the PSF has sides of own x sides, and the grid along those of the world has sides.
    matrix: np.ndarray = turn * (own * sides) / sides[:, None]
    return matrix


def _centred(
    values: np.ndarray, centre: FloatTriple, energy: float, matrix: np.ndarray | None, name: str
) -> tuple[np.ndarray, bool]:
    """The centre in the middle, cropped, sum 1; and whether it was resampled to other voxels."""
    voxel = triple(round(c) for c in centre)
    rest = np.subtract(centre, voxel)
    psf = around(values, voxel)
    if matrix is not None or rest.any():
        psf = crop_psf(psf, 1 - (1 - energy) * _FIRST_CROP)
        onto = np.eye(3) if matrix is None else matrix
        sides = np.abs(onto) @ np.asarray(psf.shape)
        if float(np.prod(sides)) > _MOST_VOXELS:
            raise InputError(
                f"the PSF of {name} would have {np.rint(sides).astype(int).tolist()} voxels on "
                "the grid of the views: check its voxel size, or crop it"
            )
        middle = np.array(psf.shape) // 2 + rest
        psf = resample_psf(psf, onto, centre=middle).astype(np.float64)
    psf = crop_psf(psf, energy)
    return np.ascontiguousarray(psf / psf.sum(), np.float32), matrix is not None


def _times(size: FloatTriple) -> str:
    return " x ".join(f"{s:g}" for s in size)
