"""The options of all commands that read views, defined once: how views are opened, and what is chosen of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.addresses import absolute
from napari_mvfusion.cli import options, show
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import SeriesChoice, choose_series
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import format_of, is_project, known_endings, place_of
from napari_mvfusion.io.name_pattern import FIELDS
from napari_mvfusion.io.opening import left_out
from napari_mvfusion.system.file_checks import check_there, is_there

_PANEL = "How views are read"


def _option(*names: str, **said: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, **said)


@dataclass(frozen=True)
class ViewOptions:
    """How views are opened."""

    view: Annotated[
        list[str] | None,
        _option(
            "--view",
            metavar="ANGLE=FILE",
            help="A view and its angle, once for each view, in place of a folder or files.",
        ),
    ] = None
    psf: Annotated[
        list[str] | None,
        _option("--psf", metavar="VIEW=FILE", help="PSF of a view; of plain view files also FILE, in their order."),
    ] = None
    psf_folder: Annotated[
        Path | None, _option("--psf-folder", metavar="FOLDER", help="Folder of PSFs that lie elsewhere.")
    ] = None
    pattern: Annotated[
        str | None,
        _option(
            "--pattern",
            metavar="TEXT",
            help="How files of a folder are called, as 'spim_TL{timepoint}_Angle{angle}.tif'. Fields: "
            f"{', '.join(FIELDS)}; * is anything; / lies between folders, and | between patterns, as those of views and of "
            "PSFs.",
        ),
    ] = None
    tag: Annotated[str | None, _option("--tag", help="Which sample, where a folder holds several.")] = None
    voxel_size: Annotated[
        str | None,
        _option(
            "--voxel-size",
            metavar="Z,Y,X",
            help="Voxel size in um, instead of what files say; of a project, that of the fused volume.",
        ),
    ] = None
    timepoint: Annotated[
        int | None,
        _option("--timepoint", min=0, metavar="NUMBER", help=options.WHICH_TIMEPOINT),
    ] = None
    channel: Annotated[
        int | None,
        _option("--channel", min=0, metavar="NUMBER", help=options.WHICH_CHANNEL),
    ] = None
    grid: Annotated[
        str,
        _option(
            "--grid",
            metavar="isotropic|first|same|Z,Y,X",
            help="Voxels of the fused volume, where views lie on different grids: cubes of their finest size, those of the "
            "first view, or a size in um. same takes all views to lie as the first, whatever files say of their places.",
        ),
    ] = "isotropic"
    box: Annotated[
        str | None,
        _option(
            "--box",
            metavar="NAME|Z,Y,X,Z,Y,X",
            help="What the fused volume covers: a bounding box of a project, or the first and last place in um. All views "
            "by default.",
        ),
    ] = None
    level: Annotated[
        int | None,
        _option("--level", min=0, metavar="NUMBER", help="Resolution level of the views, 0 for the full one."),
    ] = None
    registration: Annotated[
        str | None,
        _option(
            "--registration",
            metavar="NAME",
            help="Which registration of multiview-stitcher says where views lie, where files hold several.",
        ),
    ] = None
    world_unit: Annotated[
        float | None,
        _option("--world-unit", metavar="UM", help="What one unit of a project's world is, where it leaves that open."),
    ] = None
    outside: Annotated[
        bool, _option("--outside", help="Also read files that a project keeps outside of its own folder.")
    ] = False
    apart: Annotated[
        bool,
        _option(
            "--apart",
            help="Take every illumination and tile of a project as a view of its own, in place of one view an angle.",
        ),
    ] = False
    stage: Annotated[
        bool,
        _option(
            "--stage",
            help="Files that say nothing else of where they lie lie where the stage was, as OME-TIFF and other files of "
            "microscopes state it.",
        ),
    ] = False
    no_data: Annotated[
        list[str] | None,
        _option(
            "--no-data",
            metavar="auto|0|nan|none",
            help="Pixels that are no measurement: auto (the default) finds 0 and NaN outside a view's field; every 0, every "
            "nan, or none. VIEW=none and so on says it for one view.",
        ),
    ] = None
    mask: Annotated[
        list[str] | None,
        _option("--mask", metavar="VIEW=FILE", help=f"Mask of a view, {known_endings()}: nonzero where it holds data."),
    ] = None

    @property
    def stated(self) -> dict[str, Any]:
        """What is given, by the names of the options without their dashes."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        return {name.replace("_", "-"): value for name, value in given.items() if value != usual[name]}

    def inputs(self, paths: Sequence[Path], tag: str | None = None) -> Inputs:
        """How the views are opened, as a part of a recipe, with every file named; what was guessed is said.

        Parameters
        ----------
        paths : INPUT
        tag : which sample, where that is not said by an option
        """
        resolved, said = self.as_said(paths, tag).resolved()
        if said:
            show.note(f"note: {said}")
        return resolved

    def as_said(self, paths: Sequence[Path], tag: str | None = None) -> Inputs:
        """What the command line says of how the views are opened, before anything is guessed."""
        if bool(paths) == bool(self.view):
            raise typer.BadParameter("give either INPUT, or --view ANGLE=FILE for each view", param_hint="INPUT")
        for path in paths:
            check_there(place_of(path), "name a folder of views, an OME-Zarr, a project, or the files of views")
        no_data, no_data_views = options.no_data_of(self.no_data)
        box, box_um = options.box_of(self.box)
        return Inputs(
            source=_source(paths, self.view or []),
            psfs=_psfs(self.psf or [], in_order=bool(paths) and _are_files(paths)),
            tag=self.tag or tag,
            pattern=self.pattern,
            psf_folder=None if self.psf_folder is None else absolute(self.psf_folder),
            voxel_size_um=options.triple_of(self.voxel_size, "--voxel-size"),
            no_data=no_data,
            no_data_views=no_data_views,
            masks=options.files_of(self.mask or [], "--mask"),
            timepoint=self.timepoint,
            channel=self.channel,
            box=box,
            box_um=box_um,
            grid=options.grid_of(self.grid),
            level=self.level or 0,
            registration=self.registration,
            world_unit_um=options.positive(self.world_unit, "--world-unit"),
            outside=self.outside,
            apart=self.apart,
            stage=self.stage,
        )


@dataclass(frozen=True)
class SelectionOptions(ViewOptions):
    """How views are opened, and what is set on them afterwards."""

    only: Annotated[str | None, _option("--only", metavar="NAMES", help="Views to use, as 0,90. All by default.")] = (
        None
    )
    offset: Annotated[
        list[str] | None,
        _option(
            "--offset", metavar="NUMBER|VIEW=NUMBER", help="Camera offset to subtract from every view, or from one."
        ),
    ] = None
    gain: Annotated[
        list[str] | None,
        _option("--gain", metavar="VIEW=NUMBER", help="How many times as bright as the others a view is."),
    ] = None
    weight: Annotated[
        list[str] | None, _option("--weight", metavar="VIEW=NUMBER", help="Trust in a view, relative to the others.")
    ] = None
    trust: Annotated[
        list[str] | None,
        _option(
            "--trust",
            metavar="VIEW=FILE",
            help=f"How much a view counts at each voxel, from 0 to 1, {known_endings()} of its shape.",
        ),
    ] = None
    trust_box: Annotated[
        list[str] | None,
        _option(
            "--trust-box",
            metavar="VIEW=Z,Y,X,Z,Y,X",
            help="The only place where a view counts: its first and last corner in the world, um.",
        ),
    ] = None
    fade: Annotated[
        list[str] | None,
        _option(
            "--fade",
            metavar="FULL,NONE|VIEW=FULL,NONE",
            help="Let every view, or one, fade with depth along its detection axis: to which depth in um it counts "
            "fully, and from which on not at all. Depth 0 is where its z begins; NONE before FULL drops that side.",
        ),
    ] = None
    remove_hot: Annotated[
        bool, _option("--remove-hot", help="Put the median of the neighbours in the place of hot pixels.")
    ] = False
    transmission: Annotated[
        list[str] | None,
        _option(
            "--transmission",
            metavar="VIEW=FILE",
            help="Share of the light that reached a view, above 0, for each voxel of the fused volume, as mvfusion "
            "transmission writes it; used with --set attenuation=given.",
        ),
    ] = None

    def as_said(self, paths: Sequence[Path], tag: str | None = None) -> Inputs:
        """As `ViewOptions.as_said`, with what is set on the views."""
        offset, offsets = options.offset_of(self.offset)
        fade, fades = options.fade_of(self.fade)
        return (
            super()
            .as_said(paths, tag)
            .model_copy(
                update={
                    "views": options.names(self.only, "--only"),
                    "offset": offset,
                    "offsets": offsets,
                    "weights": options.numbers_of(self.weight or [], "--weight"),
                    "gains": options.numbers_of(self.gain or [], "--gain"),
                    "remove_hot": self.remove_hot,
                    "trust": options.files_of(self.trust or [], "--trust"),
                    "trust_box_um": options.boxes_of(self.trust_box or [], "--trust-box"),
                    "fade_um": fade,
                    "fades_um": fades,
                    "transmissions": options.files_of(self.transmission or [], "--transmission"),
                }
            )
        )


@dataclass(frozen=True)
class FuseOptions(SelectionOptions):
    """The same, for one volume or a series; views also by the name that they have had in `mvfusion fuse` all along."""

    only: Annotated[
        str | None, _option("--only", "--views", metavar="NAMES", help="Views to use, as 0,90. All by default.")
    ] = None
    timepoints: Annotated[
        str | None,
        _option(
            "--timepoints",
            metavar="all|LIST",
            help="Fuse these time points as one series: all, or numbers and ranges as in Python, as 0:90:2 or 0,5,10:20.",
        ),
    ] = None
    channels: Annotated[
        str | None,
        _option("--channels", metavar="all|LIST", help="The same of channels, by number or name: all, 0,1 or GFP,RFP."),
    ] = None

    @property
    def is_series(self) -> bool:
        """Whether several volumes are asked for."""
        return self.timepoints is not None or self.channels is not None

    def series(self, paths: Sequence[Path]) -> SeriesChoice:
        """The volumes that are asked for; what was guessed is said.

        Parameters
        ----------
        paths : INPUT
        """
        for axis, one, several in (
            ("timepoint", self.timepoint, self.timepoints),
            ("channel", self.channel, self.channels),
        ):
            if one is not None and several is not None:
                raise typer.BadParameter(f"give either --{axis} or --{axis}s", param_hint=f"--{axis}s")
        choice, said = choose_series(self.as_said(paths), self.timepoints, self.channels)
        if said:
            show.note(f"note: {said}")
        return choice


def reads_views(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that its parameter `reading` stands for, of `ViewOptions` or a class of them."""
    signature = inspect.signature(command, eval_str=True)
    kind = signature.parameters["reading"].annotation
    hints = inspect.get_annotations(kind, eval_str=True)
    for base in kind.__mro__[1:-1]:
        hints = inspect.get_annotations(base, eval_str=True) | hints
    own = [parameter for name, parameter in signature.parameters.items() if name != "reading"]
    more = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        reading = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given, reading=reading)

    parameters = [*own, *more]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def open_inputs(inputs: Inputs) -> RegisteredViews:
    """Open the views, and say what beside them looks like a view or PSF and is left out."""
    views = inputs.open()
    warn_left_out(inputs)
    return views


def warn_left_out(inputs: Inputs) -> None:
    """Say what beside the views looks like a view or PSF and is left out."""
    for message in left_out(inputs.source) if inputs.pattern is None else ():
        show.say_warning(message)


def _source(paths: Sequence[Path], views: Sequence[str]) -> str | list[str] | dict[str, str]:
    """INPUT, or the views by their names."""
    if views:
        return options.files_of(views, "--view")
    if _are_files(paths):
        return [absolute(path) for path in paths]
    return absolute(paths[0])


def _are_files(paths: Sequence[Path]) -> bool:
    """Whether INPUT is files of views, and not a folder or project of them."""
    return len(paths) > 1 or _is_file(paths[0])


def _is_file(path: Path) -> bool:
    """Whether a path is a file of one view, rather than of several with their names."""
    return place_of(path).is_file() and not is_project(path) and not format_of(path).holds_views


def _psfs(given: Sequence[str], *, in_order: bool) -> list[str] | dict[str, str] | None:
    """The PSFs, in the order of the view files or by the names of the views."""
    if not given:
        return None
    named = [text for text in given if "=" in text and not is_there(text)]
    if len(named) == len(given):
        return options.files_of(given, "--psf")
    if named or not in_order:
        other = next(text for text in given if text not in named)
        raise InputError(f"--psf {other} does not say which view it is of: write --psf 90={other}, or use --psf-folder")
    return [absolute(text) for text in given]
