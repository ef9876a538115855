"""A picture that compares volumes: orthogonal slices side by side, one contrast for all, with a scale bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import Grid
from napari_mvfusion.views import VolumeLike
from napari_mvfusion.workspace import writing

_SCALE_BARS_UM = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def comparison_figure(
    volumes: Mapping[str, VolumeLike],
    grid: Grid,
    *,
    captions: Mapping[str, str] | None = None,
    position: tuple[int, int, int] | None = None,
) -> Figure:
    """Draw the slices y-x, z-x and z-y of every volume through one point.

    Parameters
    ----------
    volumes : label to volume, each (z, y, x) of the grid's shape
    grid : voxel size, for the proportions of the slices and the scale bar
    captions : a second line under a label, for example a metric
    position : voxel (z, y, x) that the slices go through, the middle when None

    Returns
    -------
    A figure with one column a volume. Every volume is shown on its own scale, fitted to the first volume by least
    squares on the slices shown, so that methods with different gains can be compared by eye.

    Raises
    ------
    InputError
        If there is no volume, or one has another shape than the grid.
    """
    if not volumes:
        raise InputError("there is nothing to compare: give at least one volume")
    for label, volume in volumes.items():
        if tuple(volume.shape) != grid.shape:
            raise InputError(f"'{label}' has shape {tuple(volume.shape)}, but the grid {grid.shape}")
    at = tuple(n // 2 for n in grid.shape) if position is None else position
    slices = {label: _orthogonal(volume, at) for label, volume in volumes.items()}
    reference = np.concatenate([cut.ravel() for cut in next(iter(slices.values()))])
    low, high = np.percentile(reference, (0.5, 99.8))
    high = high if high > low else low + 1.0
    z_um, y_um, x_um = (n * s for n, s in zip(grid.shape, grid.voxel_size_um, strict=True))
    heights = [y_um, z_um, y_um]
    widths = [x_um, x_um, z_um]
    column = 2.4
    figure = Figure(figsize=(column * len(slices), column * sum(h / x_um for h in heights) + 0.6), facecolor="black")
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(
        3, len(slices), height_ratios=heights, wspace=0.03, hspace=0.03, left=0.01, right=0.99, bottom=0.01, top=0.93
    )
    for number, (label, cuts) in enumerate(slices.items()):
        gain, offset = _fit(np.concatenate([cut.ravel() for cut in cuts]), reference)
        for row, cut in enumerate(cuts):
            axes = figure.add_subplot(layout[row, number])
            extent = (0.0, widths[row], heights[row], 0.0)
            axes.imshow(gain * cut + offset, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                caption = (captions or {}).get(label, "")
                axes.set_title(f"{label}\n{caption}", color="white", fontsize=9)
            if number == 0:
                name = ("y-x", "z-x", "y-z")[row]
                axes.text(0.03, 0.97, name, color="0.7", fontsize=8, va="top", transform=axes.transAxes)
                if row == 0:
                    _scale_bar(axes, x_um, y_um)
    return figure


def save_comparison(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or SVG, by the ending of its name.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with writing(Path(path)):
        figure.savefig(path, dpi=110, facecolor="black")


def _orthogonal(volume: VolumeLike, at: tuple[int, ...]) -> list[np.ndarray]:
    """Slices (y, x), (z, x) and (y, z) through a voxel, as float32."""
    z, y, x = at
    yx = np.asarray(volume[z : z + 1, :, :], np.float32)[0]
    zx = np.asarray(volume[:, y : y + 1, :], np.float32)[:, 0]
    zy = np.asarray(volume[:, :, x : x + 1], np.float32)[:, :, 0]
    return [yx, zx, zy.T]


def _fit(values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Gain and offset that bring values closest to a reference in the least-squares sense."""
    spread = values.var()
    if spread == 0:
        return 1.0, 0.0
    gain = float(np.mean((values - values.mean()) * (reference - reference.mean())) / spread)
    return gain, float(reference.mean() - gain * values.mean())


def _scale_bar(axes: object, width_um: float, height_um: float) -> None:
    """A bar of a round length, about a fifth of the picture wide."""
    length = max((bar for bar in _SCALE_BARS_UM if bar <= width_um / 4), default=width_um / 5)
    y, x = 0.93 * height_um, 0.05 * width_um
    axes.plot([x, x + length], [y, y], color="white", linewidth=2, solid_capstyle="butt")  # type: ignore[attr-defined]
    axes.text(x, y - 0.02 * height_um, f"{length:g} µm", color="white", fontsize=8, va="bottom")  # type: ignore[attr-defined]
