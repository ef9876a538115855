"""Volumes as projects that BigDataViewer opens, in a folder: `dataset.xml` and its pixels in `dataset.h5`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from napari_mvfusion.data.geometry import Grid, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.bdv.project import KINDS, OWN_TAG
from napari_mvfusion.io.bdv.project_file import is_project_name, read_project
from napari_mvfusion.io.bdv.reader import project_unit
from napari_mvfusion.io.hdf5.watched_file import WatchedFile
from napari_mvfusion.io.pyramid import halved, mean_of_blocks
from napari_mvfusion.io.streaming import LeadingAxis, blocks, check_shape, converted_blocks
from napari_mvfusion.system.file_checks import is_there

PROJECT, RECIPE = "dataset.xml", "mvfusion.json"
_PIXELS = "dataset.h5"
_CHUNKS = (64, 64, 64)
# What one unit of the world may be in um, and is called then.
_UNITS = {1e-3: "nm", 1.0: "µm", 1e3: "mm"}


def write_bdv(
    path: str | Path,
    data: VolumeLike,
    grid: Grid,
    *,
    recipe: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: str | None = None,
    leading: Sequence[LeadingAxis] = (),
) -> None:
    """Write a volume, or a series of them, as a project of its own, with coarser levels.

    It lies where it was fused: in the world of the project that its views came from, as the recipe says, in the unit of
    that; else one unit of the world is 1 um. Voxel sizes are in the unit of the world where that is nm, um or mm, else in
    um. Channels are setups, time points those of the project.

    Parameters
    ----------
    path : the folder; it is written aside and renamed
    data : (z, y, x), read chunk by chunk; with leading axes before z where there are some
    grid : voxel size and origin, um
    recipe : JSON types, kept in a file in the folder
    overwrite : replace the folder when it exists
    dtype : of the pixels, that of `data` when None: whole numbers of any size, float32 or float64. BigDataViewer reads
        uint16 in all of its versions, others since 10.4.6
    leading : the axes before z, () for a single volume

    Raises
    ------
    OutputError
        If the folder exists or cannot be written, or a value is not finite or does not fit into `dtype`.
    """
    check_shape(data, grid, leading)
    kind = np.dtype(data.dtype if dtype is None else dtype)
    with written_aside(path, overwrite=overwrite) as aside:
        aside.mkdir()
        _write_pixels(aside / _PIXELS, data, grid.shape, leading, kind)
        name = Path(path).name.removesuffix(".bdv")
        project = _project(name, grid, leading, _world_unit_um(recipe))
        ElementTree.indent(project)
        (aside / PROJECT).write_bytes(ElementTree.tostring(project, "utf-8", xml_declaration=True))
        if recipe is not None:
            (aside / RECIPE).write_text(json.dumps(dict(recipe), indent=2) + "\n", encoding="utf-8")


def damaged_level(path: Path) -> int | None:
    """The first coarser level that is not the mean of the next finer one, as `write_bdv` made it; None where all are.

    Parameters
    ----------
    path : a finished folder
    """
    import h5py

    with h5py.File(path / _PIXELS, "r") as opened:
        for time, setup in product(_called(opened, "t"), _called(opened, "s")):
            volume = opened[time][setup]
            kind = volume["0/cells"].dtype if "dataType" in opened[setup].attrs else np.dtype(np.uint16)
            for level in range(1, len(volume)):
                fine, coarse = volume[f"{level - 1}/cells"], volume[f"{level}/cells"]
                step = halved(fine.shape, _CHUNKS)
                for box in blocks(coarse.shape, _CHUNKS):
                    whole = _coarsened(fine, box.start, box.stop, step, kind)
                    if not np.array_equal(coarse[box.slices].view(kind), whole):
                        return level
    return None


def _called(opened: Any, letter: str) -> list[str]:
    return [name for name in opened if name.startswith(letter)]


def _world_unit_um(recipe: Mapping[str, Any] | None) -> float:
    """What one unit of the world is, um: that of the project that views were opened from, or 1."""
    inputs = (recipe or {}).get("inputs") or {}
    source = inputs.get("source")
    if not isinstance(source, str) or not is_project_name(Path(source)) or not is_there(source):
        return 1.0
    try:
        return project_unit(read_project(source), inputs.get("world_unit_um")).um
    except InputError:  # what became of a project since has no world to share
        return 1.0


def _positions(leading: Sequence[LeadingAxis]) -> Iterator[dict[str, int]]:
    """Positions along "t" and "c" of all volumes, in the order of the series."""
    for index in np.ndindex(*(axis.size for axis in leading)):
        yield dict(zip((axis.name for axis in leading), index, strict=True))


def _write_pixels(
    file: Path, data: VolumeLike, shape: Triple, leading: Sequence[LeadingAxis], kind: np.dtype[Any]
) -> None:
    """The HDF5 file: each volume with its levels, and tables of these for each setup."""
    import h5py

    steps, shapes = [], [shape]
    while (step := halved(shapes[-1], _CHUNKS)) != (1, 1, 1):
        steps.append(step)
        shapes.append(triple(-(-n // s) for n, s in zip(shapes[-1], step, strict=True)))
    # The old form of uint16, which all versions read: its bits as int16, without a word about their type.
    stored = np.dtype(np.int16) if kind == np.uint16 else kind
    with file.open("xb+", buffering=0) as raw:
        target = WatchedFile(raw)
        with h5py.File(target, "w") as opened:
            for number in sorted({at.get("c", 0) for at in _positions(leading)}):
                _describe_levels(opened.create_group(f"s{number:02d}"), shapes, steps, kind)
            for at in _positions(leading):
                for level, size in enumerate(shapes):
                    opened.create_dataset(
                        _cells(at, level),
                        shape=size,
                        dtype=stored,
                        chunks=tuple(min(c, n) for c, n in zip(_CHUNKS, size, strict=True)),
                        compression="gzip",
                        compression_opts=1,
                        shuffle=True,
                    )
            axes = [axis.name for axis in leading]
            for place, pixels in converted_blocks(data, shape, leading, triple(4 * c for c in _CHUNKS), kind):
                opened[_cells(dict(zip(axes, place, strict=False)), 0)][place[len(axes) :]] = pixels.view(stored)
                target.check()
            for at, (level, step) in product(_positions(leading), enumerate(steps, 1)):
                fine, coarse = opened[_cells(at, level - 1)], opened[_cells(at, level)]
                for box in blocks(coarse.shape, _CHUNKS):
                    coarse[box.slices] = _coarsened(fine, box.start, box.stop, step, kind).view(stored)
                    target.check()
        target.check()


def _cells(at: Mapping[str, Any], level: int) -> str:
    return f"t{at.get('t', 0):05d}/s{at.get('c', 0):02d}/{level}/cells"


def _describe_levels(group: Any, shapes: Sequence[Triple], steps: Sequence[Triple], kind: np.dtype[Any]) -> None:
    """What a setup says of its levels, (x, y, z) as in all projects: factors, and sizes of chunks."""
    factors = np.cumprod(np.array([(1, 1, 1), *steps], float), axis=0)
    chunks = np.minimum(_CHUNKS, np.array(shapes))
    group.create_dataset("resolutions", data=factors[:, ::-1])
    group.create_dataset("subdivisions", data=chunks[:, ::-1].astype(np.int32))
    if kind != np.uint16:
        group.attrs["dataType"] = np.bytes_(kind.name)


def _coarsened(fine: Any, start: Triple, stop: Triple, step: Triple, kind: np.dtype[Any]) -> np.ndarray:
    """A box of the next level, made of the finer one."""
    box = tuple(slice(a * s, min(b * s, n)) for a, b, s, n in zip(start, stop, step, fine.shape, strict=True))
    return mean_of_blocks(np.asarray(fine[box]).view(kind), step)


def _project(name: str, grid: Grid, leading: Sequence[LeadingAxis], unit_um: float) -> Element:
    """The XML of the project."""
    sizes = {axis.name: axis.size for axis in leading}
    times, channels = sizes.get("t", 1), sizes.get("c", 1)
    root = Element("SpimData", version="0.2")
    _add(root, "BasePath", ".", type="relative")
    sequence = _add(root, "SequenceDescription")
    loader = _add(sequence, "ImageLoader", format="bdv.hdf5")
    _add(loader, "hdf5", _PIXELS, type="relative")
    listed = _add(sequence, "ViewSetups")
    measured = any(grid.known)
    # Voxels are stated in the unit of the world, so that the project has one; where that has no name, in um.
    named_um = next((um for um in _UNITS if measured and np.isclose(um, unit_um, rtol=1e-9, atol=0)), 1.0)
    size = grid.voxel_size_um if named_um == 1 else [float(f"{s / named_um:.15g}") for s in grid.voxel_size_um]
    for channel in range(channels):
        setup = _add(listed, "ViewSetup")
        _add(setup, "id", channel)
        _add(setup, "name", name if channels == 1 else f"{name}, channel {channel}")
        _add(setup, "size", _numbers(grid.shape))
        voxel = _add(setup, "voxelSize")
        _add(voxel, "unit", _UNITS[named_um] if measured else "pixel")
        _add(voxel, "size", _numbers(size))
        attributes = _add(setup, "attributes")
        for kind in KINDS:
            _add(attributes, kind, channel if kind == "channel" else 0)
    for kind in KINDS:
        group = _add(listed, "Attributes", name=kind)
        for number in range(channels if kind == "channel" else 1):
            part = _add(group, kind.title())
            _add(part, "id", number)
            _add(part, "name", number)
    points = _add(sequence, "Timepoints", type="range")
    _add(points, "first", 0)
    _add(points, "last", times - 1)
    registrations = _add(root, "ViewRegistrations")
    for time, channel in product(range(times), range(channels)):
        view = _add(registrations, "ViewRegistration", timepoint=str(time), setup=str(channel))
        # The last one meets the pixels first.
        _add_transform(view, "place of the fused volume", (1.0, 1.0, 1.0), [o / unit_um for o in grid.origin_um])
        _add_transform(view, "calibration", [s / unit_um for s in grid.voxel_size_um], (0.0, 0.0, 0.0))
    # Of no use to others, who leave it alone.
    own = {"known": " ".join(axis for axis, known in zip("zyx", grid.known, strict=True) if known)}
    if measured:
        own["worldUnitUm"] = repr(unit_um)
    for axis in leading:
        if axis.name == "t":
            own["timeStep"] = repr(float(axis.step))
    _add(root, OWN_TAG, **own)
    return root


def _add(parent: Element, tag: str, text: object = None, /, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = None if text is None else str(text)
    return element


def _add_transform(parent: Element, name: str, scale: Sequence[float], shift: Sequence[float]) -> None:
    """A transform that scales and shifts, both (z, y, x)."""
    rows = np.hstack([np.diag(scale[::-1]), np.array(shift[::-1], float)[:, None]])
    element = _add(parent, "ViewTransform", type="affine")
    _add(element, "Name", name)
    _add(element, "affine", " ".join(repr(float(n)) for n in rows.ravel()))


def _numbers(zyx: Sequence[float]) -> str:
    return " ".join(repr(n) for n in reversed(zyx))
