"""Pictures that compare volumes: orthogonal slices side by side, and profiles along a line through all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import written_aside

_SCALE_BARS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_COLUMN_INCHES = 2.4
_HEAD_INCHES = 0.5
_DOTS_PER_INCH = 200
_ENDINGS = (".png", ".svg")


def comparison_figure(
    volumes: Mapping[str, VolumeLike],
    grid: Grid,
    *,
    captions: Mapping[str, str] | None = None,
    position: tuple[int, int, int] | None = None,
    region: Box | None = None,
    limits: tuple[float, float] | None = None,
    fit: bool = True,
) -> Figure:
    """Draw the slices y-x, z-x and z-y of every volume through one point.

    Parameters
    ----------
    volumes : label to volume, each (z, y, x) of the grid's shape
    grid : voxel size, for the proportions of the slices and the scale bar
    captions : a second line under a label, for example a metric
    position : voxel (z, y, x) that the slices go through, the middle of the region when None
    region : the part of the volume that is shown, all of it when None
    limits : values of the first volume that are black and white; its percentiles 0.5 and 99.8 on the slices when None
    fit : show every volume on its own scale, fitted to the first volume by least squares on the slices shown, so that
        methods with different gains can be compared by eye; False shows values as they are

    Returns
    -------
    A figure with one column a volume.

    Raises
    ------
    InputError
        If there is no volume, one has another shape than the grid, or position and region do not lie inside it.
    """
    if not volumes:
        raise InputError("there is nothing to compare: give at least one volume")
    for label, volume in volumes.items():
        if tuple(volume.shape) != grid.shape:
            raise InputError(f"'{label}' has shape {tuple(volume.shape)}, but the grid {grid.shape}")
    box = grid.box if region is None else region.clip(grid.shape)
    if box.size == 0:
        raise InputError("the region to show lies outside the volumes: move it back into sight")
    middle = triple((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    at = middle if position is None else triple(position)
    if any(not a <= p < b for a, p, b in zip(box.start, at, box.stop, strict=True)):
        raise InputError(f"the slices are to go through {at}, which is not inside the region from {box.start}")
    slices = {label: _orthogonal(volume, at, box) for label, volume in volumes.items()}
    reference = np.concatenate([cut.ravel() for cut in next(iter(slices.values()))])
    low, high = _percentiles(reference) if limits is None else limits
    z_um, y_um, x_um = (n * s for n, s in zip(box.shape, grid.voxel_size_um, strict=True))
    heights, widths = [y_um, z_um, y_um], [x_um, x_um, z_um]
    drawn = [h * min(1.0, x_um / w) for h, w in zip(heights, widths, strict=True)]
    tall = _COLUMN_INCHES * sum(drawn) / x_um + _HEAD_INCHES
    figure = Figure(figsize=(_COLUMN_INCHES * len(slices), tall), facecolor="black")
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(
        3,
        len(slices),
        height_ratios=drawn,
        wspace=0.03,
        hspace=0.03,
        left=0.01,
        right=0.99,
        bottom=0.01,
        top=1 - _HEAD_INCHES / tall,
    )
    for number, (label, cuts) in enumerate(slices.items()):
        values = np.concatenate([cut.ravel() for cut in cuts])
        gain, offset = _fit(values, reference) if fit else (1.0, 0.0)
        for row, cut in enumerate(cuts):
            axes = figure.add_subplot(layout[row, number])
            extent = (0.0, widths[row], heights[row], 0.0)
            axes.imshow(gain * cut + offset, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                caption = (captions or {}).get(label, "")
                axes.set_title(f"{label}\n{caption}" if captions else label, color="white", fontsize=9)
            if number == 0:
                name = ("y-x", "z-x", "y-z")[row]
                axes.text(0.03, 0.97, name, color="0.7", fontsize=8, va="top", transform=axes.transAxes)
                if row == 0:
                    # Along x; where that size is not known the bar counts voxels.
                    unit = (1.0, "µm") if grid.known[2] else (grid.voxel_size_um[2], "voxels")
                    _scale_bar(axes, x_um, y_um, *unit)
    return figure


def profile_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    colours: Mapping[str, str] | None = None,
    value_label: str = "intensity",
) -> Figure:
    """Draw profiles along a line, for print: dark on white.

    Parameters
    ----------
    curves : label to distances, micrometres, and values
    colours : label to a colour that matplotlib knows; its own sequence when None
    value_label : what the values are

    Raises
    ------
    InputError
        If there is no curve.
    """
    if not curves:
        raise InputError("there is no profile yet: draw a line first")
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, (distance, values) in curves.items():
        axes.plot(distance, values, label=label, linewidth=1.4, color=(colours or {}).get(label))
    axes.set_xlabel("distance along the line (µm)")
    axes.set_ylabel(value_label)
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def save_comparison(figure: Figure, path: str | Path, *, overwrite: bool = True) -> None:
    """Write a figure as PNG or SVG, by the ending of its name, aside first and renamed when it is complete.

    Raises
    ------
    OutputError
        If the name ends in anything else, the file is there and may not be overwritten, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise OutputError(f"'{path.name}' is neither a PNG nor an SVG: let its name end in .png or .svg")
    with written_aside(path, overwrite=overwrite) as aside:
        figure.savefig(aside, dpi=_DOTS_PER_INCH, format=path.suffix.lower()[1:], facecolor=figure.get_facecolor())


def _orthogonal(volume: VolumeLike, at: Triple, box: Box) -> list[np.ndarray]:
    """Slices (y, x), (z, x) and (y, z) of a box through a voxel, as float32."""
    z, y, x = at
    in_z, in_y, in_x = box.slices
    yx = np.asarray(volume[z : z + 1, in_y, in_x]).astype(np.float32)[0]
    zx = np.asarray(volume[in_z, y : y + 1, in_x]).astype(np.float32)[:, 0]
    zy = np.asarray(volume[in_z, in_y, x : x + 1]).astype(np.float32)[:, :, 0]
    return [yx, zx, zy.T]


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """What is black and what is white."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (0.5, 99.8)))
    return low, high if high > low else low + 1.0


def _fit(values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Gain and offset that bring values closest to a reference in the least-squares sense."""
    known = np.isfinite(values) & np.isfinite(reference)
    values, reference = values[known], reference[known]
    spread = values.var() if values.size else 0
    if spread == 0:
        return 1.0, 0.0
    gain = float(np.mean((values - values.mean()) * (reference - reference.mean())) / spread)
    return gain, float(reference.mean() - gain * values.mean())


def _scale_bar(axes: Axes, width: float, height: float, unit: float, called: str) -> None:
    """A bar of a round length, about a fifth of the picture wide, in a unit of this length and name."""
    length = max((bar for bar in _SCALE_BARS if bar <= width / unit / 4), default=width / unit / 5)
    y, x = 0.93 * height, 0.05 * width
    axes.plot([x, x + length * unit], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    axes.text(x, y - 0.02 * height, f"{length:g} {called}", color="white", fontsize=8, va="bottom")
