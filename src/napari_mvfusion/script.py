"""A run as text: the command, or the lines of Python, that do the same elsewhere."""

from __future__ import annotations

import shlex
from typing import Any

from napari_mvfusion.methods.base import Method
from napari_mvfusion.recipe import Inputs

_FLAGS = ("iterations", "lambda", "kernel", "osem", "model")


def as_command(inputs: Inputs, method: Method, out: str, *, device: str = "auto") -> str:
    """The `mvfusion fuse` command for a POSIX shell.

    Parameters
    ----------
    inputs : how the views are opened
    method : with its parameters; only those that are not the defaults are named
    out : the result
    device : as `fuse` takes it
    """
    words = ["mvfusion", "fuse", *([inputs.source] if isinstance(inputs.source, str) else inputs.source)]
    for psf in inputs.psfs or []:
        words += ["--psf", psf]
    for option, value in (("--tag", inputs.tag), ("--psf-folder", inputs.psf_folder)):
        words += [option, value] if value else []
    if inputs.voxel_size_um is not None:
        words += ["--voxel-size", ",".join(f"{size:g}" for size in inputs.voxel_size_um)]
    if inputs.views is not None:
        words += ["--views", ",".join(inputs.views)]
    words += ["--offset", f"{inputs.offset:g}"] if inputs.offset else []
    for name, weight in inputs.weights.items():
        words += ["--weight", f"{name}={weight:g}"]
    words += ["--method", method.name]
    for name, value in _changed(method).items():
        words += [f"--{name}", str(value)] if name in _FLAGS else ["--set", f"{name}={value}"]
    words += ["--device", device] if device != "auto" else []
    return shlex.join([*words, "-o", out])


def as_python(inputs: Inputs, method: Method, out: str, *, device: str = "auto") -> str:
    """The lines of Python; see `as_command` for the parameters."""
    opening = inputs.model_dump(exclude_defaults=True)
    arguments = ", ".join(f"{name}={value!r}" for name, value in opening.items())
    parameters = {name.replace("lambda", "lambda_"): value for name, value in _changed(method).items()}
    call = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    extra = f", device={device!r}" if device != "auto" else ""
    return (
        "import napari_mvfusion as mv\n"
        "from napari_mvfusion.recipe import Inputs\n"
        "\n"
        f"views = Inputs({arguments}).open()\n"
        f"fused = mv.fuse(views, mv.{type(method).__name__}({call}), out={out!r}{extra})\n"
    )


def _changed(method: Method) -> dict[str, Any]:
    """The parameters that are not the defaults, by the names that recipes use."""
    values = method.model_dump(mode="json", by_alias=True)
    standard = type(method)().model_dump(mode="json", by_alias=True)
    return {name: value for name, value in values.items() if value != standard[name]}
