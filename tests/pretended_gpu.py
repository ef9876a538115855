"""A GPU that is none: tensors that say they are elsewhere and are computed on the CPU, and refuse to meet others.

What is left on the wrong device shows without a GPU: an operation with tensors of both, or numpy asked for the values of
one that was not brought back. It goes by the name of the device "meta", which needs no driver, and all that is done to a
tensor there has values here.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from napari_mvfusion.methods import generator
from napari_mvfusion.models import load_model

GPU = torch.device("meta")
# Operations that go from one device to the other.
_CROSSING = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class OnGpu(torch.Tensor):
    """A tensor that says that it lies on the GPU."""

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> OnGpu:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            dispatch_device=True,  # the device is asked for as below, as torch itself would look for a driver
        )

    def __init__(self, values: torch.Tensor) -> None:
        self.values_there = values

    def tolist(self) -> Any:
        """Numbers are brought back, as from any device."""
        return self.values_there.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


class _Intercepted(TorchDispatchMode):
    """Also sees operations that so far have no tensor on the GPU, as one that makes a tensor there."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


def _computed(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if operation is torch.ops.prim.device.default:
        return GPU if isinstance(args[0], OnGpu) else torch.device("cpu")
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    there = any(isinstance(each, OnGpu) for each in tensors)
    strays = [each for each in tensors if not isinstance(each, OnGpu) and each.dim()]
    if there and strays and operation not in _CROSSING:
        raise RuntimeError(f"{operation} was given tensors on both devices, one on the CPU of shape {strays[0].shape}")
    wanted = kwargs.get("device")
    if wanted is not None:
        there = torch.device(wanted).type == GPU.type
        kwargs = kwargs | {"device": torch.device("cpu")}
    args, kwargs = tree_map(lambda each: each.values_there if isinstance(each, OnGpu) else each, (args, kwargs))
    made = operation(*args, **kwargs)
    if operation is torch.ops.aten.copy_.default:
        return tensors[0]
    known = {id(each.values_there): each for each in tensors if isinstance(each, OnGpu)}

    def lifted(each: Any) -> Any:
        if not there or not isinstance(each, torch.Tensor):
            return each
        return known.get(id(each)) if id(each) in known else OnGpu(each)

    return tree_map(lifted, made)


def _network(path: Path, device: torch.device) -> nn.Module:
    """The network of a file on a device; its weights are there, as it is built without any."""
    with _disable_current_modes():
        network, _ = load_model(path, "cpu")
    for layer in network.requires_grad_(False).modules():
        for name, weight in layer._parameters.items():
            layer._parameters[name] = None if weight is None else weight.detach().to(device)
    return network


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Generator[torch.device, None, None]:
    """Inside, torch computes on `GPU`, as far as the code that it runs can tell; in this thread only."""
    tensor = torch.tensor
    # It brings numbers to the device in a way that cannot be looked into.
    monkeypatch.setattr(torch, "tensor", lambda data, device=None, **how: tensor(data, **how).to(device or "cpu"))
    monkeypatch.setattr(generator, "_network", _network)
    with _Intercepted():
        yield GPU
