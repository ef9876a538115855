"""Files as the software of microscopes writes them, by the public descriptions of their formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

TripleOfFloats = tuple[float, float, float]


def letters(text: str) -> np.ndarray:
    """Text as Imaris keeps it, a letter an entry."""
    return np.frombuffer(text.encode(), "S1")


def write_ims(
    path: Path,
    levels: Sequence[np.ndarray],
    *,
    low: TripleOfFloats = (0.0, 0.0, 0.0),
    high: TripleOfFloats = (1.0, 1.0, 1.0),
    chunk: tuple[int, int, int] = (4, 16, 16),
    image: int = 0,
    unit: str | None = "um",
    channels: Sequence[str] = (),
    times: Sequence[str] = (),
) -> Path:
    """Write an Imaris file, or another image into one: levels are (t, c, z, y, x), the extent is (z, y, x)."""
    number = str(image or "")
    with h5py.File(path, "a") as file:
        file.attrs["ImarisVersion"] = letters("5.5.0")
        for level, volumes in enumerate(levels):
            for t, c in np.ndindex(*volumes.shape[:2]):
                group = file.create_group(f"DataSet{number}/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                values = volumes[t, c]
                padded = [-(-n // part) * part for n, part in zip(values.shape, chunk, strict=True)]
                data = group.create_dataset("Data", padded, values.dtype, chunks=chunk, compression="gzip")
                data[tuple(slice(n) for n in values.shape)] = values
                for axis, n in zip("ZYX", values.shape, strict=True):
                    group.attrs[f"ImageSize{axis}"] = letters(str(n))
        said = file.create_group(f"DataSetInfo{number}")
        described = said.create_group("Image")
        for axis, (start, stop) in enumerate(zip(low[::-1], high[::-1], strict=True)):
            described.attrs[f"ExtMin{axis}"] = letters(f"{start}\0")
            described.attrs[f"ExtMax{axis}"] = letters(f"{stop}")
        if unit is not None:
            described.attrs["Unit"] = letters(unit)
        for index, name in enumerate(channels):
            said.create_group(f"Channel {index}").attrs["Name"] = letters(name)
        clock = said.create_group("TimeInfo")
        for index, time in enumerate(times):
            clock.attrs[f"TimePoint{index + 1}"] = letters(time)
    return path
