"""PSFs: check, clean, resample, measure from beads, and tell whether one is upside down."""

from napari_mvfusion.psf.bead_measurement import BeadMeasurement, RejectedBead, detect_beads, measure_psf
from napari_mvfusion.psf.hot_voxels import HotVoxelsRemoved, remove_hot, remove_hot_of_psf
from napari_mvfusion.psf.kernel import (
    PSFInfo,
    check_psf,
    crop_psf,
    describe_psf,
    fwhm,
    make_odd,
)
from napari_mvfusion.psf.mirror import MirrorVerdict, check_mirror
from napari_mvfusion.psf.prepare import PreparedPSF, clean_psf, prepare_values
from napari_mvfusion.psf.resample import resample_psf, rotate_psf
from napari_mvfusion.psf.sizes import BEADS, check_size

__all__ = [
    "BEADS",
    "BeadMeasurement",
    "HotVoxelsRemoved",
    "MirrorVerdict",
    "PSFInfo",
    "PreparedPSF",
    "RejectedBead",
    "check_mirror",
    "check_psf",
    "check_size",
    "clean_psf",
    "crop_psf",
    "describe_psf",
    "detect_beads",
    "fwhm",
    "make_odd",
    "measure_psf",
    "prepare_values",
    "remove_hot",
    "remove_hot_of_psf",
    "resample_psf",
    "rotate_psf",
]
