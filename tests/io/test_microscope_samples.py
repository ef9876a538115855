"""Files that microscopes wrote, where a folder of them is at hand: every volume of them as the usual libraries read it.

They lie in `microscopes` of the folder that MVFUSION_TEST_DATA names, as .czi, .lif, .nd2 and .ims.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.volume_choice import SeveralImagesError

DATA_VARIABLE = "MVFUSION_TEST_DATA"


def ours(file: Path) -> list[tuple[int, np.ndarray]]:
    """The volumes of a file that can be opened, (t, c, z, y, x), with the numbers of their images."""
    try:
        open_stored(file)
        names: tuple[Path, ...] = (file,)
    except SeveralImagesError as several:
        names = several.names
    found = []
    for number, name in enumerate(names):
        try:
            stored = open_stored(name)
        except InputError:  # what is no volume, as a scan along a line
            continue
        counts = stored.leading.get("t", 1), stored.leading.get("c", 1)
        volumes = [np.asarray(stored.volume(*_choice(stored.leading, index))[:]) for index in np.ndindex(*counts)]
        found.append((number, np.stack(volumes).reshape(*counts, *stored.shape)))
    return found


def _choice(leading: Mapping[str, int], index: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(n if axis in leading else None for axis, n in zip("tc", index, strict=True))


def ordered(values: np.ndarray, axes: str) -> np.ndarray:
    """Values with these axes as (t, c, z, y, x)."""
    for axis in "TCZYX":
        if axis not in axes:
            values, axes = values[None], axis + axes
    return values.transpose([axes.index(axis) for axis in "TCZYX"])


def czi(file: Path, number: int) -> np.ndarray:
    import czifile

    with czifile.CziFile(file) as opened:
        entry = opened.filtered_subblock_directory[number]
        segment = entry.data_segment() if hasattr(entry, "data_segment") else entry.read_segment_data(opened)
        return np.squeeze(segment.data())[None, None, None]


def lif(file: Path, number: int) -> np.ndarray:
    import liffile

    with liffile.LifFile(file) as opened:
        image = opened.images[number]
        return ordered(image.asarray(), "".join(image.dims))


def nd2(file: Path, number: int) -> np.ndarray:
    import nd2 as library

    with library.ND2File(file) as opened:
        axes = "".join(opened.sizes)
        values = opened.asarray()
        return ordered(values if "P" not in axes else values.take(number, axes.index("P")), axes.replace("P", ""))


def ims(file: Path, number: int) -> np.ndarray:
    with h5py.File(file) as opened:
        level = opened[f"DataSet{number or ''}/ResolutionLevel 0"]
        times = [level[f"TimePoint {t}"] for t in range(len(level))]
        values = np.stack([[time[f"Channel {c}/Data"][:] for c in range(len(time))] for time in times])
        said = times[0]["Channel 0"].attrs
        size = [int(b"".join(said[f"ImageSize{axis}"])) for axis in "ZYX"]
        return values[..., : size[0], : size[1], : size[2]]


@pytest.mark.parametrize("read", [czi, lif, nd2, ims], ids=["czi", "lif", "nd2", "ims"])
def test_every_volume_is_what_the_library_of_its_format_reads(read: Callable[[Path, int], np.ndarray]) -> None:
    ending = read.__name__
    folder = Path(os.environ.get(DATA_VARIABLE, "nowhere")) / "microscopes"
    files = sorted(folder.glob(f"*.{ending}"))
    if not files:
        pytest.skip(f"no files of microscopes are at hand: {DATA_VARIABLE} names no folder with microscopes/*.{ending}")
    found = {file: ours(file) for file in files}
    assert any(found.values())
    for file, images in found.items():
        for number, values in images:
            np.testing.assert_array_equal(values, read(file, number), err_msg=f"{file}:{number}")
