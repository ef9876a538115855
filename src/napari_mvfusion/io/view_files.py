"""Views that lie in files of their own, each with the file of its PSF: opened together, checked to fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, NOT_KNOWN, FloatTriple, Grid, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.psf_files import open_psf
from napari_mvfusion.io.volume_choice import VolumeChoice

_SAME_SIZE = 1e-3
T = TypeVar("T")


@dataclass(frozen=True)
class ViewFile:
    """A view as a file of any format: what it is called, its angle in degrees, and the file of its PSF."""

    file: Path
    name: str
    angle: float | None = None
    psf: Path | None = None


def called(name: str) -> tuple[str, float | None]:
    """A view's name as it is used, and the angle that it says: "090" is view 90, "left" is a view of unknown angle."""
    try:
        angle = float(name)
    except ValueError:
        return name, None
    return (f"{angle:g}", angle) if math.isfinite(angle) else (name, None)


def as_used(given: Mapping[str, T], names: Sequence[str], what: str) -> dict[str, T]:
    """What is given for views, by their names as they are used: "090" is meant for view 90.

    Parameters
    ----------
    given : by the names of views
    names : of the views that are there, whatever they look like
    what : it is, for the message, for example "a gain"

    Raises
    ------
    InputError
        If two of the names mean one view, or one means none.
    """
    found: dict[str, T] = {}
    for name, value in given.items():
        used = name if name in names else called(name)[0]
        if used in found:
            raise InputError(f"{what} is given twice for view '{used}': give it once")
        found[used] = value
    check_names(found, names, what)
    return found


def by_name(files: Mapping[str, str | Path], what: str, names: Sequence[str] = ()) -> dict[str, Path]:
    """Files by the names of views as they are used.

    Parameters
    ----------
    files : by the names of views
    what : they are, for the message
    names : of views that are there, whatever they look like

    Raises
    ------
    InputError
        If two of the names mean one view.
    """
    found: dict[str, Path] = {}
    for name, file in files.items():
        used = name if name in names else called(name)[0]
        if used in found:
            raise InputError(
                f"{found[used]} and {file} are both given as the {what} of view '{used}': name one of them"
            )
        found[used] = Path(file)
    return found


def once(names: Sequence[str]) -> list[str]:
    """Names of views to use, none of them twice.

    Raises
    ------
    InputError
        If one is.
    """
    found = list(names)
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise InputError(f"view '{twice}' is named twice among the views to use: name it once")
    return found


def check_names(given: Iterable[str], names: Sequence[str], what: str) -> None:
    """Raise where something is given for a view that is not there.

    Raises
    ------
    InputError
        If there is such a name.
    """
    if unknown := set(given) - set(names):
        raise InputError(f"{what} is given for view '{min(unknown)}', but the views are {', '.join(names)}")


def open_view_files(
    files: Sequence[ViewFile],
    voxel_size_um: FloatTriple | None,
    at: VolumeChoice,
    *,
    clean: bool,
    remarks: Sequence[str] = (),
) -> RegisteredViews:
    """Open views, one a file; pixels are read when they are needed.

    Parameters
    ----------
    files : the views
    voxel_size_um : (z, y, x), instead of what the files say
    at : which volume of each file
    clean : make PSFs ready to fuse with
    remarks : what is to be said of how they were found

    Raises
    ------
    InputError
        If there are none, a file cannot be used, or shapes or voxel sizes differ.
    """
    if not files:
        raise InputError("no view files were given")
    named: dict[Path, str] = {}
    for each in files:
        other = named.setdefault(each.file.resolve(), each.name)
        if other != each.name:
            raise InputError(
                f"{each.file} is given both as view '{other}' and as view '{each.name}': name another file"
            )
    opened = [_open_single(each.file, at) for each in files]
    _refuse_unequal(opened)
    size = voxel_size_um or _common_size(opened)
    if voxel_size_um is None:
        remarks = [*remarks, *(note for volume in opened for note in volume.stored.notes)]
    if voxel_size_um is not None:
        remarks = [
            *remarks,
            *size_remark(voxel_size_um, [(str(v.stored.path), v.stored.voxel_size_um) for v in opened]),
        ]
    known = voxel_size_um is not None or any(volume.stored.voxel_size_um is not None for volume in opened)
    views = []
    for each, volume in zip(files, opened, strict=True):
        psf = open_psf(each.psf, size if known else None, clean=clean)
        view = View(volume.data, each.name, angle=each.angle, source=str(volume.stored.path))
        views.append(replace(view, psf=psf.psf, psf_notes=psf.notes, psf_flaw=psf.flaw))
    grid = Grid(triple(opened[0].data.shape), size, opened[0].stored.origin_um, ALL_KNOWN if known else NOT_KNOWN)
    return RegisteredViews(views, grid, remarks=remarks)


def size_remark(wanted: FloatTriple, stated: Sequence[tuple[str, FloatTriple | None]]) -> list[str]:
    """A line where a voxel size that was asked for is not the one that files state.

    Parameters
    ----------
    wanted : (z, y, x) um
    stated : name and voxel size of each file
    """
    others = [(name, size) for name, size in stated if size is not None and not _same_size(size, wanted)]
    if not others:
        return []
    name, size = others[0]
    more = "" if len(others) == 1 else f" ({len(others)} files)"
    return [f"voxels of {_times(wanted)} um are taken, as asked for, where {name} states {_times(size)} um{more}"]


@dataclass(frozen=True, eq=False)
class _Opened:
    """One volume of a file."""

    stored: StoredVolumes
    data: VolumeLike


def _open_single(file: Path, at: VolumeChoice) -> _Opened:
    stored = open_stored(file)
    return _Opened(stored, stored.volume(at.timepoint, at.channel))


def _refuse_unequal(volumes: Sequence[_Opened]) -> None:
    first = volumes[0]
    for other in volumes[1:]:
        if other.stored.shape != first.stored.shape:
            raise InputError(
                f"{other.stored.path} has shape {other.stored.shape}, but {first.stored.path} {first.stored.shape}: "
                "registered views must have one shape; resample or crop them"
            )


def _common_size(volumes: Iterable[_Opened]) -> FloatTriple:
    """The voxel size that the files agree on; 1 um where none says it."""
    known = [
        (volume.stored.path, volume.stored.voxel_size_um)
        for volume in volumes
        if volume.stored.voxel_size_um is not None
    ]
    if not known:
        return (1.0, 1.0, 1.0)
    first, size = known[0]
    for other, own in known[1:]:
        if not _same_size(own, size):
            raise InputError(
                f"{other} has voxels of {own} um, but {first} of {size} um (z, y, x): say the right one with the voxel "
                "size option"
            )
    return float_triple(size)


def _same_size(one: FloatTriple, other: FloatTriple) -> bool:
    return bool(np.allclose(one, other, rtol=_SAME_SIZE, atol=0))


def _times(size: FloatTriple) -> str:
    return " x ".join(f"{n:g}" for n in size)
