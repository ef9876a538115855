"""A recipe as a file: all that is needed to make a fused volume again. Validate, save, load, repeat."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.events import Event, Warned
from napari_mvfusion.data.field_of_view import NoData, VolumeLike
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid, same_affine, triple
from napari_mvfusion.data.trust import Fade, PlacedTrust, with_trust
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.data.volume_digest import volume_sha256
from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.engine.fusion import check_before_reading, fuse_events
from napari_mvfusion.engine.provenance import FORMAT, FORMAT_VERSION, psf_sha256, software_versions
from napari_mvfusion.engine.shared_light import SharedLight, shared_light_again
from napari_mvfusion.engine.shared_tiles import TileRunner
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.formats import is_volume
from napari_mvfusion.io.guessing import find_psfs
from napari_mvfusion.io.name_table import choose_files, read_names
from napari_mvfusion.io.opening import guessed_in, open_views, open_volume, pattern_in, read_recipe
from napari_mvfusion.io.placing import GridChoice
from napari_mvfusion.io.view_files import as_used, called
from napari_mvfusion.io.volume_choice import VolumeChoice
from napari_mvfusion.methods import method_of_recipe
from napari_mvfusion.system.file_checks import parsing, read_text

__all__ = ["Inputs", "Recipe", "by_hand", "load_recipe", "recipe_path", "save_recipe"]

_EDIT_INPUTS = (
    "change its inputs, which say how views are opened, or restore the recipe, whose views say what that gave"
)
_WHERE = "a fused volume that was made here, or the .recipe.json file that lies beside it"

_BY_HAND = "by hand: "

SERIES_FORMAT: Literal["mvfusion-series"] = "mvfusion-series"
_FORMATS = (FORMAT, SERIES_FORMAT)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


# Fields of `Inputs` that may say something of each view, by its name.
_BY_VIEW = (
    "psfs",
    "offsets",
    "weights",
    "gains",
    "no_data_views",
    "masks",
    "transmissions",
    "trust",
    "trust_box_um",
    "fades_um",
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Inputs(_Part):
    """How views are opened: the arguments of `open_views`, and what is set on them afterwards.

    Attributes
    ----------
    source : a TIFF folder, an OME-Zarr, a project, a list of TIFF files, one a view, or files by the names of the views
    psfs : PSF files, one a view, where `source` is a list of files, or by the names of the views
    tag : which sample of a TIFF folder that holds several
    psf_folder : folder with `psf_angle.tif` files that lie elsewhere
    pattern : of the names of files, see `open_views`
    voxel_size_um : (z, y, x) where the files do not say it, or say it wrongly
    views : names of the views to use, all when None
    offset : camera offset to subtract from every view; 0 for what their files say
    offsets : another one for some views, by name
    weights : relative trust in views, by name
    gains : what pixels of views are divided by, by name
    remove_hot : read views without their hot pixels
    no_data : which pixels are no measurement, see `napari_mvfusion.data.views.View.no_data`; recipes that do not say it were
        made when all were
    no_data_views : another choice for some views, by name
    masks : files of masks, by the name of the view
    transmissions : files of transmissions, by the name of the view, see `napari_mvfusion.data.views.View.transmission`
    timepoint, channel : which volume of each file, counted from 0, where files have several
    level, registration, box, world_unit_um, outside, apart : what of files and projects, see `open_views`
    grid : voxels of the fused volume, as for `open_views`; recipes that do not say it were made when all files were taken to
        lie on the grid of the first
    box_um : first and last place (z, y, x) of the fused volume in the world, um; None for all views
    stage : files that say nothing else of where they lie lie where the stage was
    trust : files of weights from 0 to 1, by the name of the view, see `napari_mvfusion.data.trust`
    trust_box_um : first and last place (z, y, x) in the world within which views count, um, by name
    fade_um : depths along the detection axis, um, to which every view counts fully and from which on not at all
    fades_um : other ones for some views, by name
    """

    source: str | list[str] | dict[str, str]
    psfs: list[str] | dict[str, str] | None = None
    tag: str | None = None
    psf_folder: str | None = None
    pattern: str | None = None
    voxel_size_um: tuple[float, float, float] | None = None
    views: list[str] | None = None
    offset: float = 0.0
    offsets: dict[str, float] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict)
    gains: dict[str, float] = Field(default_factory=dict)
    remove_hot: bool = False
    no_data: NoData = "none"
    no_data_views: dict[str, NoData] = Field(default_factory=dict)
    masks: dict[str, str] = Field(default_factory=dict)
    transmissions: dict[str, str] = Field(default_factory=dict)
    timepoint: int | None = None
    channel: int | None = None
    box: str | None = None
    level: int = 0
    registration: str | None = None
    world_unit_um: float | None = None
    outside: bool = False
    apart: bool = False
    grid: Literal["isotropic", "first", "same"] | tuple[float, float, float] = "same"
    box_um: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    stage: bool = False
    trust: dict[str, str] = Field(default_factory=dict)
    trust_box_um: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = Field(default_factory=dict)
    fade_um: tuple[float, float] | None = None
    fades_um: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @property
    def says_trust(self) -> bool:
        """Whether a view counts more in some places than in others."""
        return bool(self.trust or self.trust_box_um or self.fade_um or self.fades_um)

    def without_trust(self) -> Inputs:
        """The same with views that count alike everywhere."""
        return self.model_copy(update={"trust": {}, "trust_box_um": {}, "fade_um": None, "fades_um": {}})

    def renamed(self, names: Mapping[str, str]) -> Inputs:
        """The same where views are called otherwise.

        Parameters
        ----------
        names : new ones by the old ones; others stay
        """
        changed: dict[str, Any] = {}
        for field in _BY_VIEW:
            values = getattr(self, field)
            if isinstance(values, dict):
                changed[field] = {names.get(name, name): value for name, value in values.items()}
        if self.views is not None:
            changed["views"] = [names.get(name, name) for name in self.views]
        return self.model_copy(update=changed)

    def resolved(self) -> tuple[Inputs, str]:
        """The same with every file named that was guessed, so that nothing is guessed again, and what was, in one line.

        Raises
        ------
        InputError
            If it is not clear which file of a folder is which view.
        """
        pattern = pattern_in(self.source) if self.pattern is None and isinstance(self.source, str) else self.pattern
        if pattern is not None and not isinstance(self.source, dict):
            at = VolumeChoice(self.timepoint, self.channel)
            said = choose_files(read_names(self.source, pattern), at, self.tag).said
            return self.model_copy(update={"pattern": pattern}), said
        if not isinstance(self.source, str):
            return self, ""
        if self.tag is not None:
            return self, ""
        guessed = guessed_in(self.source)
        if guessed is None:
            return self, ""
        psfs, said = guessed.psfs, guessed.said
        if self.psf_folder is not None:
            found = find_psfs(Path(self.psf_folder), {name: called(name)[1] for name in guessed.views})
            psfs, said = found.files, "; ".join([said, *found.said])
        stated = self.psfs if isinstance(self.psfs, dict) else {}
        named = {name: absolute(path) for name, path in psfs.items()} | stated
        files = {name: absolute(path) for name, path in guessed.views.items()}
        return self.model_copy(update={"source": files, "psfs": named, "psf_folder": None}), said

    def set_as(
        self,
        views: RegisteredViews,
        masks: Mapping[str, str],
        voxels: GridChoice | None = None,
        *,
        keeps_grid: bool = False,
        weights: Mapping[str, str] | None = None,
        transmissions: Mapping[str, str] | None = None,
    ) -> Inputs | None:
        """The same for views that it opened and that were set otherwise since; None where it cannot say how they are set.

        Parameters
        ----------
        views : some of those that it opens, on the grid of the fused volume, or each in its place
        masks : the files of masks, by name; of other views too
        voxels : of the fused volume, where views do not lie on its grid; as for these when None
        keeps_grid : views of a project lie on the grid that they get when they are opened
        weights : the files of how much views count from place to place, by name; of other views too
        transmissions : the files of transmissions alike; those that it has when None
        """
        if len({view.remove_hot for view in views.views}) > 1:
            return None
        offset, offsets = _common_and_others({view.name: view.offset for view in views.views}, 0.0)
        # Where there is a mask it says all.
        fields = {view.name: view.no_data for view in views.views if view.mask is None}
        no_data, no_data_views = _common_and_others(fields, "none")
        # Files that say otherwise are not asked.
        recognised = [view for view in views.views if view.no_data_stated and fields.get(view.name) == "auto"]
        no_data_views |= {view.name: "auto" for view in recognised}
        trust = _trust_of(views, weights or {})
        if trust is None:
            return None
        passed = self.transmissions if transmissions is None else transmissions
        given = [view.name for view in views.views if view.transmission is not None]
        if not set(given) <= passed.keys():
            return None
        # Views on different grids have the sizes that their files say.
        elsewhere = any(view.affine is not None for view in views.views)
        own = views.grid.voxel_size_um if views.grid.size_known and not elsewhere else self.voxel_size_um
        return self.model_copy(
            update={
                "views": list(views.names),
                "voxel_size_um": self.voxel_size_um if keeps_grid else own,
                "grid": voxels if elsewhere and voxels is not None and not keeps_grid else self.grid,
                "weights": {view.name: view.weight for view in views.views if view.weight != 1.0},
                "gains": {view.name: view.gain for view in views.views if view.gain != 1.0},
                "remove_hot": any(view.remove_hot for view in views.views),
                "offset": offset,
                "offsets": offsets,
                "no_data": no_data,
                "no_data_views": no_data_views,
                "masks": {name: file for name, file in masks.items() if name in views.names},
                **trust,
                "transmissions": {name: passed[name] for name in given},
            }
        )

    def open(self, *, own_psfs: bool = False) -> RegisteredViews:
        """Open the views.

        Parameters
        ----------
        own_psfs : PSFs stay on the voxels of their views

        Raises
        ------
        InputError
            If a file cannot be used, or a name is unknown.
        """
        source: str | Sequence[str] | Mapping[str, str] = self.source
        opened = open_views(
            source,
            psfs=self.psfs,
            tag=self.tag,
            psf_folder=self.psf_folder,
            pattern=self.pattern,
            voxel_size_um=self.voxel_size_um,
            no_data=self.no_data,
            no_data_views=self.no_data_views,
            masks=self.masks,
            timepoint=self.timepoint,
            channel=self.channel,
            views=self.views,
            box=self.box,
            level=self.level,
            registration=self.registration,
            world_unit_um=self.world_unit_um,
            outside=self.outside,
            apart=self.apart,
            grid=self.grid,
            box_um=self.box_um,
            own_psfs=own_psfs,
            stage=self.stage,
        )
        weights = as_used(self.weights, opened.names, "a weight")
        gains = as_used(self.gains, opened.names, "a gain")
        offsets = as_used(self.offsets, opened.names, "an offset")
        opened = self._trusted(opened)
        passed = as_used(self.transmissions, opened.names, "a transmission")
        if not (self.offset or self.remove_hot or weights or gains or offsets or passed):
            return opened
        remarks: list[str] = []

        def chosen(what: str, view: View, wanted: float | None, stated: float, usual: float) -> float:
            """What is asked for, else what the file of the view states; where both do, that is said."""
            if wanted is None:
                return stated
            if stated not in (usual, wanted):
                remarks.append(
                    f"{view.label}: the {what} {wanted:g} is taken, as asked for; its file states {stated:g}"
                )
            return wanted

        changed = [
            replace(
                view,
                offset=chosen("camera offset", view, offsets.get(view.name, self.offset or None), view.offset, 0.0),
                weight=chosen("weight", view, weights.get(view.name), view.weight, 1.0),
                gain=chosen("gain", view, gains.get(view.name), view.gain, 1.0),
                remove_hot=self.remove_hot or view.remove_hot,
                transmission=self.open_beside(passed[view.name]) if view.name in passed else view.transmission,
                transmission_source=passed.get(view.name, view.transmission_source),
            )
            for view in opened.views
        ]
        return RegisteredViews(changed, opened.grid, remarks=[*opened.remarks, *remarks])

    def open_beside(self, file: str) -> VolumeLike:
        """Weights or a transmission: those of the volume that is chosen, or the only ones for all of them."""
        return open_volume(Path(file), timepoint=self.timepoint, channel=self.channel, one_will_do=True)[0]

    def _trusted(self, opened: RegisteredViews) -> RegisteredViews:
        """The views, counting from place to place as they should."""
        files = as_used(self.trust, opened.names, "a volume of weights")
        boxes = as_used(self.trust_box_um, opened.names, "a box of trust")
        fades = as_used(self.fades_um, opened.names, "a fade")
        if self.fade_um is not None:
            fades = dict.fromkeys(opened.names, self.fade_um) | fades
        if not (files or boxes or fades):
            return opened
        changed = []
        for view in opened.views:
            name = view.name
            if name in files or name in boxes or name in fades:
                weights = self.open_beside(files[name]) if name in files else None
                fade = Fade(*fades[name]) if name in fades else None
                view = with_trust(
                    view,
                    opened.grid,
                    weights=weights,
                    box_um=boxes.get(name),
                    fade=fade,
                    source=files.get(name, ""),
                )
            changed.append(view)
        return RegisteredViews(changed, opened.grid, remarks=opened.remarks)


def _trust_of(views: RegisteredViews, files: Mapping[str, str]) -> dict[str, Any] | None:
    """The entries of `Inputs` that say how much views count from place to place; None where they cannot say it."""
    placed: dict[str, PlacedTrust] = {}
    for view in views.views:
        if isinstance(view.trust, PlacedTrust):
            placed[view.name] = view.trust
        elif view.trust is not None:
            return None
    if any(trust.weights is not None and name not in files for name, trust in placed.items()):
        return None
    fades = {name: (trust.fade.full_um, trust.fade.none_um) for name, trust in placed.items() if trust.fade is not None}
    alike = len(fades) == len(views) and len(set(fades.values())) == 1
    return {
        "trust": {name: files[name] for name, trust in placed.items() if trust.weights is not None},
        "trust_box_um": {name: trust.box_um for name, trust in placed.items() if trust.box_um is not None},
        "fade_um": next(iter(fades.values())) if alike else None,
        "fades_um": {} if alike else fades,
    }


def _common_and_others(values: Mapping[str, T], where_none: T) -> tuple[T, dict[str, T]]:
    """What most views have, the first of those that are equally frequent, and by name what others have instead."""
    found = list(values.values())
    common = max(found, key=found.count, default=where_none)
    return common, {name: value for name, value in values.items() if value != common}


class MethodEntry(_Part):
    """Which method, and its parameters."""

    name: str
    parameters: dict[str, Any]


class ViewEntry(_Part):
    """One view as it was fused, with the hashes of its pixels and PSF, and what was done to the PSF, in words."""

    name: str
    angle: float | None
    source: str
    sha256: str
    psf_shape: list[int] | None
    psf_sha256: str | None
    psf_notes: list[str] = Field(default_factory=list)
    affine: list[list[float]] | None
    weight: float
    offset: float
    gain: float = 1.0
    remove_hot: bool = False
    mask_sha256: str | None = None
    trust_sha256: str | None = None
    transmission_sha256: str | None = None


class RunEntry(BaseModel):
    """How it was computed: device, threads and tiles; on which volumes of a series its lost light was found; with maps."""

    model_config = ConfigDict(frozen=True, extra="allow")

    device: str
    threads: int
    tile: tuple[int, int, int]
    lost_light_from: list[dict[str, Any]] | None = None
    maps: bool = False


class Recipe(_Part):
    """All that is needed to make a fused volume again."""

    format: Literal["mvfusion-recipe"] = FORMAT
    version: int
    inputs: Inputs | None
    grid: dict[str, list[float]]
    views: list[ViewEntry]
    method: MethodEntry
    run: RunEntry
    software: dict[str, str]

    def repeat(
        self,
        out: str | Path,
        *,
        device: str | None = None,
        resume: bool = False,
        overwrite: bool = False,
        cancel: Callable[[], bool] = lambda: False,
        memory_bytes: int | None = None,
        light: SharedLight | None = None,
        maps: bool = False,
        runner: TileRunner | None = None,
    ) -> Generator[Event, None, Fused | None]:
        """Run the recipe again: the same views, method, parameters, device and tiles.

        On the same machine with the same software the result is the same, bit for bit.

        Parameters
        ----------
        out, resume, overwrite, cancel, memory_bytes, runner : as for `fuse_events`
        device : None for that of the recipe
        light : what `shared_light` returns, where that is known already
        maps : make them also where the recipe does not say so, see `fuse_events`

        Yields
        ------
        The events of the run; a `Warned` first where the software has changed since.

        Raises
        ------
        InputError
            If the recipe does not say where its views are, or their pixels or PSFs are not the same any more.
        """
        inputs = self._known_inputs()
        check_before_reading(Path(out), inputs.model_dump(mode="json"), overwrite=overwrite, resume=resume)
        views, changes = self._opened(inputs)
        for change in [*changes, *self._check_same(views)]:
            yield Warned(change)
        method = method_of_recipe(self.method.name, self.method.parameters)
        for change in self._software_changes():
            yield Warned(change)
        if light is None:
            light = yield from self.shared_light()
        result = yield from fuse_events(
            views,
            method,
            device=self.run.device if device is None else device,
            tile=triple(self.run.tile),
            out=out,
            resume=resume,
            overwrite=overwrite,
            cancel=cancel,
            memory_bytes=memory_bytes,
            inputs=inputs.model_dump(mode="json"),
            light=light,
            maps=maps or self.run.maps,
            runner=runner,
        )
        return result

    def shared_light(self) -> Generator[Event, None, SharedLight | None]:
        """From which the run found the lost light of its series; None where it was found on its own views, or not at all.

        Yields
        ------
        The progress of scans.

        Raises
        ------
        InputError
            If a volume on which it was found cannot be opened, or changed since.
        """
        if self.run.lost_light_from is None:
            return None
        inputs = self._known_inputs()
        return (
            yield from shared_light_again(
                self.run.lost_light_from, lambda place: self._opened(inputs, **dict(place))[0]
            )
        )

    def open_views(self, *, timepoint: int | None = None, channel: int | None = None) -> RegisteredViews:
        """Open the views that the recipe was made from, with its angles; whether their pixels changed is not looked at.

        Parameters
        ----------
        timepoint, channel : other ones than those of the recipe, counted from 0

        Raises
        ------
        InputError
            If the recipe does not say where its views are, or they cannot be opened.
        """
        asked = {"timepoint": timepoint, "channel": channel}
        return self._opened(self._known_inputs(), **{key: one for key, one in asked.items() if one is not None})[0]

    def _known_inputs(self) -> Inputs:
        if self.inputs is None:
            changed = [
                f"view '{view.name}' ({note.removeprefix(_BY_HAND)})"
                for view in self.views
                for note in view.psf_notes
                if note.startswith(_BY_HAND)
            ]
            if changed:
                raise InputError(
                    f"this recipe cannot be repeated, as no file says what was done to the PSF of {', '.join(changed)} in "
                    "napari: save the views there with Save views…, and fuse them again"
                )
            raise InputError(
                "this recipe was made from arrays in memory, so it does not say where its views are: "
                "open them yourself and run its method on them"
            )
        return self.inputs

    def _opened(self, inputs: Inputs, **changed: Any) -> tuple[RegisteredViews, list[str]]:
        """The views of the recipe, and in words what is there beside them or said otherwise."""
        views = inputs.model_copy(update=changed).open()
        names = [entry.name for entry in self.views]
        said = []
        if set(names) < set(views.names):
            more = ", ".join(name for name in views.names if name not in names)
            said.append(f"the recipe does not use the views {more}, which are there beside its own")
            views = views.select(names)
        views, others = self._with_own_angles(views)
        return views, [*said, *others]

    def _with_own_angles(self, views: RegisteredViews) -> tuple[RegisteredViews, list[str]]:
        """The views with the angles of the recipe, which a user may have said; and where names say others, in words."""
        names = [entry.name for entry in self.views]
        if list(views.names) != names:
            there = ", ".join(views.names)
            raise InputError(f"the recipe was made from the views {', '.join(names)}, but there are {there}")
        pairs = list(zip(self.views, views.views, strict=True))
        said = [
            f"{view.label}: the angle {entry.angle:g} is taken, as the recipe says; its name says "
            f"{'none' if view.angle is None else f'{view.angle:g}'}"
            for entry, view in pairs
            if entry.angle is not None and entry.angle != view.angle
        ]
        angles = [replace(view, angle=entry.angle) for entry, view in pairs]
        return RegisteredViews(angles, views.grid, remarks=views.remarks), said

    def _check_same(self, views: RegisteredViews) -> list[str]:
        """Refuse views that are not the recipe's own; what is only made ready otherwise today comes back in words."""
        changes = self._compare_grid(views.grid)
        for entry, view in zip(self.views, views.views, strict=True):
            _refuse_other_settings(entry, view)
        for entry, view, numbers in zip(self.views, views.views, views.statistics(), strict=True):
            if entry.mask_sha256 is None and numbers.mask_sha256:
                changes.append(
                    f"the recipe knows of no pixels of {view.label} that are no data, and there are some now: the result "
                    "may differ"
                )
            elif numbers.mask_sha256 != (entry.mask_sha256 or ""):
                raise InputError(
                    f"where {view.label} has data changed since the recipe was made: restore its mask or fuse anew"
                )
            if numbers.trust_sha256 != (entry.trust_sha256 or ""):
                raise InputError(
                    f"how much {view.label} counts from place to place changed since the recipe was made: restore its "
                    "weights or fuse anew"
                )
            passed = None if view.transmission is None else volume_sha256(view.transmission)
            if passed != entry.transmission_sha256:
                raise InputError(
                    f"{view.transmission_label} changed since the recipe was made: restore it or fuse anew"
                )
            if numbers.sha256 != entry.sha256:
                raise InputError(
                    f"the pixels of {view.label} changed since the recipe was made: restore it or fuse anew"
                )
            now = None if view.psf is None else psf_sha256(view.psf)
            if now == entry.psf_sha256:
                _refuse_edited("psf_shape", view, entry.psf_shape, None if view.psf is None else list(view.psf.shape))
                continue
            if "psf_notes" in entry.model_fields_set or now is None or entry.psf_sha256 is None:
                raise InputError(f"the PSF of {view.label} changed since the recipe was made: restore it or fuse anew")
            # What the hash is of was made of the file, in another way than today.
            changes.append(
                f"the recipe is older than the way in which PSFs are made ready now, so whether the PSF of {view.label} "
                "is the same file cannot be told: the result may differ slightly"
            )
        return changes

    def _compare_grid(self, grid: Grid) -> list[str]:
        """Refuse a grid that is not the recipe's own; one that only lies elsewhere comes back in words."""
        now = {"shape": grid.shape, "voxel_size_um": grid.voxel_size_um, "origin_um": grid.origin_um}
        for key, value in now.items():
            made = self.grid.get(key)
            # Places that are far away are as exact as near ones.
            near = (0.0, 1e-6 * min(grid.voxel_size_um)) if key == "origin_um" else (1e-6, 1e-9)
            if made is None or (len(made) == len(value) and np.allclose(made, value, *near)):
                continue
            differs = f"the recipe has {key} {_plain(made)} in its grid, and its views have {_plain(value)}"
            if key == "origin_um":
                return [f"{differs}: the result lies there"]
            raise InputError(f"{differs}: {_EDIT_INPUTS}")
        return []

    def _software_changes(self) -> list[str]:
        now = software_versions()
        return [
            f"the recipe was made with {name} {old}, this is {now.get(name, 'missing')}: the result may differ slightly"
            for name, old in self.software.items()
            if now.get(name) != old
        ]


def _refuse_other_settings(entry: ViewEntry, view: View) -> None:
    """Refuse a view that is opened with other settings than its entry has: the one or the other would be ignored."""
    for key in ("weight", "offset", "gain", "remove_hot"):
        _refuse_edited(key, view, getattr(entry, key), getattr(view, key))
    affine = None if view.affine is None else view.affine.tolist()
    if entry.affine is None or affine is None or not same_affine(np.array(affine), np.array(entry.affine)):
        _refuse_edited("affine", view, entry.affine, affine)


def _refuse_edited(key: str, view: View, made: object, now: object) -> None:
    if made != now:
        raise InputError(
            f"the recipe has {key} {_plain(made)} for view '{view.name}' among its views, and opens it with {_plain(now)}: "
            f"{_EDIT_INPUTS}"
        )


def _plain(value: object) -> str:
    """A value of a recipe as it stands in it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def by_hand(what: str) -> str:
    """What was done to a PSF that no file says, as a note of its view, which recipes keep."""
    return _BY_HAND + what


def save_recipe(recipe: Mapping[str, Any], path: str | Path) -> None:
    """Write a recipe as JSON, aside first and then renamed.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with written_aside(path, overwrite=True) as aside:
        aside.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def load_recipe(path: str | Path) -> Recipe:
    """Read and validate a recipe.

    Parameters
    ----------
    path : a `.recipe.json`, or a fused volume, which holds its own

    Raises
    ------
    InputError
        If the file is missing, is or holds no recipe, or was made by a newer version.
    """
    values = read_values(path)
    if values["format"] == SERIES_FORMAT:
        raise InputError(
            f"{path} is the recipe of a series of volumes, and that of one is needed here: mvfusion fuse --recipe repeats "
            "all of it"
        )
    return validated(Recipe, values, path)


def read_values(path: str | Path) -> dict[str, Any]:
    """What the recipe of a volume or of a series holds, before it is validated; see `load_recipe`."""
    path = Path(path)
    values = _inside(path) if is_volume(path) else _written(path)
    if not isinstance(values.get("version"), int) or values["version"] > FORMAT_VERSION:
        raise InputError(f"{path} was made by a newer version of napari-mvfusion: update it to read this recipe")
    return values


def validated(kind: type[M], values: Mapping[str, Any], path: str | Path) -> M:
    """The values of a recipe as a model of this kind.

    Raises
    ------
    InputError
        If they are none; names the file and the first that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged at '{place}': {first['msg']}") from error


def _written(path: Path) -> dict[str, Any]:
    """What a file of its own holds."""
    text = read_text(path, "recipe")
    with parsing(f"{path} is no recipe: it is not JSON", f"name {_WHERE}"):
        values = json.loads(text)
    if not isinstance(values, dict) or values.get("format") not in _FORMATS:
        raise InputError(f"{path} is no recipe: name {_WHERE}")
    return values


def _inside(path: Path) -> dict[str, Any]:
    """What a volume holds."""
    values = read_recipe(path)
    if values is not None and values.get("format") != SERIES_FORMAT and isinstance(values.get("series"), list):
        raise InputError(
            f"{path} holds the recipes of a series of {len(values['series'])} volumes, and one is repeated at a time: fuse "
            "to disk in napari, where each volume is a file with its recipe"
        )
    if values is None or values.get("format") not in _FORMATS:
        raise InputError(f"{path} holds no recipe: name {_WHERE}")
    return values
