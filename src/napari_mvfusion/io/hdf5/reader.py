"""Volumes from HDF5: a dataset in a file, named as `views.h5:/left/pixels`, or the only one that there is.

Voxel sizes are read as BigDataViewer, ilastik and the HDF5 plugin of Fiji write them (`element_size_um`); axes of more than
three as vigra and ilastik do (`axistags`), or from labels of the dimensions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, float_triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Absent, LazyVolume, StoredVolumes, parts_of
from napari_mvfusion.io.hdf5.chunks import LARGEST_CHUNK, absent_chunks, read_part, refuse_filters
from napari_mvfusion.io.volume_choice import SeveralImagesError
from napari_mvfusion.system.file_checks import MOST_TEXT_BYTES, check_file, parsing, refuse_other

# A name may go on behind the file; the names of datasets may have an ending of files, too.
_COARSER = re.compile(r"(?P<volume>.+)(_\d+){3}")
_FILE_ENDS = re.compile(r"(?<=.)\.(?:h5|hdf5)(?=:|$)", re.IGNORECASE | re.DOTALL)
DAMAGED = "copy or export it again"
# What a file declares and never stored is made up of fill values: a small file can promise any number of them.
_SMALL = 2**28
# The most that deflate, the usual compression, reaches is 1032, with pixels that are all alike.
_MOST_GAIN = 1100
_SHOWN_DATASETS = 4
_MOST_SAID_BYTES = 2**20
_MOST_OBJECTS = 10_000
_AXES = "tczyx"


def open_dataset(path: Path) -> StoredVolumes:
    """Look at a dataset; no pixel is read.

    Raises
    ------
    InputError
        If it is missing, damaged, larger than it may be, or holds anything but (z, y, x) volumes of numbers; or if the file
        holds several, and none is named.
    """
    file, inner = split(path)
    check_file(file)
    with parsing(f"{file} cannot be read as an HDF5 file", DAMAGED), opened_file(file) as opened:
        name = _dataset_name(opened, file, inner)
        dataset = opened[name]
        refuse_elsewhere(dataset, f"{file}:{name}")
        if dataset.dtype.kind not in "buif":
            raise InputError(f"{file}:{name} holds values of type {dataset.dtype}: a view has numbers, one a voxel")
        sizes = _axes_of(dataset, f"{file}:{name}")
        dtype = dataset.dtype
        weigh_dataset(dataset, f"{file}:{name}")
        refuse_filters(dataset, f"{file}:{name}")
        size, notes = _voxel_size(dataset, list(sizes), f"{file}:{name}")
        origin, step = _origin(dataset), _time_step(dataset)
        recipe = _recipe(opened, name)

    def at(chosen: Mapping[str, int]) -> VolumeLike:
        return Hdf5Volume(file, name, sizes, chosen, dtype)

    leading = {axis: n for axis, n in sizes.items() if axis in "tc" and n > 1}
    shape = triple(sizes.get(axis, 1) for axis in "zyx")
    return StoredVolumes(path, shape, dtype, at, leading, size, origin, step, recipe, notes)


class Hdf5Volume(LazyVolume):
    """One (z, y, x) volume of a dataset; the file is open only while pixels are read, so it can be sent and forked.

    Parameters
    ----------
    file : the file
    name : of the dataset in it
    sizes : its axes in their order; the last two are y and x
    chosen : position along t and c
    dtype : of the pixels
    """

    def __init__(
        self, file: Path, name: str, sizes: Mapping[str, int], chosen: Mapping[str, int], dtype: np.dtype[Any]
    ) -> None:
        self._file, self._name = file, name
        self._sizes, self._chosen = dict(sizes), dict(chosen)
        self.shape = tuple(sizes.get(axis, 1) for axis in "zyx")
        self.dtype = dtype

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._file,)

    def absent(self, most: int) -> Absent | None:
        """Chunks that were never written; see `LazyVolume.absent`."""
        with parsing(f"{self._file}:{self._name} is damaged", DAMAGED), opened_file(self._file) as opened:
            return absent_chunks(opened[self._name], list(self._sizes.values()), self._fixed, most)

    @property
    def _fixed(self) -> list[int | None]:
        """The place along each axis, None along those that are taken whole."""
        return [None if axis in "zyx" else self._chosen.get(axis, 0) for axis in self._sizes]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If they cannot be read.
        """
        wanted = parts_of(index)
        box = dict(zip("zyx", (_as_slice(part, n) for part, n in zip(wanted, self.shape, strict=True)), strict=True))
        inner = tuple(box[axis] if axis in box else self._chosen.get(axis, 0) for axis in self._sizes)
        damaged = f"{self._file}:{self._name} is damaged: its pixels cannot be read"
        with parsing(damaged, DAMAGED), opened_file(self._file) as opened:
            version = self._file.stat().st_mtime_ns
            key = (str(self._file.resolve()), version, self._name)
            pixels = read_part(opened[self._name], inner, key, f"{self._file}:{self._name}")
        if "z" not in self._sizes:
            pixels = pixels[None][box["z"]]
        return np.asarray(pixels[tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in wanted)])


def _as_slice(part: Any, size: int) -> slice:
    if isinstance(part, (int, np.integer)):
        number = int(part) + (size if part < 0 else 0)
        return slice(number, number + 1)
    return slice(*part.indices(size))


def opened_file(file: Path) -> Any:
    """An HDF5 file, opened to be read.

    Raises
    ------
    InputError
        If it is a file of another kind.
    """
    import h5py

    if not h5py.is_hdf5(file):
        refuse_other(file, "HDF5")
    return h5py.File(file, "r")


def is_named(path: Path) -> bool:
    """Whether a name is that of an HDF5 file, or of a dataset in one."""
    return _FILE_ENDS.search(str(path)) is not None


def split(path: Path) -> tuple[Path, str]:
    """The file, and the name of a dataset in it, "" where none is named."""
    text = str(path)
    ends = [match.end() for match in _FILE_ENDS.finditer(text)]
    if not ends:
        return path, ""
    end = next((end for end in ends if Path(text[:end]).is_file()), ends[0])
    return Path(text[:end]), text[end + 1 :]


def _dataset_name(opened: Any, file: Path, inner: str) -> str:
    """The dataset that is meant, as an absolute name in the file."""
    start = "/" + inner.strip("/")
    target = inside(opened, start, file)
    if hasattr(target, "shape"):
        return start
    found: list[str] = []
    _collect(target, start, found, [_MOST_OBJECTS])
    # Luxendo keeps coarser levels beside the volume, under its name and the factors: Data, Data_2_2_2, Data_4_4_4.
    coarser = {name for name in found if (of := _COARSER.fullmatch(name)) is not None and of["volume"] in found}
    found = [name for name in found if name not in coarser]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{file}{':' + inner if inner else ''} holds no dataset of three axes (z, y, x)")
    shown = " or ".join(f"{file}:{name}" for name in found[:_SHOWN_DATASETS])
    more = f" (there are {len(found)})" if len(found) > _SHOWN_DATASETS else ""
    names = [Path(f"{file}:{name}") for name in found]
    raise SeveralImagesError(f"{file} holds several datasets: name one of them, as {shown}{more}", names)


def inside(opened: Any, name: str, file: Path) -> Any:
    """What has a name in an opened file, reached without leaving the file.

    Raises
    ------
    InputError
        If there is nothing of that name, or it leads into another file.
    """
    target = opened
    for part in filter(None, name.split("/")):
        if not hasattr(target, "keys") or part not in target:
            raise InputError(f"{file} holds nothing called '{name}': name a dataset that is there")
        _refuse_link(target, part, file)
        target = target[part]
    return target


def _refuse_link(group: Any, part: str, file: Path) -> None:
    import h5py

    link = group.get(part, getlink=True)
    elsewhere = isinstance(link, h5py.ExternalLink)
    if isinstance(link, h5py.SoftLink):
        # What a soft link names may lie in another file too, by way of other links.
        target = group.get(part)
        elsewhere = target is not None and target.file.filename != group.file.filename
    if elsewhere:
        raise InputError(f"{file} leads into another file ('{part}'), which is not followed: name that file itself")


def _collect(group: Any, place: str, found: list[str], left: list[int]) -> None:
    """Names of all datasets of three axes and more below a group; links are not followed."""
    import h5py

    for part in group:
        left[0] -= 1
        if left[0] < 0:
            raise InputError(
                f"{group.file.filename} holds too many objects to look through: name the dataset that is meant"
            )
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            continue
        name = f"{place.rstrip('/')}/{part}"
        inner = group[part]
        if isinstance(inner, h5py.Group):
            if name.count("/") < 20:
                _collect(inner, name, found, left)
        elif isinstance(inner, h5py.Dataset) and inner.ndim >= 3 and inner.dtype.kind in "buif":
            found.append(name)


def refuse_elsewhere(dataset: Any, named: str) -> None:
    """Refuse pixels that lie in other files, which a data file must not lead to.

    Raises
    ------
    InputError
        If they do.
    """
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{named} keeps its pixels in other files, which are not followed: copy them into one file")


def _axes_of(dataset: Any, named: str) -> dict[str, int]:
    """Axes and sizes in the order of the dataset: t and c where there are any, z, y, x."""
    shape = [int(n) for n in dataset.shape]
    if 0 in shape:
        raise InputError(f"{named} is empty: its shape is {tuple(shape)}")
    said = _said_axes(dataset)
    if said is None and len(shape) > 3 and math.prod(shape[:-3]) == 1:
        said = "tczyx"[-len(shape) :] if len(shape) <= len(_AXES) else None
    if said is None:
        said = {2: "yx", 3: "zyx"}.get(len(shape))
    if said is None:
        raise InputError(
            f"{named} has the shape {tuple(shape)} and does not say which axes are z, y and x: save one (z, y, x) "
            "volume, or label its axes"
        )
    if len(said) != len(shape) or len(set(said)) != len(said) or not set(said) <= set(_AXES):
        raise InputError(f"{named} has the axes '{said}' and the shape {tuple(shape)}: t, c, z, y and x are known")
    if [axis for axis in said if axis in "zyx"] not in (list("zyx"), list("yx")):
        raise InputError(f"{named} has the axes '{said}': z, y and x are needed, in this order")
    return dict(zip(said, shape, strict=True))


def _said_axes(dataset: Any) -> str | None:
    tags = attribute(dataset, "axistags")
    if tags is not None:
        return "".join(str(axis["key"]) for axis in json.loads(tags)["axes"])
    labels = [str(dimension.label) for dimension in dataset.dims]
    return "".join(labels) if all(len(label) == 1 for label in labels) else None


def attribute(dataset: Any, name: str) -> Any:
    """What a dataset or group says under a name, None where it says nothing.

    Raises
    ------
    InputError
        If the value is as large as pixels, which is damage.
    """
    if name not in dataset.attrs:
        return None
    found = dataset.attrs.get_id(name)
    if found.get_space().get_simple_extent_npoints() == 0:
        return None
    size = found.get_storage_size()
    if size > _MOST_SAID_BYTES:
        raise InputError(f"{dataset.file.filename} is damaged: its attribute {name} has {size:,} bytes; {DAMAGED}")
    return dataset.attrs[name]


def _voxel_size(dataset: Any, axes: list[str], named: str) -> tuple[StatedSize, tuple[str, ...]]:
    """Voxel size (z, y, x) in um, None along axes where it is not said; and a line where what is said cannot be one."""
    said = attribute(dataset, "element_size_um")
    if said is None:
        return NO_SIZE, ()
    numbers = np.ravel(said)[: len(_AXES) + 1]
    try:
        sizes = [float(n) for n in numbers]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) == len(axes):
        sizes = [size for axis, size in zip(axes, sizes, strict=True) if axis in "zyx"]
    z, y, x = (size if math.isfinite(size) and size > 0 else None for size in sizes) if len(sizes) == 3 else NO_SIZE
    if None not in (z, y, x):
        return (z, y, x), ()
    shown = ", ".join(str(n) for n in numbers)
    what = "which is none and is not used" if (z, y, x) == NO_SIZE else "which is not used where it cannot be one"
    return (z, y, x), (
        f"{named} states the voxel size '{shown}' (element_size_um), {what}: say it with --voxel-size "
        "Z,Y,X (voxel_size_um=)",
    )


def _origin(dataset: Any) -> FloatTriple | None:
    """Where the middle of the first voxel lies, (z, y, x) in um; None where that is not said."""
    if "origin_um" not in dataset.attrs:
        return None
    said = [float(n) for n in np.ravel(dataset.attrs["origin_um"])]
    return float_triple(said) if len(said) == 3 and all(map(math.isfinite, said)) else None


def _time_step(dataset: Any) -> float:
    """Seconds from one time point to the next; 1 where that is not said."""
    step = float(dataset.attrs.get("time_step_s", 1.0))
    return step if math.isfinite(step) and step > 0 else 1.0


def recipe_name(name: str) -> str:
    """The text that says what made a dataset."""
    return f"{name}.recipe.json"


def _recipe(opened: Any, name: str) -> dict[str, Any] | None:
    """What made a dataset, None where the file does not say."""
    import h5py

    if not isinstance(opened.get(recipe_name(name), getlink=True), h5py.HardLink):
        return None
    text = opened[recipe_name(name)]
    if not isinstance(text, h5py.Dataset) or text.shape != () or text.dtype.kind != "S" or text.external:
        return None
    if text.dtype.itemsize > MOST_TEXT_BYTES:
        return None
    recipe = json.loads(bytes(text[()]))
    return recipe if isinstance(recipe, dict) else None


def weigh_dataset(dataset: Any, named: str) -> None:
    """Refuse chunks that cannot be decoded in bounded memory, and pixels that are promised and not there.

    Raises
    ------
    InputError
        If there are some.
    """
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize if dataset.chunks else 0
    if chunk > LARGEST_CHUNK:
        raise InputError(
            f"{named} has chunks of {chunk / 2**30:.1f} GiB, which are decoded whole: save it with chunks below "
            f"{LARGEST_CHUNK / 2**30:.1f} GiB"
        )
    declared, held = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    # Planes are read whole; one that is larger than all that the file holds is made up.
    plane = math.prod(dataset.shape[-2:]) * dataset.dtype.itemsize
    if declared > _SMALL and (declared > _MOST_GAIN * held or plane > max(_SMALL, held)):
        raise InputError(
            f"{named} promises {declared / 2**30:.1f} GiB of pixels and holds {held / 2**20:.1f} MiB: {DAMAGED}"
        )
