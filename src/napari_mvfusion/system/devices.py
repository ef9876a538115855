"""Compute devices: which one to use, how much of its memory is free, and what its errors mean."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from napari_mvfusion.errors import DeviceError, is_out_of_memory

_CGROUP_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def pick_device(name: str = "auto") -> torch.device:
    """Return the torch device of this name.

    Parameters
    ----------
    name : "auto" (CUDA if there is one, else MPS, else the CPU), "cpu", "cuda", "cuda:1", "mps"

    Raises
    ------
    DeviceError
        If the name is not known or the device is not there. It never falls back silently.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"there is no device called '{name}': use auto, cpu, cuda or mps") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(
                "CUDA was asked for, but this torch sees no CUDA GPU: use device cpu, or install a CUDA build of torch"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(f"there is no GPU number {device.index}: this machine has {torch.cuda.device_count()}")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("MPS was asked for, but this machine has none: use device cpu")
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"device '{name}' is not supported: use auto, cpu, cuda or mps")
    return device


def used_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def describe_device(device: torch.device, threads: int = 0) -> str:
    """The device in words, for a label: "CPU, 2 threads" or "CUDA: NVIDIA H200".

    Parameters
    ----------
    device : in question
    threads : of a CPU; 0 for those that torch takes
    """
    if device.type == "cuda":
        return f"CUDA: {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "Apple GPU (MPS)"
    threads = threads or torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def beside_a_window(wanted: int, device: str) -> int:
    """Threads of a run.

    The window is drawn by a processor too, with software rendering all of it: a run that takes every core makes it
    wait.

    Parameters
    ----------
    wanted : what the user prefers, or 0
    device : as for `napari_mvfusion.training.train`

    Returns
    -------
    What the user prefers; else, on a CPU, one less than torch would take, and 0, which is what torch takes, elsewhere.

    Raises
    ------
    DeviceError
        If there is no such device.
    """
    if wanted or pick_device(device).type != "cpu":
        return wanted
    return max(1, torch.get_num_threads() - 1)


def offered_devices(threads: int = 0) -> list[tuple[str, str]]:
    """The devices of this machine to choose from: each in words, and as `pick_device` takes it.

    Parameters
    ----------
    threads : of a CPU, where it is not what torch takes
    """
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    automatic = describe_device(pick_device("auto"), threads)
    return [
        (f"Automatic: {automatic}", "auto"),
        *((describe_device(pick_device(name), threads), name) for name in names),
    ]


def free_bytes(device: torch.device) -> int:
    """Memory of the device that can be taken now, in bytes.

    On a CPU the limits of a container and of the process (`ulimit -v`) count as well. MPS shares the memory of the host.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for limit_file, usage_file in _CGROUP_LIMITS:
        try:
            limit, usage = limit_file.read_text().strip(), usage_file.read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            free = min(free, max(0, int(limit) - int(usage)))
    return min(free, _address_space_left())


def _address_space_left() -> int:
    """Bytes that this process may still map, as batch systems limit it; very many where nothing limits it."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource  # there is none on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, limit - int(psutil.Process().memory_info().vms))


def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; others are slower with it than with float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch do not tell what a processor can do.
    can: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(can.get("avx512_bf16") or can.get("amx_bf16"))


@contextmanager
def losses_in_words() -> Generator[None, None, None]:
    """Turn the loss of a device into a `DeviceError`. A GPU reports it late: at any later use, such as a copy to the CPU."""
    try:
        yield
    except torch.AcceleratorError as error:
        if is_out_of_memory(error):
            raise
        raise DeviceError(
            f"the device failed ({str(error).splitlines()[0]}): run again on it, or with device cpu; a run into a file "
            "goes on where it stopped"
        ) from error


def release_cached_memory(device: torch.device) -> None:
    """Give memory that torch holds back for later to the device again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
