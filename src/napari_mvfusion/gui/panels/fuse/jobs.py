"""From what is chosen to jobs of the engine, and what is said about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.series import FuseJob, SeriesPart
from napari_mvfusion.gui.layers.conversion import Opened
from napari_mvfusion.gui.panels.fuse.output_form import Target
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.words import times


def jobs_of(opened: Opened, methods: list[Method], target: Target) -> list[FuseJob]:
    """One job a method, each with all volumes of a series."""
    prefer = preferences()
    each = len(opened.indices)
    jobs = []
    for number, method in enumerate(methods):
        outs: list[Any] = [None] * each if target.outs is None else list(target.outs[number * each :][:each])
        parts = tuple(SeriesPart(index, opened.at(index), out) for index, out in zip(opened.indices, outs, strict=True))
        jobs.append(
            FuseJob(
                parts,
                opened.leading,
                method,
                target.device,
                threads=prefer.threads,
                memory_share=prefer.memory_share,
                resume=target.resume,
                overwrite=target.overwrite,
                inputs=opened.inputs,
            )
        )
    return jobs


def called(method: Method) -> str:
    """What the layer of a result is called: generators by their models, of which one may try several."""
    return Path(method.model).stem if isinstance(method, LearnedFusion) else method.name


def suffixes(methods: list[Method], opened: Opened) -> tuple[str, ...]:
    """What follows the name in the file of each volume, the volumes of one method together."""
    names = [f"-{method.name}" if len(methods) > 1 else "" for method in methods]
    return tuple(name + "".join(f"-{i:03}" for i in index) for name in names for index in opened.indices)


def describe(opened: Opened) -> str:
    """Number of views, and size of the fused volumes."""
    count = len(opened.indices)
    series = f"\n{count} volumes, fused one after the other" if opened.leading else ""
    return describe_views(opened.views) + series


def describe_views(views: RegisteredViews) -> str:
    """Number of views, and size of the fused volume."""
    count = "1 view" if len(views) == 1 else f"{len(views)} views"
    voxels = times(views.grid.shape)
    size = times(views.grid.voxel_size_um, "g")
    return f"{count}, {voxels} voxels\nvoxel size {size} µm (z, y, x)"


def outermost(widget: QWidget) -> QWidget:
    """The window that a widget is in, also when it floats: a run lives as long as that."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget
