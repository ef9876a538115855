"""`mvfusion info`: what a folder or file holds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import show
from napari_mvfusion.cli.view_options import ViewOptions, reads_views
from napari_mvfusion.data.geometry import StatedSize
from napari_mvfusion.engine.needs import FusionNeeds, fusion_needs
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import ProjectContents
from napari_mvfusion.io.contents import Contents, SampleContents, ViewContents, describe
from napari_mvfusion.io.formats import is_folder_of_files, is_project, is_volume, place_of
from napari_mvfusion.io.name_pattern import FIELDS
from napari_mvfusion.io.name_table import NameRow, NameTable
from napari_mvfusion.io.opening import pattern_in
from napari_mvfusion.psf import MirrorVerdict, check_mirror

_SHOWN = 12
_MOST_NAMES = 40


@reads_views
def info(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="Folders, OME-Zarrs, projects or files, each looked at by itself; files also together.",
        ),
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Also check that no PSF was saved upside down.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: ViewOptions,
) -> None:
    """Say which samples, views, PSFs and ground truths an input holds."""
    looks: list[list[Path]] = [[path] for path in sources or []] or [[]]
    results: list[dict[str, Any]] = []
    failures: list[InputError] = []
    for paths in looks:
        try:
            inputs = reading.as_said(paths)
            found = _described(paths, inputs)
            verdicts = {sample.tag: _check_psfs(inputs, sample) for sample in found.samples} if mirror else {}
        except InputError as error:
            failures.append(error)
            continue
        failures += [InputError(said) for sample in found.samples if not sample.readable for said in sample.problems]
        checked = {tag: [asdict(verdict) for verdict in each] for tag, each in verdicts.items()}
        results.append(_plain(found) | ({"mirror": checked} if mirror else {}))
        if not as_json:
            _show(found, verdicts)
    if not failures and _are_views(paths := list(sources or ())):
        # What lies in pixels was looked for in none of them.
        together = _described(paths, reading.as_said(paths).model_copy(update={"no_data": "none"}))
        results.append(_plain(together))
        if not as_json:
            _show_together(together)
    if as_json and results:
        show.print_json(results[0] if len(looks) == 1 else results)
    show.end_with(failures)


def _are_views(paths: Sequence[Path]) -> bool:
    """Whether several inputs are what a fusion would take as a view each."""
    if len(paths) < 2:
        return False
    try:
        return all(is_volume(path) or (is_folder_of_files(path) and pattern_in(path) is not None) for path in paths)
    except InputError:
        return False


def _plain(found: Contents) -> dict[str, Any]:
    """The same as JSON has it."""
    values = asdict(found)
    if (names := values["names"]) is not None:
        for each in (names, *names["rows"]):
            each |= {key: str(each[key]) for key in ("folder", "path") if key in each}
    return values


def _described(paths: Sequence[Path], inputs: Inputs) -> Contents:
    return describe(
        # A single file is a volume, which need not be a view.
        paths[0]
        if len(paths) == 1 and place_of(paths[0]).is_file() and inputs.psfs is None and not inputs.pattern
        else inputs.source,
        psfs=inputs.psfs,
        tag=inputs.tag,
        psf_folder=inputs.psf_folder,
        pattern=inputs.pattern,
        voxel_size_um=inputs.voxel_size_um,
        no_data=inputs.no_data,
        no_data_views=inputs.no_data_views,
        masks=inputs.masks,
        timepoint=inputs.timepoint,
        channel=inputs.channel,
        box=inputs.box,
        level=inputs.level,
        registration=inputs.registration,
        world_unit_um=inputs.world_unit_um,
        outside=inputs.outside,
        apart=inputs.apart,
        stage=inputs.stage,
        grid=inputs.grid,
        box_um=inputs.box_um,
        # Whether that fits is the question of who opens a project; other views are there already.
        ask=fusion_needs if len(paths) == 1 and is_project(paths[0]) else None,
    )


def _show_project(found: ProjectContents) -> None:
    """What a project holds beside the views that are shown."""
    views = "1 view" if found.views == 1 else f"{found.views} views"
    show.say(f"{views} in {found.kept}, {found.missing} missing, {found.psfs} with a PSF; {found.world_unit}")
    times = found.timepoints
    several = f"{times[0]} to {times[-1]} ({len(times)})" if len(times) > 1 else str(times[0])
    rows = [["time points", several]]
    parts = {
        "channels": found.channels,
        "views": found.images,
        "angles": found.angles,
        "illuminations": found.illuminations,
        "tiles": found.tiles,
    }
    parts["registrations"] = found.registrations
    rows += [[kind, _some(names)] for kind, names in parts.items() if names]
    rows += [
        [f"box {box.name}", f"{box.first} to {box.last} world units (z, y, x), both inside"] for box in found.boxes
    ]
    show.print_table("project", ["", ""], rows)


def _show_together(found: Contents) -> None:
    """What a fusion of several files would say of how they fit together."""
    (sample,) = found.samples
    if sample.fused_shape is None:
        show.say_warning(f"they cannot be fused with each other: {'; '.join(sample.problems)}")
        return
    known = sample.voxel_size_um
    size = "voxel size not known" if known is None else f"voxels of {_sizes(known)} um"
    show.say(f"fused with each other: {_times(sample.fused_shape)}, {size}")
    for problem in sample.problems:
        show.say_warning(problem)


def _psfs_made_ready(views: Sequence[ViewContents]) -> list[str]:
    """What was done to the PSFs, a line for all views of which it is the same."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        alike.setdefault(view.psf_notes, []).append(f"view '{view.name}'")
    return [
        f"PSF{'s' if len(names) > 1 else ''} of {_some(names)}: {'; '.join(notes)}"
        for notes, names in alike.items()
        if notes
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")


def _show_names(table: NameTable) -> None:
    """What the pattern found in the names, a line each."""
    present = [part for part in FIELDS if part != "role" and any(_part(row, part) for row in table.rows)]
    stacks: dict[str, list[NameRow]] = {}
    for row in table.rows:
        whole = row.found.planes if row.found else ""
        stacks.setdefault(table.called(row.path.with_name(whole) if whole else row.path), []).append(row)
    rows = [
        [name, "left out" if row.found is None else row.found.role, *(_part(row, part) for part in present)]
        for name, (row, *_) in list(stacks.items())[:_MOST_NAMES]
    ]
    for cells, planes in zip(rows, stacks.values(), strict=False):
        if "z" in present and len(planes) > 1:
            numbers = sorted(row.found.z for row in planes if row.found is not None and row.found.z is not None)
            cells[2 + present.index("z")] = f"{numbers[0]} to {numbers[-1]} ({len(numbers)})"
    if len(stacks) > _MOST_NAMES:
        rows.append([f"… and {len(stacks) - _MOST_NAMES} more", "", *[""] * len(present)])
    show.print_table(f"names by the pattern {table.pattern}", ["file", "role", *present], rows)


def _part(row: NameRow, field: str) -> str:
    value = None if row.found is None else getattr(row.found, field)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _show(found: Contents, verdicts: dict[str, tuple[MirrorVerdict, ...]]) -> None:
    if found.project is not None:
        _show_project(found.project)
    if found.names is not None:
        _show_names(found.names)
    for sample in found.samples:
        if not sample.readable:
            continue
        known = sample.voxel_size_um
        size = ", voxel size not known" if known is None else f", voxels of {_sizes(known)} um"
        truth = ", ground truth known" if sample.has_truth else ""
        rows = [
            [
                view.name,
                "" if view.angle is None else f"{view.angle:g}",
                _times(view.shape),
                view.dtype,
                "none" if view.psf_shape is None else _times(view.psf_shape),
            ]
            for view in sample.views
        ]
        title = f"{sample.tag or found.path}{size}{truth}"
        show.print_table(title, ["view", "angle", "shape (z, y, x)", "type", "PSF as used"], rows)
        if isinstance(sample.needs, FusionNeeds):
            for line in sample.needs.lines:
                show.say(line.replace("×", "x").replace("µm", "um"))
        for line in (*_psfs_made_ready(sample.views), *sample.said):
            show.say(line)
        for problem in sample.problems:
            show.say_warning(problem)
        for verdict in verdicts.get(sample.tag, ()):
            (show.say_warning if verdict.verdict == "mirrored" else show.say)(verdict.message)
    for problem in found.problems:
        show.say_warning(problem)


def _check_psfs(inputs: Inputs, sample: SampleContents) -> tuple[MirrorVerdict, ...]:
    """Whether the PSFs of a sample explain its views better as they are or upside down."""
    if not sample.readable:
        return ()
    views = inputs.model_copy(update={"tag": sample.tag or None}).open()
    with_psf = [view for view in views.views if view.psf is not None]
    if not with_psf:
        raise InputError(f"{inputs.source} has no PSFs that could be checked")
    chosen = views.select([view.name for view in with_psf])
    return check_mirror(chosen.read(chosen.grid.box), [v.psf for v in with_psf if v.psf is not None], chosen.names)


def _sizes(values: StatedSize) -> str:
    return " x ".join("not known" if value is None else f"{value:g}" for value in values)


def _times(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
