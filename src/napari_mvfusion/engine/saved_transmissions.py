"""The transmissions that are found from views as files, which can be given back to a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import check_new, writing
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.scene_writer import plain_names
from napari_mvfusion.io.watched import Watched, share_of
from napari_mvfusion.measures.attenuation import find_transmission, why_no_transmission
from napari_mvfusion.measures.transmission_volume import TransmissionVolume


def transmission_files(folder: str | Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the transmissions of views of these names are written, by name."""
    plain = plain_names(names)
    return {name: Path(folder) / f"transmission_{each}.tif" for name, each in zip(names, plain, strict=True)}


def save_transmissions(
    views: RegisteredViews,
    folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Path]:
    """Find how much of the specimen each view saw, and write it as `transmission_NAME.tif`, plane by plane.

    Given back as `View.transmission`, with attenuation "given", a run makes of them what "estimated" makes.

    Parameters
    ----------
    views : with angles and PSFs
    folder : made when it is missing
    overwrite : replace files that are there
    progress : called with the share that is written, 0 to 1; what it raises ends the writing

    Returns
    -------
    The files by the names of the views: float32 (z, y, x) with the voxel size and place of the fused volume, relative to the
    mean over all views and voxels.

    Raises
    ------
    InputError
        If none can be found; says why.
    OutputError
        If a file is there already, or cannot be written.
    """
    files = transmission_files(folder, views.names)
    for path in files.values():
        if path.parent.is_dir():
            check_new(path, overwrite=overwrite)
    views.statistics()
    found = find_transmission(views)
    if found is None:
        raise InputError(f"there is no transmission to write: {why_no_transmission(views)}")
    with writing(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    note = share_of(len(views) * views.grid.box.size, progress)
    for number, path in enumerate(files.values()):
        volume = Watched(TransmissionVolume(found, number, views.grid.shape), note)
        write_volume(path, volume, views.grid, overwrite=overwrite)
    return files
