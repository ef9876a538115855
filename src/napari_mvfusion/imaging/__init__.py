"""Image formation: blur by PSFs through FFT, its adjoint, and the convolutions that iterative methods are made of."""

from napari_mvfusion.imaging.blur import Blur
from napari_mvfusion.imaging.borders import Border, Layout, good_size, lay_out
from napari_mvfusion.imaging.chain import Link, Workspace, chain_bytes, halved_axis, run_chain
from napari_mvfusion.imaging.transfer import TransferCache, crop, radius_of, transfer_bytes

__all__ = [
    "Blur",
    "Border",
    "Layout",
    "Link",
    "TransferCache",
    "Workspace",
    "chain_bytes",
    "crop",
    "good_size",
    "halved_axis",
    "lay_out",
    "radius_of",
    "run_chain",
    "transfer_bytes",
]
