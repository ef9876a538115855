"""What a training run will need, said before it starts: memory, and seconds a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.imaging.borders import good_size
from napari_mvfusion.methods.cells import FILTER_MARGIN
from napari_mvfusion.methods.cellwise_filter import CellwiseFilter
from napari_mvfusion.models import build, find_model
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.system.devices import free_bytes, pick_device
from napari_mvfusion.training.adversarial import make_discriminator
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.own_views import blocks_in, describe_psfs, region_of

_FLOAT = 4
_HALF = 2
# A process that has loaded all libraries and runs a network; and what a GPU holds for a process beside its tensors.
_PROCESS_BYTES = 700 * 2**20
_CONTEXT_BYTES = 600 * 2**20
# Trained, averaged, best and first weights, gradients, two moments, and copies while a state is written; those of a
# discriminator are fewer.
_COPIES_OF_WEIGHTS = 12
_COPIES_OF_DISCRIMINATOR = 7
# A convolution's workspace and the gradients that are in flight, as a multiple of all that is kept for the way back.
_ON_THE_WAY_BACK = 1.6
# Arrays of the padded tile and of each view that the blur and its gradient hold.
_BLUR_COPIES = 10
_LOSS_COPIES = 10
_SMALL = 32
_MEASURED_VIEWS = 2

_measured: dict[tuple[str, str, int], float] = {}
_measuring = threading.Lock()


@dataclass(frozen=True)
class ResourceEstimate:
    """What a run needs; upper bounds, beside the time.

    Attributes
    ----------
    memory_bytes : of the device; on a CPU all that the run takes
    free_bytes : of the device
    step_seconds : or None where the speed of the device is not measured yet, see `measure_step`
    host_bytes, free_host_bytes : of the computer, where the device has memory of its own
    """

    memory_bytes: int
    free_bytes: int
    step_seconds: float | None
    host_bytes: int = 0
    free_host_bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether there is memory enough."""
        return self.memory_bytes <= self.free_bytes and self.host_bytes <= self.free_host_bytes


def estimate_resources(
    config: TrainConfig,
    views: Sequence[RegisteredViews],
    device: str,
    *,
    start_from: str | None = None,
    threads: int = 0,
) -> ResourceEstimate:
    """Estimate a run on one's own views; takes milliseconds.

    Parameters
    ----------
    config : of the run
    views : what is trained on
    device : as for `napari_mvfusion.training.train`
    start_from : the model to begin with, which says the architecture where the configuration does not
    threads : with which the speed was measured

    Raises
    ------
    InputError, DeviceError
        If a view has no PSF, the region leaves the volume, or there is no such model or device.
    """
    where = pick_device(device)
    architecture = architecture_of(config, start_from)
    held = sum(_held(each, config, architecture) for each in views)
    reading = max((_reading(each, config, architecture, where) for each in views), default=0)
    count = max((len(each) for each in views), default=_MEASURED_VIEWS)
    psf = triple(
        max((p.shape[axis] for each in views for p in describe_psfs(each, config.weights.energy).psfs), default=1)
        for axis in range(3)
    )
    step = _step(config, architecture, count, psf)
    speed = _measured.get(_key(architecture, where, threads))
    tiles = 3 if config.mode == "semi" else 2 if config.resimulates else 1
    voxels = prod(config.tile) * config.batch * tiles
    seconds = None if speed is None else voxels * speed
    on_device = max(step, reading)
    if where.type == "cuda":
        host = _PROCESS_BYTES + held
        free_host = free_bytes(torch.device("cpu"))
        return ResourceEstimate(_CONTEXT_BYTES + on_device, free_bytes(where), seconds, host, free_host)
    return ResourceEstimate(_PROCESS_BYTES + held + on_device, free_bytes(where), seconds)


def measure_step(architecture: Architecture, device: str, threads: int = 0) -> None:
    """Measure how long a step takes on a device with a small tile, and remember it for `estimate_resources`.

    It takes about a second on two cores; call it from a thread where somebody waits.

    Parameters
    ----------
    architecture : of the network
    device : as for `napari_mvfusion.training.train`
    threads : that torch may use here; 0 leaves them as they are
    """
    where = pick_device(device)
    key = _key(architecture, where, threads)
    with _measuring:
        if key in _measured:
            return
        before = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)
        with torch.random.fork_rng(devices=[]):
            network = build(architecture).to(where)
            inputs = _inputs(architecture, _views_of(architecture, _MEASURED_VIEWS), (_SMALL,) * 3, where)
        # The first pass loads kernels and plans.
        for _ in range(2):
            began = time.perf_counter()
            network(*inputs).square().mean().backward()
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            seconds = time.perf_counter() - began
        if threads:
            torch.set_num_threads(before)
        _measured[key] = seconds / _SMALL**3


def architecture_of(config: TrainConfig, start_from: str | None) -> Architecture:
    """The architecture that a run has."""
    if start_from is None or "architecture" in config.model_fields_set:
        return config.architecture
    found = find_model(start_from).card
    assert found is not None
    return found.architecture


def _key(architecture: Architecture, device: torch.device, threads: int) -> tuple[str, str, int]:
    return architecture.model_dump_json(), str(device), threads


def _blocks(views: RegisteredViews, config: TrainConfig) -> list[Triple]:
    """Shapes of the blocks that are held of a volume."""
    region = region_of(views, config.data)
    if region.size <= config.data.whole_below:
        return [region.shape]
    boxes = sorted(blocks_in(region, config.data.side), key=lambda box: -box.size)
    return [box.shape for box in boxes[: config.data.blocks]]


def _held(views: RegisteredViews, config: TrainConfig, architecture: Architecture) -> int:
    """Bytes of the arrays that are held of a volume."""
    covered = any(not (view.affine is None and view.mask is None and view.trust is None) for view in views.views)
    arrays = len(views) * (1 + covered)
    if isinstance(architecture, UniversalArchitecture):
        arrays += (1 + architecture.light + architecture.noise) * len(views) + architecture.images + 1
    weights, copies = config.weights, config.data.copies
    resimulated = copies * (arrays + 1) if config.resimulates else 0
    transmissions = len(views) if config.has_transmissions else 0
    splits = copies * (arrays + len(views)) + len(views) if weights.likelihood == "split" else 0
    return (
        _HALF * (arrays + transmissions + splits + resimulated) * sum(prod(shape) for shape in _blocks(views, config))
    )


def _reading(views: RegisteredViews, config: TrainConfig, architecture: Architecture, device: torch.device) -> int:
    """Bytes while the largest block is read."""
    shape = max(_blocks(views, config), key=prod)
    wide = triple(min(n + 2 * FILTER_MARGIN, most) for n, most in zip(shape, views.grid.shape, strict=True))
    pixels = _FLOAT * len(views) * prod(wide)
    if not isinstance(architecture, UniversalArchitecture):
        return 3 * pixels
    return 2 * pixels + CellwiseFilter(views, architecture, 1.0, device).working_bytes(wide)


def _step(config: TrainConfig, architecture: Architecture, views: int, psf: Triple) -> int:
    """Bytes of a step: weights, what is kept for the way back, the blur of the views, and the loss."""
    views = _views_of(architecture, views)
    with torch.device("meta"):
        network = build(architecture)
        inputs = _inputs(architecture, views, config.tile, torch.device("meta"))
    weights = _COPIES_OF_WEIGHTS * _FLOAT * sum(p.numel() for p in network.parameters())
    kept = _kept(network, inputs)
    if config.mode == "semi":
        discriminator = make_discriminator(config, torch.device("cpu")).to("meta")
        weights += _COPIES_OF_DISCRIMINATOR * _FLOAT * sum(p.numel() for p in discriminator.parameters())
        # Views and sharp volumes pass the generator, and both results the discriminators.
        kept = 2 * kept + 2 * _kept(discriminator, [inputs[0][:, :1]])
    elif config.resimulates:
        kept = 2 * kept
    padded = prod(good_size(n + k - 1) for n, k in zip(config.tile, psf, strict=True))
    blur = _FLOAT * _BLUR_COPIES * (views + 1) * padded
    tiles = prod(config.tile) * _FLOAT
    samples = sum(x.numel() for x in inputs) * _FLOAT * config.batch
    return weights + int(_ON_THE_WAY_BACK * kept) + blur + _LOSS_COPIES * views * tiles + samples


def _kept(network: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Bytes that a forward pass keeps for the way back, without computing anything."""
    seen: dict[int, int] = {}
    storages = []  # alive until the end, or their numbers would be given again

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages.append(storage)
        seen[storage._cdata] = storage.nbytes()
        return tensor

    own = {p.untyped_storage()._cdata for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(*inputs)
    return sum(size for key, size in seen.items() if key not in own)


def _views_of(architecture: Architecture, views: int) -> int:
    return architecture.views if isinstance(architecture, PaperArchitecture) else views


def _inputs(architecture: Architecture, views: int, tile: Triple, device: torch.device) -> list[torch.Tensor]:
    """What a network reads of one tile."""
    if isinstance(architecture, PaperArchitecture):
        return [torch.rand(1, views, *tile, device=device)]
    levels = architecture.images
    return [torch.rand(1, channels, *tile, device=device) for channels in (views, views, levels)]
