"""PSF files as views take them: on the voxels of the views, with what was done to them, or why they cannot be used."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, StatedSize, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import format_of, place_of
from napari_mvfusion.io.placing import OwnVoxels
from napari_mvfusion.psf import PreparedPSF, check_size, prepare_values
from napari_mvfusion.psf.kernel import DEFAULT_ENERGY, as_float32
from napari_mvfusion.system.file_checks import check_there, is_there

_NOT_SAID = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class StoredPSF:
    """A PSF as a file holds it: float32 (z, y, x), and its voxel size (z, y, x) in um, None where the file does not say."""

    values: np.ndarray
    voxel_size_um: FloatTriple | None


def load_psf(path: str | Path) -> np.ndarray:
    """Read a PSF from a file as it is.

    Returns
    -------
    float32 (z, y, x); a single plane has the length 1 along z.

    Raises
    ------
    InputError
        If the file is missing, of no known format, or holds anything but one volume or plane.
    """
    return read_psf(path).values


def read_psf(path: str | Path) -> StoredPSF:
    """Read a PSF from a file as it is, and the voxel size that the file states.

    Raises
    ------
    InputError
        If the file is missing, of no known format, or holds anything but one volume or plane.
    """
    path = Path(path)
    check_there(place_of(path), "check its name")
    small = format_of(path).read_small(path, lambda shape: check_size(shape, f"the PSF {path}"))
    values = small.values
    if values.ndim != 3 or values.dtype.kind not in "buif":
        raise InputError(
            f"the PSF {path} has shape {values.shape} and type {values.dtype}: a (z, y, x) volume is needed"
        )
    return StoredPSF(as_float32(values), small.voxel_size_um)


def prepare_psf(
    source: str | Path | np.ndarray,
    *,
    name: str | None = None,
    energy: float = DEFAULT_ENERGY,
    voxel_size_um: FloatTriple | None = None,
    grid_size_um: FloatTriple | None = None,
) -> PreparedPSF:
    """Make a PSF ready to fuse with; see `napari_mvfusion.psf.prepare_values` for what is done to it.

    Parameters
    ----------
    source : a file, or (z, y, x) values
    name : how to call it in a message; the file when None
    energy : share of the sum that the crop keeps
    voxel_size_um : (z, y, x) of the PSF; what the file says when None
    grid_size_um : (z, y, x) of the fused volume; None where that is not known: the PSF is then used voxel for voxel

    Returns
    -------
    float32 PSF with odd sides and sum 1, and notes on what was done.

    Raises
    ------
    InputError
        If it cannot be read or used.
    """
    if isinstance(source, np.ndarray):
        return prepare_values(source, name=name, energy=energy, voxel_size_um=voxel_size_um, grid_size_um=grid_size_um)
    stored = read_psf(source)
    return prepare_values(
        stored.values,
        name=name or str(source),
        energy=energy,
        voxel_size_um=voxel_size_um or stored.voxel_size_um,
        grid_size_um=grid_size_um,
    )


@dataclass(frozen=True, eq=False)
class ViewPSF:
    """The PSF of a view.

    Attributes
    ----------
    psf : (z, y, x), or None
    notes : what was done to it, in words
    flaw : why the file cannot be used; methods that need no PSF fuse the view without it
    """

    psf: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    flaw: str = ""


def open_psf(file: Path | None, size_um: StatedSize | None, *, clean: bool, own: OwnVoxels | None = None) -> ViewPSF:
    """Open the PSF of a view.

    Parameters
    ----------
    file : of any format, or None for a view without a PSF
    size_um : voxel size (z, y, x) of the fused volume, None where it is not known
    clean : make it ready to fuse with, else take it as it is
    own : the voxels of the view, where these are others

    Raises
    ------
    InputError
        If there is no such file.
    """
    if file is None:
        return ViewPSF()
    if not is_there(place_of(file)):
        raise InputError(f"the PSF {file} does not exist")
    try:
        psf = prepare_file(file, size_um, own) if clean else ViewPSF(load_psf(file))
    except InputError as error:
        return ViewPSF(flaw=str(error))
    return ViewPSF(flaw=psf.flaw) if psf.flaw else psf


def prepare_file(file: Path, size_um: StatedSize | None, own: OwnVoxels | None = None) -> ViewPSF:
    """Make the PSF of a file ready to fuse with, on the voxels of the fused volume.

    Parameters
    ----------
    file : of any format
    size_um : voxel size (z, y, x) of the fused volume, None where it is not known
    own : the voxels of the view, where these are others

    Returns
    -------
    The PSF, and what was done to it; where it cannot be made ready as the file holds it, and why it is refused.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    stored = read_psf(file)
    try:
        prepared = prepare_stored(stored, str(file), size_um, own)
    except InputError as error:
        return ViewPSF(stored.values, flaw=str(error))
    return ViewPSF(prepared.psf, prepared.notes)


def prepare_files(
    files: Sequence[Path], size_um: StatedSize | None, own: OwnVoxels | None = None
) -> Generator[float, None, tuple[dict[Path, ViewPSF], list[str]]]:
    """Make the PSFs of several files ready; see `prepare_file`.

    Yields
    ------
    The share that is done, after each file.

    Returns
    -------
    The PSFs by their files, and what could not be read, in words.
    """
    found, problems = {}, []
    for done, file in enumerate(files, 1):
        try:
            found[file] = prepare_file(file, size_um)
        except InputError as error:
            problems.append(str(error))
        yield done / len(files)
    return found, problems


def prepare_stored(
    stored: StoredPSF, name: str, size_um: StatedSize | None, own: OwnVoxels | None = None
) -> PreparedPSF:
    """Make the PSF of a file ready to fuse with, on the voxels of the fused volume; see `prepare_values`.

    Parameters
    ----------
    stored : as the file holds it
    name : of the file, for messages
    size_um : voxel size (z, y, x) of the fused volume, None where it is not known
    own : the voxels of the view, where these are others

    Raises
    ------
    InputError
        If it cannot be used.
    """
    known = size_um is not None and any(size is not None for size in size_um)
    stated = stored.voxel_size_um
    grid_size_um: FloatTriple | None = None
    if own is not None and (stated is None or size_um is None or None in size_um):
        stated, grid_size_um = own.size_um, own.grid_size_um
    elif size_um is not None and known and not (stated is None and size_um == _NOT_SAID):
        # Along an axis of unknown size a PSF is used voxel for voxel.
        usual = stated or (1.0, 1.0, 1.0)
        grid_size_um = float_triple(usual[i] if size is None else size for i, size in enumerate(size_um))
    prepared = prepare_values(
        stored.values,
        name=name,
        voxel_size_um=stated,
        grid_size_um=grid_size_um,
        turn=None if own is None else own.turn,
    )
    notes = list(prepared.notes)
    if own is not None and stated is own.size_um:
        whose = "its own" if stored.voxel_size_um is None else "their"
        notes.append(f"taken to be on the voxels of its view, as {whose} voxel size is not known")
    elif stored.voxel_size_um is not None and size_um is not None and known and None in size_um:
        axes = " and ".join(axis for axis, size in zip("zyx", size_um, strict=True) if size is None)
        notes.append(f"used voxel for voxel along {axes}, as the voxel size of the views is not known there")
    elif stored.voxel_size_um is not None and not known:
        notes.append("used voxel for voxel, as the voxel size of the views is not known")
    return PreparedPSF(prepared.psf, tuple(notes))
