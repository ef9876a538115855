"""What is known of PSFs beyond the notes of their views: looks and flaws, found out in threads and kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers import annotate, notes
from napari_mvfusion.gui.tasks import Checkpoint, Tasks
from napari_mvfusion.gui.views.cuts import PSFLook, look_of
from napari_mvfusion.gui.views.grids import own_matrix
from napari_mvfusion.gui.views.problems import Fix, Mended, Problem, psf_problems
from napari_mvfusion.psf import resample_psf


@dataclass(frozen=True, eq=False)
class PSFKnown:
    """What was found out about a PSF, and of what: it holds as long as that stays."""

    own: np.ndarray | None
    used: np.ndarray | None
    grid: Grid | None
    look: PSFLook | None
    problems: tuple[Problem, ...]

    def holds(self, own: np.ndarray | None, used: np.ndarray | None, grid: Grid | None) -> bool:
        """Whether this is still about the same."""
        return self.own is own and self.used is used and self.grid == grid

    @property
    def remedy(self) -> Fix | None:
        """What mends most of its problems at once."""
        fixes = self.problems[0].fixes if self.problems else ()
        return next((fix for fix in reversed(fixes) if fix.mend is not None), None)


class PSFKnowledge(QObject):
    """Finds out what is not known yet about PSFs, and tells when there is something new.

    Parameters
    ----------
    tasks : run the threads
    """

    changed = Signal()

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._known: dict[Image, PSFKnown] = {}

    def about(self, layer: Image, grid: Grid | None) -> PSFKnown | None:
        """About the layer's PSF as it is now, or None where that is not known yet."""
        known = self._known.get(layer)
        own, used = psfs_of(layer)
        return known if known is not None and known.holds(own, used, grid) else None

    def find_out(self, layers: Sequence[Image], included: list[Image], grid: Grid | None) -> None:
        """Look at what is new; forget layers that are gone.

        Parameters
        ----------
        layers : all that can be views
        included : those that are fused; the first of them gives the grid
        grid : of the fused volume, if there is one
        """
        self._known = {layer: known for layer, known in self._known.items() if layer in layers}
        self._place_psfs(layers, included)
        psfs = [(layer, *psfs_of(layer)) for layer in layers if self.about(layer, grid) is None]
        psfs = [(layer, own, used) for layer, own, used in psfs if own is not None or used is not None]
        if psfs and not self._tasks.runs("psfs"):
            self._tasks.start("psfs", _look_at_psfs, psfs, grid, done=self._keep_psfs)

    def _place_psfs(self, layers: Sequence[Image], included: list[Image]) -> None:
        """Bring PSFs that lie in their views' own frames into the fused one, again when a layer was moved."""
        due = []
        for layer in layers:
            known = notes(layer)
            if known.get("psf_own") is None or (matrix := own_matrix(layer, included)) is None:
                continue
            placed = known.get("psf_matrix") is not None
            if placed and known.get("psf") is not known.get("psf_placed"):
                # Somebody else has given the view another PSF since.
                annotate(layer, psf_own=None)
            elif not placed or not np.allclose(known["psf_matrix"], matrix):
                due.append((layer, known["psf_own"], matrix))
        if due and not self._tasks.runs("frames"):
            self._tasks.start("frames", _bring_to_frame, due, done=self._keep_frames)

    def _keep_frames(self, placed: list[tuple[Image, np.ndarray, np.ndarray, np.ndarray | None]]) -> None:
        for layer, own, matrix, psf in placed:
            if notes(layer).get("psf_own") is own:
                annotate(layer, psf=psf, psf_placed=psf, psf_matrix=matrix, inputs=None)
        self.changed.emit()

    def _keep_psfs(self, found: list[tuple[Image, PSFKnown]]) -> None:
        self._known |= dict(found)
        self.changed.emit()


def psfs_of(layer: Image) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The PSF in the view's own frame, where it was given so, and the PSF as it is used."""
    known = notes(layer)
    return known.get("psf_own"), known.get("psf")


# Below run in threads: layers only go through, as names of what is handed back.


def _look_at_psfs(
    check: Checkpoint, psfs: list[tuple[Image, np.ndarray | None, np.ndarray | None]], grid: Grid | None
) -> Generator[None, None, list[tuple[Image, PSFKnown]]]:
    found = []
    size, shape = ((1.0, 1.0, 1.0), None) if grid is None else (grid.voxel_size_um, grid.shape)
    for layer, own, used in psfs:
        problems: list[Problem] = []
        if own is not None:
            problems = [_about_own(problem) for problem in psf_problems(own)]
        if used is not None and not problems:
            problems = psf_problems(used, shape)
        found.append((layer, PSFKnown(own, used, grid, None if used is None else look_of(used, size), tuple(problems))))
        yield
        check()
    return found


def _about_own(problem: Problem) -> Problem:
    """A problem of the PSF in its view's own frame, whose fixes mend that one."""

    def own(mend: Callable[[], Mended]) -> Mended:
        mended = mend()
        return replace(mended, entries={"psf_own": mended.entries["psf"], "psf_matrix": None})

    fixes = [fix if fix.mend is None else replace(fix, mend=partial(own, fix.mend)) for fix in problem.fixes]
    return replace(problem, fixes=tuple(fixes))


def _bring_to_frame(
    check: Checkpoint, due: list[tuple[Image, np.ndarray, np.ndarray]]
) -> Generator[None, None, list[tuple[Image, np.ndarray, np.ndarray, np.ndarray | None]]]:
    placed: list[tuple[Image, np.ndarray, np.ndarray, np.ndarray | None]] = []
    for layer, own, matrix in due:
        try:
            placed.append((layer, own, matrix, resample_psf(own, matrix)))
        except InputError:
            # What is wrong with it stands in its row.
            placed.append((layer, own, matrix, None))
        yield
        check()
    return placed
