"""The resolutions of several volumes, and their curves, as a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.measures.fsc import AXES, Resolution


def write_resolutions(path: Path, found: Mapping[str, Resolution]) -> None:
    """Write resolutions as CSV, a line for each frequency of each curve, every number in full.

    Parameters
    ----------
    path : of the file, which is replaced if it is there
    found : by the name of the volume

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with written_aside(path, overwrite=True) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["volume", "axis", "outcome", "resolution", "unit", "frequency", "correlation"])
        for name, resolution in found.items():
            found_along = resolution.as_dict()
            for axis in AXES:
                one = found_along[axis]
                period = "" if one["resolution"] is None else repr(one["resolution"])
                for frequency, correlation in zip(one["frequency"], one["correlation"], strict=True):
                    numbers = repr(frequency), repr(correlation)
                    writer.writerow([name, axis, one["outcome"], period, one["unit"], *numbers])
