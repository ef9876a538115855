"""What is known of views beyond the notes of their layers: found out in threads, and kept for as long as it holds."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.geometry import NOT_KNOWN, FloatTriple, Grid
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Tasks
from napari_mvfusion.gui.layers.conversion import finest, pixels_of, to_world_um
from napari_mvfusion.gui.layers.notes import annotate, notes, said_of_psf
from napari_mvfusion.gui.layers.opened import open_layers, psf_in_run
from napari_mvfusion.gui.panels.views.grids import own_matrix
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.measures.pixel_facts import PixelFacts, look_at
from napari_mvfusion.measures.psf_problems import bring_to_frame, judge_own, judge_psf
from napari_mvfusion.measures.view_facts import ViewFacts, compare_views
from napari_mvfusion.measures.view_problems import Fix, Problem
from napari_mvfusion.psf.cuts import PSFLook, look_of
from napari_mvfusion.psf.directions import long_axis


class _Cache(QObject):
    """Finds out what is not known yet, and tells when there is something new.

    Parameters
    ----------
    tasks : run the threads
    """

    changed = Signal()

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks


class PixelCache(_Cache):
    """What the pixels of views are like, looked at one view after the other."""

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(tasks, parent)
        self._known: dict[Image, tuple[Any, PixelFacts]] = {}

    def about(self, layer: Image) -> PixelFacts | None:
        """About the layer's pixels as they are now, or None where that is not known yet."""
        pixels, facts = self._known.get(layer, (None, None))
        return facts if pixels is finest(layer) else None

    def find_out(self, layers: Sequence[Image]) -> None:
        """Look at what is new; forget layers that are gone."""
        self._known = {layer: known for layer, known in self._known.items() if layer in layers}
        unseen = next((layer for layer in layers if self.about(layer) is None), None)
        if unseen is not None and not self._tasks.runs("pixels"):
            done = partial(self._keep, unseen, finest(unseen))
            self._tasks.start("pixels", lambda _, stack: look_at(stack), pixels_of(unseen), done=done)

    def _keep(self, layer: Image, pixels: Any, facts: PixelFacts) -> None:
        self._known[layer] = (pixels, facts)
        self.changed.emit()


class ViewCache(_Cache):
    """What the views that are fused are like beside each other, compared whenever they changed."""

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(tasks, parent)
        self._asked: dict[Image, tuple[Any, ...]] = {}
        self._known: dict[Image, tuple[Any, ...]] = {}
        self._facts: dict[Image, ViewFacts] = {}

    def about(self, layer: Image, included: Sequence[Image]) -> ViewFacts | None:
        """About a layer among those that are fused, as they are now, or None where that is not known yet."""
        return self._facts.get(layer) if _still_so(self._known, included) else None

    def find_out(self, included: Sequence[Image]) -> None:
        """Compare these views, unless that is done or under way."""
        if _still_so(self._known, included) or (_still_so(self._asked, included) and self._tasks.runs("views")):
            return
        try:
            # What views are like does not depend on how much they count, and is not found out anew when that is changed.
            views = open_layers(included, everywhere=included).views
        except MVFusionError:
            # The row of the view that cannot be opened says so.
            self._tasks.stop("views")
            return
        self._asked = {layer: _compared(layer) for layer in included}
        done = partial(self._keep, self._asked)
        self._tasks.start("views", lambda _, *opened: compare_views(*opened), views.views, views.grid, done=done)

    def _keep(self, asked: dict[Image, tuple[Any, ...]], facts: list[ViewFacts]) -> None:
        self._known, self._facts = asked, dict(zip(asked, facts, strict=True))
        self.changed.emit()


def _compared(layer: Image) -> tuple[Any, ...]:
    """What a comparison depends on: pixels and mask of a layer, and what else."""
    known, place = notes(layer), to_world_um(layer).tobytes()
    said = known.get("no_data", "auto"), known.get("offset", 0.0), layer.name, known.get("grid")
    return finest(layer), known.get("mask"), (finest(layer).shape, place, *said)


def _still_so(before: dict[Image, tuple[Any, ...]], layers: Sequence[Image]) -> bool:
    if list(before) != list(layers):
        return False
    try:
        pairs = [(before[layer], _compared(layer)) for layer in layers]
    except MVFusionError:
        return False
    return all(old[0] is now[0] and old[1] is now[1] and old[2] == now[2] for old, now in pairs)


@dataclass(frozen=True, eq=False)
class CachedPSF:
    """What was found out about a PSF, `long` as by `long_axis`, and of what: it holds as long as that stays."""

    own: np.ndarray | None
    used: np.ndarray | None
    grid: Grid | None
    look: PSFLook | None
    problems: tuple[Problem, ...]
    long: FloatTriple | None

    def holds(self, own: np.ndarray | None, used: np.ndarray | None, grid: Grid | None) -> bool:
        """Whether this is still about the same."""
        # Grids are equal whether their size is known or not, which is shown.
        alike = self.grid == grid and (grid is None or self.grid is None or self.grid.known == grid.known)
        return self.own is own and self.used is used and alike

    @property
    def remedy(self) -> Fix | None:
        """What mends most of its problems at once."""
        fixes = self.problems[0].fixes if self.problems else ()
        return next((fix for fix in reversed(fixes) if fix.mend is not None), None)


@dataclass(frozen=True, eq=False)
class _Given:
    """The PSFs of a layer as they stand in its notes, and what was said of the one that is used."""

    layer: Image
    label: str
    own: np.ndarray | None
    used: np.ndarray | None
    said: ViewPSF

    @classmethod
    def of(cls, layer: Image) -> _Given:
        return cls(layer, f"view '{layer.name}'", *psfs_of(layer), said_of_psf(layer))


class PSFCache(_Cache):
    """What PSFs are like; those that are not ready to fuse with are made so."""

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(tasks, parent)
        self._known: dict[Image, CachedPSF] = {}

    def about(self, layer: Image, grid: Grid | None) -> CachedPSF | None:
        """About the layer's PSF as it is now, or None where that is not known yet."""
        known = self._known.get(layer)
        own, used = psfs_of(layer)
        return known if known is not None and known.holds(own, used, grid) else None

    def find_out(self, layers: Sequence[Image], included: list[Image], grid: Grid | None) -> None:
        """Look at what is new, and make ready to fuse with what is not; forget layers that are gone.

        Parameters
        ----------
        layers : all that can be views
        included : those that are fused; the first of them gives the grid
        grid : of the fused volume, if there is one
        """
        self._known = {layer: known for layer, known in self._known.items() if layer in layers}
        self._place_psfs(layers, included)
        psfs = [given for given in map(_Given.of, layers) if given.own is not None or given.used is not None]
        psfs = [given for given in psfs if self.about(given.layer, grid) is None]
        if psfs and not self._tasks.runs("psfs"):
            self._tasks.start("psfs", _look_at_psfs, psfs, grid, done=self._keep_psfs)

    def _place_psfs(self, layers: Sequence[Image], included: list[Image]) -> None:
        """Bring PSFs that lie in their views' own frames into the fused one, again when a layer was moved."""
        due = []
        for layer in layers:
            known = notes(layer)
            if known.get("psf_own") is None or (matrix := own_matrix(layer, included)) is None:
                continue
            before = known.get("psf_matrix")
            if before is not None and known.get("psf") is not known.get("psf_placed"):
                # Somebody else has given the view another PSF since.
                annotate(layer, psf_own=None)
            elif before is not None and np.allclose(before, matrix):
                continue
            elif (said := psf_in_run(layer, matrix)) is not None:
                annotate(layer, psf=said.psf, psf_placed=said.psf, psf_said=said, psf_matrix=matrix)
            else:
                due.append((_Given.of(layer), matrix))
        if due and not self._tasks.runs("frames"):
            self._tasks.start("frames", _bring_to_frame, due, done=self._keep_frames)

    def _keep_frames(self, placed: list[tuple[_Given, np.ndarray, ViewPSF]]) -> None:
        for given, matrix, said in placed:
            now = notes(given.layer)
            placed_by = now.get("psf_matrix")
            if now.get("psf_own") is given.own and (placed_by is None or not np.allclose(placed_by, matrix)):
                annotate(given.layer, psf=said.psf, psf_placed=said.psf, psf_said=said, psf_matrix=matrix)
        self.changed.emit()

    def _keep_psfs(self, found: list[tuple[_Given, ViewPSF, CachedPSF]]) -> None:
        self._known |= {given.layer: known for given, _, known in found}
        for given, said, known in found:
            # Whatever the layer got meanwhile is looked at in its turn.
            now = notes(given.layer)
            if known.used is not given.used and now.get("psf") is given.used:
                by_hand = now.get("psf_by_hand") or ("made ready" if now.get("inputs") is not None else "")
                annotate(given.layer, psf=said.psf, psf_said=said, inputs=None, psf_by_hand=by_hand)
        self.changed.emit()


def psfs_of(layer: Image) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The PSF in the view's own frame, where it was given so, and the PSF as it is used."""
    known = notes(layer)
    return known.get("psf_own"), known.get("psf")


# Below run in threads: layers only go through, as names of what is handed back.


def _look_at_psfs(
    check: Checkpoint, psfs: list[_Given], grid: Grid | None
) -> Generator[None, None, list[tuple[_Given, ViewPSF, CachedPSF]]]:
    found = []
    size, sizes_known, shape = (1.0, 1.0, 1.0), NOT_KNOWN, None
    if grid is not None:
        size, sizes_known, shape = grid.voxel_size_um, grid.known, grid.shape
    for given in psfs:
        used, said = given.used, given.said
        problems: tuple[Problem, ...] = ()
        if used is not None:
            # One that lies in its view's own frame was made ready there.
            judged = judge_psf(used, given.label, shape, said=said, ready=given.own is not None)
            used, said, problems = judged.psf, ViewPSF(judged.psf, judged.notes, said.flaw), judged.problems
        elif given.own is not None:
            problems = judge_own(given.own, given.label)
        look = None if used is None else look_of(used, size, sizes_known)
        long = None if used is None or look is None else long_axis(used, size)
        found.append((given, said, CachedPSF(given.own, used, grid, look, problems, long)))
        yield
        check()
    return found


def _bring_to_frame(
    check: Checkpoint, due: list[tuple[_Given, np.ndarray]]
) -> Generator[None, None, list[tuple[_Given, np.ndarray, ViewPSF]]]:
    placed = []
    for given, matrix in due:
        assert given.own is not None
        placed.append((given, matrix, bring_to_frame(given.own, given.label, matrix, given.said)))
        yield
        check()
    return placed
