"""The folder of an unfinished run: which tiles are safe, and the journal that a rerun goes on from.

Beside the output `fused.zarr` stands `fused.zarr.partial/` while the run lasts. A line is added to its journal only
after the tile it names has been written, so a run that is killed at any moment loses at most the tile it was on. The
line has a digest of the voxels: what a rerun takes over is what was written, or it is computed again.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from napari_mvfusion.engine.finishing import RECIPE, Finishing, is_result, partial_folder, recipe_path
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import check_place, writing
from napari_mvfusion.io.formats import place_of, writer_of
from napari_mvfusion.system import journal

JOURNAL = "journal.jsonl"
_GO_ON = "have the unfinished run beside it, which is to replace it, go on (--resume --overwrite)"
_OURS = re.compile(
    r"(journal\.jsonl|progress\.json|recipe\.json|replaced(\.recipe\.json)?)"
    r"|estimate-\d+-\d+\.raw(\.[0-9a-f]+)?|checkpoint-\d+(-before)?\.raw|aside-[0-9a-f]+"
    # Of a series: the volume that is being fused.
    r"|\.?volume(-\d+)+\.zarr(\..+)?"
)


def check_free(named: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse an output that exists and may not be overwritten; whether another run is making it is not looked at.

    Parameters
    ----------
    named : the output, which may name a place inside a file
    overwrite, resume : as for the run

    Raises
    ------
    OutputError
        If it exists, or more than a volume of this name would be lost.
    """
    known = writer_of(named)
    out = known.place(named)
    with writing(out):
        # With resume, it may be what this very run has made; the fingerprint will tell.
        ours = resume and (recipe_path(out).exists() or _placing(out) is not None)
        if out.exists() and not (overwrite or ours):
            unfinished = resume and partial_folder(out).exists()
            how = _GO_ON if unfinished else "allow it to be overwritten (--overwrite)"
            raise OutputError(f"{out} exists already: choose another output, or {how}")
        if overwrite:
            known.check_replaced(named)


def check_output(named: Path, *, overwrite: bool, resume: bool) -> None:
    """Look at the place of an output before any work.

    Raises
    ------
    OutputError
        If it exists and may not be overwritten, an unfinished run lies there that is not to be resumed, or its
        folder is missing or cannot be written.
    """
    check_free(named, overwrite=overwrite, resume=resume)
    out = place_of(named)
    with writing(out):
        partial = partial_folder(out)
        if partial.exists() and not (resume or overwrite):
            raise OutputError(
                f"{partial} holds an unfinished run of {out.name}: go on with it (--resume), "
                "or discard it (--overwrite)"
            )
    check_place(out)


class Workspace:
    """The folder of one unfinished run. Whoever makes one holds the lock of the output.

    Attributes
    ----------
    entries : the lines of the journal
    notes : what of an unfinished run was lost, in words
    finished : whether an earlier run has made the output already, and its folder is gone

    Parameters
    ----------
    out : the output that the run will make
    fingerprint : identifies the recipe; a run goes on only where it is the same
    resume : go on with an unfinished run when there is one
    overwrite : discard an unfinished run when there is one and it is not to be resumed
    made_with : fingerprints of what makes the output that exists, if that is known
    inside : what the volume is called in the file, where a file holds several
    found : what the run has found of its parameters, JSON types, to be told by `found_before`; None for nothing

    Raises
    ------
    OutputError
        If the folder cannot be made, or the unfinished run in it, or the output, was made with another recipe.
    """

    def __init__(
        self,
        out: Path,
        fingerprint: str,
        *,
        resume: bool,
        overwrite: bool,
        made_with: Collection[str] = (),
        inside: str = "",
        found: Mapping[str, Any] | None = None,
    ) -> None:
        self.out = out
        self.finishing = Finishing(out)
        self.folder = self.finishing.folder
        self.entries: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.finished = False
        self._journal = self.folder / JOURNAL
        with writing(self.folder):
            if self.folder.exists() and resume:
                self._take_over(fingerprint, inside, overwrite=overwrite)
            if self.entries and (overwrite or not out.exists() or self.last("placing") is not None):
                self._shut_out_others()
                return
            if out.exists() and not overwrite:
                self.finished = fingerprint in made_with and not self.folder.exists()
                if not self.finished:
                    how = _GO_ON if self.entries else "allow it to be overwritten (--overwrite)"
                    raise OutputError(f"{out} exists already and was made otherwise: choose another output, or {how}")
                return
            if self.folder.exists():
                self.discard()
            self.folder.mkdir()
        first: dict[str, Any] = {"fingerprint": fingerprint} | ({"inside": inside} if inside else {})
        self.log(first | ({"found": dict(found)} if found is not None else {}))

    @property
    def plan(self) -> dict[str, Any] | None:
        """The plan that the unfinished run was started with, or None in a new run."""
        plan: dict[str, Any] | None = self.last("plan")
        return plan

    @property
    def placed(self) -> bool:
        """Whether the result of the unfinished run has its place already, and only tidying up is left."""
        placing = self.last("placing")
        return placing is not None and self.finishing.placed(replaces=placing["replaces"])

    def last(self, kind: str) -> Any:
        """The content of the last line of a kind, or None."""
        return next((entry[kind] for entry in reversed(self.entries) if kind in entry), None)

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the journal and make sure that it is on the disk."""
        with writing(self._journal):
            journal.append(self._journal, entry)
        self.entries.append(entry)

    def place(self, recipe: Mapping[str, Any], changes: list[float], *, overwrite: bool) -> None:
        """Put the complete result and its recipe into their places and remove the folder.

        Raises
        ------
        OutputError
            If there is an output that must not be overwritten, or a step fails; the run can then be resumed.
        """
        before = self.last("placing")
        agreed = overwrite or (before is not None and before["replaces"])
        replaces = self.out.exists() or (before is not None and before["replaces"])
        with writing(self.out):
            if agreed or not replaces:
                (self.folder / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
                if before is None or before["replaces"] != replaces:
                    self.log({"placing": {"replaces": replaces, "changes": changes}})
            self.finishing.place(replaces=replaces and agreed)

    def begin_sharing(self) -> Path:
        """Make the folder in which others, who compute tiles of this run, write files before these get their names.

        It is this process's own, and leaves with the run: who goes on writing after that finds it no more, and so changes
        nothing in the folder of a later run of the same output.
        """
        aside = self._new_aside()
        with writing(aside):
            aside.mkdir()
        return aside

    def tidy(self) -> None:
        """Do what a run that was killed after its result had its place has left."""
        with writing(self.out):
            self.finishing.place(replaces=False)

    def discard(self) -> None:
        """Remove the folder: the run is not wanted. What it was about to replace is put back."""
        with writing(self.folder):
            discard(self.out)

    def _shut_out_others(self) -> None:
        """Let those write no more who computed tiles for the process that began this run, and may not know that it ended."""
        for old in self.folder.glob("aside-*"):
            # Under its name a file may still come while it is removed.
            leaving = old.rename(self._new_aside())
            shutil.rmtree(leaving)

    def _new_aside(self) -> Path:
        return self.folder / f"aside-{uuid.uuid4().hex[:8]}"

    def _take_over(self, fingerprint: str, inside: str, *, overwrite: bool) -> None:
        entries, damaged = journal.read(self._journal)
        known = entries[0].get("fingerprint") if entries else None
        if known is None:
            self.notes.append(
                f"the journal of the unfinished run in {self.folder} is missing, damaged or of an older version: "
                "it begins anew"
            )
            return
        before = entries[0].get("inside", "")
        if known == fingerprint and before != inside and not overwrite:
            raise OutputError(
                f"the unfinished run in {self.folder} writes {self.out}{before and f':/{before}'}: go on with it under that "
                "name, choose another output, or discard it (--overwrite without --resume)"
            )
        if known != fingerprint or before != inside:
            if overwrite:
                return
            raise OutputError(
                f"the unfinished run in {self.folder} used other views, parameters or software: "
                "repeat it as it was, choose another output, or discard it (--overwrite without --resume)"
            )
        if damaged:
            lines = "a line" if damaged == 1 else f"{damaged} lines"
            self.notes.append(f"{lines} of the journal in {self.folder} are damaged: what they vouch for is done again")
        self.entries = entries


def discard(out: Path) -> None:
    """Remove the unfinished run of an output, or what is left of one whose result has its place.

    What the run was about to replace is put back. Whoever calls this holds the lock of the output.

    Raises
    ------
    OutputError
        If the folder holds what no run has made: it is somebody's own.
    OSError
        If something cannot be moved or removed.
    """
    finishing = Finishing(out)
    for path in finishing.folder.iterdir():
        if _OURS.fullmatch(path.name) is None and not is_result(path.name):
            raise OutputError(
                f"{finishing.folder} holds {path.name}, which no run has made: move it, or choose another output"
            )
    placing = _placing(out)
    if placing is not None and finishing.placed(replaces=placing["replaces"]):
        finishing.place(replaces=False)
        return
    finishing.undo()
    finishing.remove()


def found_before(out: Path, fingerprint: str) -> dict[str, Any] | None:
    """What the unfinished run of an output has found of its parameters, where it is the one with this fingerprint."""
    entries, _ = journal.read(partial_folder(out) / JOURNAL)
    if not entries or entries[0].get("fingerprint") != fingerprint:
        return None
    found: dict[str, Any] | None = entries[0].get("found")
    return found


def is_unfinished_run(folder: Path) -> bool:
    """Whether a folder holds an unfinished run, which only its name and its journal tell from folders of one's own."""
    return folder.suffix == ".partial" and (folder / JOURNAL).is_file()


def _placing(out: Path) -> dict[str, Any] | None:
    """What the journal of an unfinished run says about its last steps, None where they have not begun."""
    entries = journal.look(partial_folder(out) / JOURNAL)
    placing: dict[str, Any] | None = next((e["placing"] for e in reversed(entries) if "placing" in e), None)
    return placing
