"""Image formation: blur by PSFs through FFT, its adjoint, and the convolutions that iterative methods are made of."""

from napari_mvfusion.imaging.blur import Blur
from napari_mvfusion.imaging.borders import Border, Layout, good_size, lay_out
from napari_mvfusion.imaging.chain import Convolver, Link, SlabConvolver, WholeConvolver, convolver_for
from napari_mvfusion.imaging.transfer import TransferCache, crop, radius_of, transfer_bytes, transfer_function
from napari_mvfusion.imaging.wiener import WienerBank

__all__ = [
    "Blur",
    "Border",
    "Convolver",
    "Layout",
    "Link",
    "SlabConvolver",
    "TransferCache",
    "WholeConvolver",
    "WienerBank",
    "convolver_for",
    "crop",
    "good_size",
    "lay_out",
    "radius_of",
    "transfer_bytes",
    "transfer_function",
]
