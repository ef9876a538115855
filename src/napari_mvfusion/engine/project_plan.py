"""What can be chosen of a project, what is chosen, and what that would take: known before any of it is opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.addresses import absolute
from napari_mvfusion.engine.needs import FusionNeeds, fusion_needs
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.io.base import ListedView, ViewListing
from napari_mvfusion.io.formats import format_of
from napari_mvfusion.io.volume_choice import NotChosenError, ProjectChoice
from napari_mvfusion.system.words import times

UNIT_LACKING = "Say how long one unit of the project's world is"
OUTSIDE_LACKING = "Allow the files that lie outside of the project's folder"
NO_VIEW = "Tick the views to open"

# Parts of a view that are named one by one.
_MOST_NAMED = 3


PARTS = ("angle", "illumination", "tile")


@dataclass(frozen=True, eq=False)
class ViewChoice:
    """A view as it can be ticked.

    Attributes
    ----------
    name : by which it is chosen
    parts : its angle, illumination and tile in words, "" where it has none; several where they are one view
    size : voxels (z, y, x) in words, "" where that is not known
    psf : whether there is a PSF, in words
    unusable : why it cannot be chosen, "" where it can
    recorded : whether there is anything of it
    """

    name: str
    parts: Mapping[str, str]
    size: str
    psf: str
    unusable: str
    recorded: bool


@dataclass(frozen=True)
class ProjectPlan:
    """What opening what is chosen of a project would give.

    Attributes
    ----------
    views : that there are at this time point and channel
    can_blend : whether several of them can be one view
    levels : resolution levels that all of them have
    outside : where the project leads outside of its own folder without leave, None where it does not
    inputs : what is chosen, without views that are not there
    needs : what fusing it would take, None where that is not known
    lacking : what has to be said or mended before it can be opened, "" where nothing has
    """

    views: tuple[ViewChoice, ...]
    can_blend: bool
    levels: int
    outside: Path | None
    inputs: Inputs
    needs: FusionNeeds | None = None
    lacking: str = ""


def first_of_project(path: Path) -> tuple[Inputs, tuple[str, ...]]:
    """What is opened of a project where nothing is asked, and what was chosen for that, in words.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    planner = ProjectPlanner(path)
    inputs, project, said = planner.proposed, planner.project, []
    if inputs.timepoint is not None:
        said.append(f"{path} has {len(project.timepoints)} time points: {inputs.timepoint} was opened, the first one")
    if inputs.channel is not None:
        said.append(
            f"{path} has the channels {', '.join(project.channels)}: {inputs.channel} was opened, the first one"
        )
    if inputs.registration is not None:
        others = ", ".join(project.registrations)
        said.append(f"{path} has the registrations {others}: {inputs.registration} was taken")
    return inputs, tuple(said)


class ProjectPlanner:
    """Says what opening parts of one project would give; remembers the views that it has listed last.

    Attributes
    ----------
    path : of the project
    project : what it holds
    proposed : what is chosen until somebody says more: all views of its first time point and channel

    Parameters
    ----------
    path : of the project

    Raises
    ------
    InputError
        If it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._format = format_of(path)
        self.project = self._format.describe(path)
        self._listed: tuple[ProjectChoice, ViewListing] | None = None
        numbers = self.project.channel_numbers
        self.proposed = Inputs(
            source=absolute(path),
            timepoint=self.project.timepoints[0] if len(self.project.timepoints) > 1 else None,
            channel=numbers[0] if len(numbers) > 1 else None,
            no_data="auto",
            grid="isotropic",
        )
        if len(self.project.registrations) > 1:
            self.proposed = self.proposed.model_copy(update={"registration": self._likely_registration()})

    def _likely_registration(self) -> str | None:
        """The one that is most likely meant; None where the views say it themselves."""
        try:
            self._list(self.proposed)
        except NotChosenError as several:
            return str(several.first) if several.axis == "registration" else None
        return None

    def plan(
        self,
        inputs: Inputs,
        left_out: Collection[str] = (),
        *,
        memory_share: float = 0.5,
        device: str = "auto",
        cancel: Callable[[], bool] = lambda: False,
    ) -> ProjectPlan:
        """Say what opening would give; files are looked for, and no pixel is read.

        Parameters
        ----------
        inputs : what is chosen; its `views` are not looked at
        left_out : names of views that are not wanted
        memory_share, device, cancel : see `fusion_needs`

        Raises
        ------
        InputError
            If there are no views at this time point, or the project cannot be used.
        Interrupted
            If it was cancelled.
        """
        listing = self._list(inputs)
        if cancel():
            raise Interrupted
        views = _choices(listing.views, apart=inputs.apart)
        chosen = [view.name for view in views if not view.unusable and view.name not in left_out]
        whole = all(view.name in chosen for view in views if view.recorded)
        inputs = inputs.model_copy(update={"views": None if whole else chosen})
        needs, lacking = None, self._lacking(inputs, listing, chosen)
        if not lacking:
            try:
                opened = inputs.open()
            except InputError as error:
                lacking = str(error)
            else:
                needs = fusion_needs(opened, device=device, memory_share=memory_share, cancel=cancel)
        groups = [view.fused_as for view in listing.views if view.recorded]
        return ProjectPlan(
            views, len(set(groups)) < len(groups), listing.levels, listing.outside, inputs, needs, lacking
        )

    def _lacking(self, inputs: Inputs, listing: ViewListing, chosen: Sequence[str]) -> str:
        if listing.outside is not None:
            return OUTSIDE_LACKING
        if self.project.unit == "unclear" and inputs.world_unit_um is None:
            return UNIT_LACKING
        return "" if chosen else NO_VIEW

    def _list(self, inputs: Inputs) -> ViewListing:
        at = ProjectChoice(
            inputs.timepoint,
            inputs.channel,
            level=inputs.level,
            world_unit_um=inputs.world_unit_um,
            outside=inputs.outside,
            registration=inputs.registration,
        )
        if self._listed is None or self._listed[0] != at:
            self._listed = at, self._format.list_views(self.path, at)
        return self._listed[1]


def _choices(listed: Sequence[ListedView], *, apart: bool) -> tuple[ViewChoice, ...]:
    """The views as they are chosen: each by itself, or illuminations and tiles of one angle as one."""
    groups: dict[str, list[ListedView]] = {}
    for view in listed:
        groups.setdefault(view.name if apart or not view.recorded else view.fused_as, []).append(view)
    return tuple(_choice(name, members) for name, members in groups.items())


def _choice(name: str, members: Sequence[ListedView]) -> ViewChoice:
    flaw = next((view.unusable for view in members if view.unusable), "")
    sizes = list(dict.fromkeys(times(view.shape) for view in members if view.shape is not None))
    with_psf = sum(view.has_psf for view in members)
    psf = "no" if not with_psf else "yes" if with_psf == len(members) else f"{with_psf} of {len(members)}"
    parts = {kind: _listed([view.parts.get(kind, "") for view in members], kind) for kind in PARTS}
    return ViewChoice(
        name,
        parts,
        sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes" if sizes else "",
        psf,
        flaw,
        all(view.recorded for view in members),
    )


def _listed(names: Sequence[str], kind: str) -> str:
    """The angles, illuminations or tiles of a view; of many how many there are."""
    found = list(dict.fromkeys(name for name in names if name))
    return ", ".join(found) if len(found) <= _MOST_NAMED else f"{len(found)} {kind}s"
