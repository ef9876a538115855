"""A run as text: the command, or the lines of Python, that do the same elsewhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.base import Method
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.presets import fine_tune_values

_FLAGS = ("iterations", "lambda", "kernel", "osem", "model")


# What is entered of time points and of channels that are fused as a series, None for those of which there is one.
Volumes = tuple[str | None, str | None]


def as_command(
    inputs: Inputs,
    method: Method,
    out: str,
    *,
    device: str = "auto",
    volumes: Volumes | None = None,
    cluster: str | None = None,
    maps: bool = False,
) -> str:
    """The `mvfusion fuse` command for a POSIX shell; see `command_words` for the parameters, and `fuse` for `maps`."""
    more = ["--maps"] if maps else []
    return shlex.join(command_words(inputs, method, out, device=device, volumes=volumes, cluster=cluster, more=more))


def command_words(
    inputs: Inputs,
    method: Method,
    out: str,
    *,
    device: str = "auto",
    volumes: Volumes | None = None,
    cluster: str | None = None,
    more: Sequence[str] = (),
) -> list[str]:
    """The words of the `mvfusion fuse` command; the result stands last.

    Parameters
    ----------
    inputs : how the views are opened
    method : with its parameters; only those that are not the defaults are named
    out : the result
    device : as `fuse` takes it
    volumes : of a series; None for the volume that the inputs choose
    cluster : on whose workers it runs, as `--cluster` takes it; None for none
    more : further options
    """
    words = ["mvfusion", "fuse", *_sources(inputs), *_opening(_of_series(inputs, volumes))]
    for option, text in zip(("--timepoints", "--channels"), volumes or (), strict=False):
        words += [] if text is None else [f"{option}={text}" if text.startswith("-") else option]
        words += [] if text is None or text.startswith("-") else [text]
    if inputs.views is not None:
        words += ["--views", ",".join(inputs.views)]
    words += ["--method", method.name]
    for name, value in _changed(method).items():
        words += [f"--{name}", str(value)] if name in _FLAGS else ["--set", f"{name}={value}"]
    words += ["--device", device] if device != "auto" else []
    words += [] if cluster is None else ["--cluster", cluster]
    return [*words, *more, "-o", out]


def as_python(
    inputs: Inputs,
    method: Method,
    out: str,
    *,
    device: str = "auto",
    volumes: Volumes | None = None,
    maps: bool = False,
) -> str:
    """The lines of Python; see `command_words` for the parameters, and `fuse` for `maps`."""
    parameters = {name.replace("lambda", "lambda_"): value for name, value in _changed(method).items()}
    call = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    extra = (f", device={device!r}" if device != "auto" else "") + (", maps=True" if maps else "")
    if volumes is not None:
        opening = f"Inputs({_arguments(_of_series(inputs, volumes))}), {volumes[0]!r}, {volumes[1]!r}"
        return (
            "from pathlib import Path\n"
            "\n"
            "import napari_mvfusion as mv\n"
            "from napari_mvfusion.engine.recipe import Inputs\n"
            "from napari_mvfusion.engine.series_choice import choose_series\n"
            "from napari_mvfusion.engine.series_run import fuse_chosen\n"
            "\n"
            f"choice, _ = choose_series({opening})\n"
            f"for event in fuse_chosen(choice, mv.{type(method).__name__}({call}), Path({out!r}){extra}):\n"
            "    print(event)\n"
        )
    return (
        "import napari_mvfusion as mv\n"
        "from napari_mvfusion.engine.recipe import Inputs\n"
        "\n"
        f"views = Inputs({_arguments(inputs)}).open()\n"
        f"fused = mv.fuse(views, mv.{type(method).__name__}({call}), out={out!r}{extra})\n"
    )


def training_command(inputs: Sequence[Inputs], job: TrainJob) -> str:
    """The `mvfusion train` command for a POSIX shell.

    Parameters
    ----------
    inputs : how the volumes that are trained on are opened; `job.data` is not looked at
    job : what is trained; parameters that the command would choose by itself are not named

    Raises
    ------
    InputError
        If volumes are opened in different ways, or sharp volumes are no files, which a command cannot say.
    """
    words = ["mvfusion", "train", *_volumes(inputs), "--mode", job.config.mode]
    if inputs:
        words += _opening(inputs[0])
        words += [] if inputs[0].views is None else ["--only", ",".join(inputs[0].views)]
    for path in _files(job):
        words += ["--truth-volumes", path]
    words += ["--from", job.start_from] if job.start_from is not None else []
    chosen = _settings(job)
    if job.config.minutes is not None:
        words += ["--minutes", f"{job.config.minutes:g}"]
        chosen.pop("minutes", None)
    words += ["--tile", ",".join(map(str, chosen.pop("tile")))]
    for name, value in _flat(chosen).items():
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    words += ["--device", job.device] if job.device != "auto" else []
    words += ["--threads", str(job.threads)] if job.threads else []
    for option, text in (("--title", job.description.title), ("--licence", job.description.licence)):
        words += [option, text] if text not in ("", "not stated") else []
    words += ["--resume"] if job.resume else []
    return shlex.join([*words, "-o", job.out])


def training_python(inputs: Sequence[Inputs], job: TrainJob) -> str:
    """The lines of Python; see `training_command` for the parameters.

    Raises
    ------
    InputError
        If sharp volumes are no files.
    """
    volumes = ", ".join(f"Inputs({_arguments(each)}).open()" for each in inputs)
    settings = _settings(job)
    config = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    tuned = f"mv.fine_tune_config({job.config.mode!r}, minutes={job.config.minutes!r}, views=views, {config})"
    options = {
        "start_from": job.start_from,
        "device": job.device if job.device != "auto" else None,
        "resume": job.resume or None,
    }
    extra = "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
    sharp = ", ".join(f"mv.open_volume({path!r})[0]" for path in _files(job))
    lines = ["import napari_mvfusion as mv", "from napari_mvfusion.engine.recipe import Inputs"]
    lines += ["import torch", "", f"torch.set_num_threads({job.threads})"] if job.threads else [""]
    supervised = job.config.mode == "supervised"
    lines += [f"views = [{volumes}]", f"config = {f'mv.TrainConfig({config})' if supervised else tuned}"]
    lines += [f"sharp = [{sharp}]"] if sharp else []
    extra = (", sharp=sharp" if sharp else "") + extra
    return "\n".join([*lines, f"mv.train(config, {job.out!r}, views=views{extra})", ""])


def _of_series(inputs: Inputs, volumes: Volumes | None) -> Inputs:
    """How views are opened, without the numbers in whose place there are several."""
    if volumes is None:
        return inputs
    several = dict(zip(("timepoint", "channel"), volumes, strict=True))
    return inputs.model_copy(update={name: None for name, text in several.items() if text is not None})


def _sources(inputs: Inputs) -> list[str]:
    if isinstance(inputs.source, dict):
        return [word for name, path in inputs.source.items() for word in ("--view", f"{name}={path}")]
    return [inputs.source] if isinstance(inputs.source, str) else inputs.source


def _volumes(inputs: Sequence[Inputs]) -> list[str]:
    """The volumes of a training command."""
    common = {"source": "", "tag": None}
    alike = all(each.model_copy(update=common) == inputs[0].model_copy(update=common) for each in inputs)
    lists = any(not isinstance(each.source, str) for each in inputs)
    if len(inputs) > 1 and (lists or not alike):
        raise InputError(
            "a command takes volumes that are opened in the same way, each from a folder or an OME-Zarr: copy Python, "
            "which can say it"
        )
    tags = {each.source if isinstance(each.source, str) else "": each.tag for each in inputs}
    if len(set(tags.values())) > 1 or len(tags) < len(inputs):
        raise InputError("a command takes one tag for all folders: copy Python, which can say it")
    return [path for each in inputs for path in _sources(each)]


def _opening(inputs: Inputs) -> list[str]:
    """Options that say how views are opened."""
    words: list[str] = []
    stated = inputs.psfs or []
    for psf in [f"{name}={path}" for name, path in stated.items()] if isinstance(stated, dict) else stated:
        words += ["--psf", psf]
    for option, value in (
        ("--pattern", inputs.pattern),
        ("--tag", inputs.tag),
        ("--psf-folder", inputs.psf_folder),
    ):
        words += [option, value] if value else []
    for option, number in (("--timepoint", inputs.timepoint), ("--channel", inputs.channel)):
        words += [] if number is None else [option, str(number)]
    if inputs.voxel_size_um is not None:
        words += ["--voxel-size", ",".join(f"{size:g}" for size in inputs.voxel_size_um)]
    words += [] if inputs.box is None else ["--box", inputs.box]
    words += ["--level", str(inputs.level)] if inputs.level else []
    words += [] if inputs.world_unit_um is None else ["--world-unit", f"{inputs.world_unit_um:g}"]
    words += ["--outside"] if inputs.outside else []
    words += ["--apart"] if inputs.apart else []
    words += ["--stage"] if inputs.stage else []
    if inputs.grid != "isotropic":
        words += ["--grid", inputs.grid if isinstance(inputs.grid, str) else ",".join(f"{n:.12g}" for n in inputs.grid)]
    if inputs.box_um is not None:
        words += ["--box", ",".join(f"{n:.12g}" for place in inputs.box_um for n in place)]
    words += ["--offset", f"{inputs.offset:g}"] if inputs.offset else []
    for name, offset in inputs.offsets.items():
        words += ["--offset", f"{name}={offset:g}"]
    words += ["--remove-hot"] if inputs.remove_hot else []
    for name, gain in inputs.gains.items():
        words += ["--gain", f"{name}={gain:g}"]
    for name, weight in inputs.weights.items():
        words += ["--weight", f"{name}={weight:g}"]
    words += ["--no-data", inputs.no_data] if inputs.no_data != "auto" else []
    for name, choice in inputs.no_data_views.items():
        words += ["--no-data", f"{name}={choice}"]
    for name, path in inputs.masks.items():
        words += ["--mask", f"{name}={path}"]
    for name, path in inputs.trust.items():
        words += ["--trust", f"{name}={path}"]
    for name, corners in inputs.trust_box_um.items():
        words += ["--trust-box", f"{name}={','.join(f'{n:.12g}' for place in corners for n in place)}"]
    words += ["--fade", ",".join(f"{n:.12g}" for n in inputs.fade_um)] if inputs.fade_um is not None else []
    for name, depths in inputs.fades_um.items():
        words += ["--fade", f"{name}={','.join(f'{n:.12g}' for n in depths)}"]
    for name, path in inputs.transmissions.items():
        words += ["--transmission", f"{name}={path}"]
    return words


def _arguments(inputs: Inputs) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in inputs.model_dump(exclude_defaults=True).items())


def _files(job: TrainJob) -> list[str]:
    """The sharp volumes of a run."""
    if not all(isinstance(each, Path) for each in job.sharp):
        raise InputError("the sharp volumes of this run lie in memory: save them, and choose the files")
    return [str(path) for path in job.sharp]


def _settings(job: TrainJob) -> dict[str, Any]:
    """The parameters that a fine-tune would not have by itself, plain values."""
    values = job.config.model_dump(mode="json", by_alias=True)
    own = job.config.mode != "supervised"
    preset = fine_tune_values(job.config.mode, job.config.minutes) if own else {}
    standard = TrainConfig.model_validate(preset).model_dump(mode="json", by_alias=True)
    changed = _differences(values, standard)
    if job.start_from is not None and "architecture" not in job.config.model_fields_set:
        changed.pop("architecture", None)
    # The tile depends on the data: it is always named.
    return changed | {"tile": tuple(job.config.tile)}


def _differences(values: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as in the standard; of mappings, only the entries that differ."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        usual = standard.get(name)
        if value == usual:
            continue
        alike = isinstance(value, Mapping) and isinstance(usual, Mapping) and value.get("kind") == usual.get("kind")
        if not alike:
            found[name] = value
            continue
        # The kind of an architecture says what its other entries are.
        found[name] = {key: value[key] for key in ("kind",) if key in value} | _differences(value, usual or {})
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as names such as "weights.cycle"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and "kind" not in value:
            found |= {f"{name}.{inner}": each for inner, each in _flat(value).items()}
        else:
            found[name] = value
    return found


def _changed(method: Method) -> dict[str, Any]:
    """The parameters that are not the defaults, by the names that recipes use."""
    values = method.model_dump(mode="json", by_alias=True)
    standard = type(method)().model_dump(mode="json", by_alias=True)
    return {name: value for name, value in values.items() if value != standard[name]}
