"""Views that lie in files of their own, each with the file of its PSF: opened together, checked to fit together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.placing import GridWish, place_volumes
from napari_mvfusion.io.psf_files import open_psf
from napari_mvfusion.io.volume_choice import VolumeChoice

_SAME_SIZE = 1e-3
T = TypeVar("T")


@dataclass(frozen=True)
class ViewFile:
    """A view as a file of any format.

    Attributes
    ----------
    file : whose volume it is
    name : what it is called
    angle : degrees, None where it is not known
    psf : the file of its PSF
    at : what is left to be chosen in this file, where its name has said the rest; what is asked of all files when None
    """

    file: Path
    name: str
    angle: float | None = None
    psf: Path | None = None
    at: VolumeChoice | None = None


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
    wish: GridWish,
    remarks: Sequence[str] = (),
) -> RegisteredViews:
    """Open views, one a file; pixels are read when they are needed.

    Parameters
    ----------
    files : the views
    voxel_size_um : (z, y, x), instead of what the files say
    at : which volume of each file
    clean : make PSFs ready to fuse with
    wish : what is asked for of the fused volume
    remarks : what is to be said of how they were found

    Raises
    ------
    InputError
        If there are none, a file cannot be used, or it is not known how they lie beside each other.
    """
    if not files:
        raise InputError("no view files were given")
    named: dict[str, str] = {}
    for each in files:
        other = named.setdefault(absolute(each.file), each.name)
        if other != each.name:
            raise InputError(
                f"{each.file} is given both as view '{other}' and as view '{each.name}': name another file"
            )
    opened = [_open_single(each.file, each.at or at) for each in files]
    stored = [volume.stored for volume in opened]
    placed = place_volumes(stored, [each.name for each in files], voxel_size_um, wish)
    if voxel_size_um is None:
        remarks = [*remarks, *(note for volume in stored for note in volume.notes)]
    else:
        remarks = [*remarks, *size_remark(voxel_size_um, [(str(each.path), each.size_um) for each in stored])]
    views = []
    for index, (each, volume) in enumerate(zip(files, opened, strict=True)):
        psf = open_psf(each.psf, placed.size_of_psf(index), clean=clean, own=placed.own_voxels(index))
        views.append(
            View(
                volume.data,
                each.name,
                angle=each.angle,
                affine=placed.affines[index],
                source=str(volume.stored.path),
                psf=psf.psf,
                psf_notes=psf.notes,
                psf_flaw=psf.flaw,
                psf_source="" if each.psf is None else str(each.psf),
            )
        )
    return RegisteredViews(views, placed.grid, remarks=[*remarks, *placed.remarks])


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
    stored = open_stored(file, at)
    at.refuse_said_twice(file, stored.leading)
    return _Opened(stored, stored.volume(at.timepoint, at.channel))


def _same_size(one: FloatTriple, other: FloatTriple) -> bool:
    return bool(np.allclose(one, other, rtol=_SAME_SIZE, atol=0))


def _times(size: FloatTriple) -> str:
    return " x ".join(f"{n:g}" for n in size)
