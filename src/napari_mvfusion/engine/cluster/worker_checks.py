"""Whether workers can do their part of a run: the same software, the same kind of device, the same files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

import torch

from napari_mvfusion.addresses import address_of
from napari_mvfusion.engine.cluster.connecting import dask_distributed
from napari_mvfusion.engine.fusion import budget_for
from napari_mvfusion.engine.provenance import software_versions
from napari_mvfusion.errors import DeviceError, InputError, MVFusionError, OutputError
from napari_mvfusion.io.atomic import check_place
from napari_mvfusion.system.devices import describe_device, pick_device
from napari_mvfusion.system.locks import lock_path

# Some disks keep the time of a change in steps of two seconds.
_SAME_SECONDS = 2.0
_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class SeenFile:
    """A file or folder as a computer sees it: bytes, None of a folder, and when it was changed, in seconds."""

    size: int | None
    changed: float


@dataclass(frozen=True)
class Conditions:
    """What a worker has to have for its part of a run.

    Attributes
    ----------
    device : as for `fuse_events`
    files : that are read, as the computer sees them that the run was started on
    place : the output, whose lock that computer holds; None where it does not yet
    """

    device: str
    files: Mapping[str, SeenFile]
    place: Path | None = None


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself.

    Attributes
    ----------
    host : the name of its computer
    software : versions, by name
    device : the kind that it computes on, "cpu", "cuda" or "mps"; "" where it lacks what was asked for
    device_words : the same as a person says it, or what is lacking
    unseen : which file it does not see, and how; "" for none
    unwritable : why it cannot write to the output; "" where it can
    threads : with which it computes
    memory_bytes : that a run may take there, when it is asked
    """

    host: str
    software: Mapping[str, str]
    device: str
    device_words: str
    unseen: str
    unwritable: str
    threads: int = 0
    memory_bytes: int = 0


def seen_files(paths: Iterable[Path]) -> dict[str, SeenFile]:
    """Files and folders as this computer sees them; addresses, which are no files, are left out."""
    return {str(path): found for path in paths if address_of(path) is None and (found := _seen(path)) is not None}


def facts_of_worker(conditions: Conditions) -> WorkerFacts:
    """What a worker says of itself; a task, which runs there."""
    threads = dask_distributed().get_worker().state.nthreads
    try:
        found = pick_device(conditions.device)
        device, words, memory = found.type, describe_device(found, threads), memory_of_worker(found)
    except DeviceError as error:
        device, words, memory = "", str(error), 0
    unseen, unwritable = unlike_here(conditions.files), flaw_of_place(conditions.place)
    return WorkerFacts(gethostname(), software_versions(), device, words, unseen, unwritable, threads, memory)


def memory_of_worker(device: torch.device) -> int:
    """Bytes that a run may take on this worker: Dask ends one whose memory comes near to its limit."""
    budget = budget_for(device, None)
    limit = dask_distributed().get_worker().memory_manager.memory_limit
    return min(budget, int(limit * _MEMORY_SHARE)) if limit and device.type == "cpu" else budget


def unlike_here(files: Mapping[str, SeenFile]) -> str:
    """The first file that is not here as another computer sees it, with what is different; "" for none."""
    for name, there in files.items():
        here = _seen(Path(name))
        if here is None:
            return f"does not see {name}"
        if here.size != there.size or abs(here.changed - there.changed) > _SAME_SECONDS:
            return f"sees another {name}, of another size or time of its last change"
    return ""


def flaw_of_place(place: Path | None) -> str:
    """Why nothing can be written here to an output whose lock another computer holds; "" where it can."""
    if place is None:
        return ""
    try:
        check_place(place)
    except OutputError as error:
        return str(error)
    return "" if lock_path(place).is_file() else f"the folder {place.parent} is another one there"


def flaw_of_worker(there: WorkerFacts, worker: str) -> MVFusionError | None:
    """What keeps a worker from doing its part, None for nothing.

    Parameters
    ----------
    there : what it says of itself
    worker : its address
    """
    name = f"the worker {worker} on {there.host}"
    for package, wanted in software_versions().items():
        if there.software.get(package) != wanted:
            found = there.software.get(package, "none")
            return DeviceError(f"{name} has {package} {found}, and this is {wanted}: install the same there")
    if not there.device:
        return DeviceError(f"{name}: {there.device_words}")
    if there.unseen:
        return InputError(f"{name} {there.unseen}: views must lie where all workers see them, under the same path")
    if there.unwritable:
        return OutputError(
            f"{name} cannot write the output ({there.unwritable}): its folder must be one that all workers see, under "
            "the same path"
        )
    return None


def _seen(path: Path) -> SeenFile | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return SeenFile(None if path.is_dir() else found.st_size, found.st_mtime)
