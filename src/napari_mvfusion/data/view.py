"""One registered view: lazy pixels, and all that is known of how they were recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.field_of_view import NO_DATA, NoData, VolumeLike
from napari_mvfusion.data.geometry import Triple, is_flat, triple
from napari_mvfusion.errors import InputError

# Far beyond these, sums of weighted pixels leave the range of float32.
_LEAST_WEIGHT = 1e-6
_MOST_WEIGHT = 1e6
_LEAST_GAIN = 1e-6
_MOST_GAIN = 1e6
_MOST_OFFSET = 1e30
# Kinds of types of numpy: bool, signed and unsigned, floating point.
_REAL = "buif"


def check_real(volume: VolumeLike, called: str) -> None:
    """Refuse a volume whose values are no real numbers; `called` is what a message calls it."""
    if np.dtype(volume.dtype).kind not in _REAL:
        raise InputError(f"the values of {called} are of type {volume.dtype}: real numbers are needed")


@dataclass(frozen=True, eq=False)
class View:
    """One registered recording of the specimen.

    Attributes
    ----------
    data : array (z, y, x) of any real dtype; numpy, dask, zarr or a memory map
    name : unique among the views, used in messages and tables
    psf : float array (z, y, x) with odd sizes, or None. The PSF in the frame of the fused volume, on its voxels.
    angle : direction of the detection axis about x, degrees, or None
    affine : 4 x 4 matrix from voxel index (z, y, x, 1) of `data` to world micrometres, or None when
        `data` already lies on the grid of the fused volume
    weight : relative trust in this view, above 0
    offset : camera offset, in the units of `data`; subtracted when pixels are read, and what falls below it becomes 0.
        0 leaves the pixels untouched.
    mask : array (z, y, x), neither 0 nor NaN where `data` holds a measurement, or None when every pixel does. What lies
        outside may be anything, NaN too.
    source : the file or layer that the view came from, for messages
    gain : what pixels are divided by when they are read, after the offset: how many times as bright as the others it is
    remove_hot : read the median of its neighbours in the place of each hot pixel; see `napari_mvfusion.data.hot_pixels`
    psf_notes : what was done to the PSF before it became this one, in words
    psf_flaw : why the PSF that was given cannot be used, in words; `psf` is None then
    no_data : which pixels are no measurement either: "none"; every "0"; every "nan"; or "auto", what is recognised:
        where 0 lies outside the field of the view (see `RegisteredViews.detect_no_data`), and NaN where some reach the
        border of the volume. A mask takes the place of "auto". Values are those of `data`, before the camera offset.
    trust : array (z, y, x) from 0 to 1, how much the view counts at each of its pixels beside its weight, or None where that
        is the same everywhere; see `napari_mvfusion.data.trust`
    no_data_stated : whether its file or somebody says so, be it "none" or "auto"; files that are written then say it too
    transmission : array (z, y, x) on the voxels of the fused volume, above 0: the share of the light of each voxel of the
        specimen that reached this view, at most 1, or relative to the mean of all views, at most 8. None where it is not
        known beforehand. Methods use it where they are told to.
    trust_source, transmission_source, psf_source : the files or layers that these three came from, for messages
    """

    data: VolumeLike
    name: str
    psf: np.ndarray | None = None
    angle: float | None = None
    affine: np.ndarray | None = None
    weight: float = 1.0
    offset: float = 0.0
    mask: VolumeLike | None = None
    source: str = ""
    remove_hot: bool = False
    psf_notes: tuple[str, ...] = ()
    psf_flaw: str = ""
    gain: float = 1.0
    no_data: NoData = "none"
    trust: VolumeLike | None = None
    no_data_stated: bool = False
    transmission: VolumeLike | None = None
    trust_source: str = ""
    transmission_source: str = ""
    psf_source: str = ""

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise InputError(
                f"{self.label} has {len(self.data.shape)} axes {tuple(self.data.shape)}: "
                "a view needs exactly three (z, y, x); pick one channel and time point"
            )
        if 0 in self.data.shape:
            raise InputError(f"{self.label} is empty: its shape is {tuple(self.data.shape)}")
        check_real(self.data, self.label)
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise InputError(f"{self.label} has weight {self.weight}: give a positive one, or leave the view out")
        if not _LEAST_WEIGHT <= self.weight <= _MOST_WEIGHT:
            raise InputError(
                f"{self.label} has weight {self.weight:g}: give one from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:,.0f}; only how "
                "weights relate to each other matters"
            )
        if not abs(self.offset) <= _MOST_OFFSET:  # nor NaN
            raise InputError(f"{self.label} has camera offset {self.offset:g}: it must be a number, and not that large")
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise InputError(
                f"{self.label} has gain {self.gain}: give a positive one, 1 for a view as bright as the others"
            )
        if not _LEAST_GAIN <= self.gain <= _MOST_GAIN:
            raise InputError(
                f"{self.label} has gain {self.gain:g}: give one from {_LEAST_GAIN:g} to {_MOST_GAIN:,.0f}, 1 for a view as "
                "bright as the others"
            )
        if self.no_data not in NO_DATA:
            raise InputError(f"{self.label} has no_data '{self.no_data}': choose {', '.join(NO_DATA)}")
        if self.mask is not None and tuple(self.mask.shape) != tuple(self.data.shape):
            raise InputError(f"{self.label} has shape {self.shape}, its mask {tuple(self.mask.shape)}: make them equal")
        if self.trust is not None and tuple(self.trust.shape) != tuple(self.data.shape):
            raise InputError(
                f"{self.trust_label} has shape {tuple(self.trust.shape)}, but the view {self.shape}: it needs one value for "
                "each voxel of the view"
            )
        for what, volume in (
            (f"the mask of {self.label}", self.mask),
            (self.trust_label, self.trust),
            (self.transmission_label, self.transmission),
        ):
            if volume is not None:
                check_real(volume, what)
        if self.affine is not None:
            matrix = np.asarray(self.affine, dtype=np.float64)
            if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or is_flat(matrix[:3, :3]):
                raise InputError(f"{self.label}: its affine must be an invertible 4 x 4 matrix of finite numbers")
            object.__setattr__(self, "affine", matrix)

    @property
    def label(self) -> str:
        """The view's name for a message, with its source where it is known."""
        return self._named(self.source)

    @property
    def trust_label(self) -> str:
        """How much it counts from place to place, for a message: with the file of that, or else its own."""
        return f"the trust in {self._named(self.trust_source or self.source)}"

    @property
    def transmission_label(self) -> str:
        """The transmission that it was given, for a message: with the file of that, or else its own."""
        return f"the transmission of {self._named(self.transmission_source or self.source)}"

    @property
    def label_of_psf(self) -> str:
        """The view's name for a message about its PSF: with the file of that, or else its own."""
        return self._named(self.psf_source or self.source)

    def _named(self, file: str) -> str:
        return f"view '{self.name}' ({file})" if file else f"view '{self.name}'"

    @property
    def shape(self) -> Triple:
        """Pixels along (z, y, x) of the view's own array."""
        return triple(self.data.shape)
