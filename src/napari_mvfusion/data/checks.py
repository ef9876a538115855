"""What makes the pixels of a view unusable, in one wording; for PSFs see `napari_mvfusion.psf.usable`."""

from __future__ import annotations

from napari_mvfusion.data.scanning import ViewStatistics
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError


def check_image(view: View, numbers: ViewStatistics) -> None:
    """Refuse a view that is the same everywhere, as one that no photon reached."""
    if numbers.minimum == numbers.maximum:
        raise InputError(
            f"{view.label} has the same value {numbers.minimum:g} everywhere, so it holds no image: leave it out, "
            "or check its file and camera offset"
        )


def check_light(view: View, numbers: ViewStatistics) -> None:
    """Refuse a view that is the same everywhere, or negative somewhere."""
    check_image(view, numbers)
    if numbers.minimum < 0:
        raise InputError(
            f"{view.label} has negative values (down to {numbers.minimum:g}), but light cannot be negative: "
            "set its camera offset to the value of dark pixels, and what lies below becomes 0"
        )
