"""Where the volumes of a series go, and which are safe: one file that has all of them, or a file for each.

While the run lasts, a folder `OUT.partial/` beside the output keeps a journal. A line is added to it only after the
volume that it names is in its place, so that a run that is killed at any moment loses at most the volume it was on; and
of that one all finished tiles are kept, as of any run.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Literal

from napari_mvfusion.data.events import Event, Preparing
from napari_mvfusion.engine.finished import flaw_of_volume
from napari_mvfusion.engine.finishing import Finishing, named_apart, partial_folder
from napari_mvfusion.engine.recipe import recipe_path, save_recipe
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_recipe import describe_series, recipe_beside
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.engine.workspace import JOURNAL, Workspace, check_output, discard
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import check_place, remove, writing
from napari_mvfusion.io.formats import growing_format, writer_of
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.system import journal

Index = tuple[int, ...]


class SeriesOutput(ABC):
    """Where the volumes of a series go. Whoever calls `begin` holds the lock of its place.

    Attributes
    ----------
    place : the file or folder of all of them; of a series of files, what their names are made of
    folder : of the unfinished run
    kept : the recipes of the volumes that are safe, by their index, as JSON
    notes : what of an unfinished run was lost, in words

    Parameters
    ----------
    named : the output, which may name a place inside a file
    choice : which volumes
    fingerprint : of what was asked for, see `series_fingerprint`
    resume, overwrite : as for a run
    """

    def __init__(self, named: Path, choice: SeriesChoice, fingerprint: str, *, resume: bool, overwrite: bool) -> None:
        self.named, self._choice, self._fingerprint = named, choice, fingerprint
        self.place = writer_of(named).place(named)
        self.folder = partial_folder(self.place)
        self.resume, self.overwrite = resume, overwrite
        self.kept: dict[Index, str] = {}
        self.notes: list[str] = []
        self._workspace: Workspace | None = None

    @abstractmethod
    def check(self) -> None:
        """Refuse an output that cannot be made, before any work.

        Raises
        ------
        OutputError
            If something is there that may not be replaced, or cannot be gone on with.
        """

    @abstractmethod
    def target(self, index: Index) -> Path:
        """Where the run of a volume writes."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """What holds the volumes that are kept: one file, or that of each."""

    @abstractmethod
    def how(self) -> dict[str, bool]:
        """What the run of a volume does with what lies at its target: `resume` and `overwrite`."""

    @abstractmethod
    def flaw(self, index: Index, recipe: Mapping[str, Any]) -> Generator[Preparing, None, str]:
        """What is wrong with a volume that is kept, read once; "" for nothing."""

    @abstractmethod
    def finish(self, volumes: list[Mapping[str, Any]]) -> None:
        """All is done: put the result, and its recipe with those of its volumes, in their places."""

    def begin(self, cancel: Callable[[], bool]) -> Generator[Event, None, bool]:
        """Find out what an earlier run has kept, and that it is still what was written.

        Returns
        -------
        Whether all of it is finished, so that there is nothing left to do.

        Raises
        ------
        OutputError
            If the earlier run, or the result, was made otherwise.
        """
        made = self._made_alike() if self.resume else None
        if made is not None and not self._goes_on():
            self.kept = {
                index: json.dumps(recipe)
                for index, recipe in zip(self._choice.indices, made["series"], strict=True)
                if "failed" not in recipe
            }
            yield from self._forget_damaged(cancel)
            if len(self.kept) == len(self._choice.indices):
                return True
            self._take_back()
            return False
        self._workspace = self._opened()
        if self._workspace.placed:
            self._workspace.tidy()
            self._workspace = None
            return (yield from self.begin(cancel))
        self.notes += self._workspace.notes
        self.kept = self._in_journal(self._workspace.entries)
        yield from self._forget_damaged(cancel)
        return False

    def keep(self, index: Index, recipe: Mapping[str, Any]) -> None:
        """The run of a volume has finished its target: it is safe from now on."""
        self._keep(index, json.dumps(recipe))

    def drop(self, index: Index) -> None:
        """A volume failed: remove what its run has left unfinished."""
        target = writer_of(self.target(index)).place(self.target(index))
        with writing(target):
            if partial_folder(target).exists():
                discard(target)

    def discard(self) -> None:
        """Nothing was made: remove the folder of the run."""
        self._journal.discard()

    @property
    def _journal(self) -> Workspace:
        assert self._workspace is not None, "the output has begun"
        return self._workspace

    def _opened(self) -> Workspace:
        return Workspace(self.place, self._fingerprint, resume=self.resume, overwrite=self.overwrite)

    def _made_alike(self) -> dict[str, Any] | None:
        """The recipe of a result that is there, where it is of the same series; else None."""
        made = recipe_beside(self.place)
        same = made is not None and made.get("fingerprint") == self._fingerprint
        return made if same and made is not None and len(made["series"]) == len(self._choice.indices) else None

    def _goes_on(self) -> bool:
        """Whether there is an unfinished run, where there is a finished one of the same."""
        return self.folder.exists()

    def _in_journal(self, entries: list[dict[str, Any]]) -> dict[Index, str]:
        kept: dict[Index, str] = {}
        for entry in entries:
            if "volume" in entry:
                kept[tuple(entry["volume"])] = entry["recipe"]
            elif "lost" in entry:
                kept.pop(tuple(entry["lost"]), None)
        return kept

    def _forget_damaged(self, cancel: Callable[[], bool]) -> Generator[Event, None, None]:
        """Read what is kept, and forget what is not what was written."""
        kept = list(self.kept.items())
        for number, (index, recipe) in enumerate(kept):
            steps = self.flaw(index, json.loads(recipe))
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    flaw: str = end.value
                    break
                share = (number + step.fraction) / len(kept)
                yield Preparing("checking finished volumes", share)
                if cancel():
                    raise Stop
            if flaw:
                self.notes.append(f"{self._choice.words_at(index)} is fused again: {flaw}")
                self._lose(index)

    def _keep(self, index: Index, recipe: str) -> None:
        self._journal.log({"volume": list(index), "recipe": recipe})
        self.kept[index] = recipe

    def _lose(self, index: Index) -> None:
        del self.kept[index]
        if self._workspace is not None:
            self._workspace.log({"lost": list(index)})

    def _take_back(self) -> None:
        """Make an unfinished run of a result that lacks volumes."""
        with writing(self.folder):
            self.folder.mkdir()
            lines = [{"fingerprint": self._fingerprint}]
            for entry in lines + [{"volume": list(at), "recipe": recipe} for at, recipe in self.kept.items()]:
                journal.append(self.folder / JOURNAL, entry)
        self._bring_back()
        self._workspace = self._opened()

    @abstractmethod
    def _bring_back(self) -> None:
        """Let the folder of the run have what is kept, where that is not where it stays."""


class GatheredSeries(SeriesOutput):
    """A series in one file that has all volumes."""

    def __init__(self, named: Path, choice: SeriesChoice, fingerprint: str, *, resume: bool, overwrite: bool) -> None:
        super().__init__(named, choice, fingerprint, resume=resume, overwrite=overwrite)
        self._finishing = Finishing(self.place)
        self._gathered = self._gathering(self._finishing.result)

    def check(self) -> None:
        """See `SeriesOutput.check`."""
        check_output(self.named, overwrite=self.overwrite, resume=self.resume)

    def target(self, index: Index) -> Path:
        """See `SeriesOutput.target`."""
        # Its chunks move into the place of the volume.
        return self.folder / f"volume{''.join(f'-{place}' for place in index)}{growing_format().new_suffix}"

    @property
    def files(self) -> tuple[Path, ...]:
        """See `SeriesOutput.files`."""
        return (self.named,)

    def how(self) -> dict[str, bool]:
        """See `SeriesOutput.how`."""
        # What lies there of other pixels, as views that were copied anew, is of no use.
        return {"resume": True, "overwrite": True}

    def begin(self, cancel: Callable[[], bool]) -> Generator[Event, None, bool]:
        """See `SeriesOutput.begin`."""
        if self.resume and self.folder.exists() and not self._goes_on():
            # A kill while a result was taken back, or while its run was tidied up.
            with writing(self.folder):
                remove(self.folder)
        finished = yield from super().begin(cancel)
        if not finished:
            self._end_moves()
        return finished

    def flaw(self, index: Index, recipe: Mapping[str, Any]) -> Generator[Preparing, None, str]:
        """See `SeriesOutput.flaw`."""
        there = self._gathered if self._workspace is not None else self._gathering(self.place)
        flaw = yield from flaw_of_volume(lambda: there.volume(index), recipe, lambda: there.flaw(index), self.place)
        return flaw

    def keep(self, index: Index, recipe: Mapping[str, Any]) -> None:
        """See `SeriesOutput.keep`."""
        self._journal.log({"moving": list(index)})
        self._move(index, json.dumps(recipe))

    def drop(self, index: Index) -> None:
        """See `SeriesOutput.drop`."""
        super().drop(index)
        self._remove_target(index)

    def finish(self, volumes: list[Mapping[str, Any]]) -> None:
        """See `SeriesOutput.finish`."""
        recipe = describe_series(self._choice, self._fingerprint, volumes)
        with writing(self.place):
            self._gathered.finish(recipe)
        self._journal.place(recipe, [], overwrite=self.overwrite)

    def _gathering(self, place: Path) -> Any:
        return growing_format().gather(place, self._choice.axes, self._choice.gathered_names, name=self.place.name)

    def _goes_on(self) -> bool:
        finished = self._made_alike() is not None and self.place.exists()
        return self.folder.exists() and (not finished or self._finishing.result.exists())

    def _bring_back(self) -> None:
        with writing(self.place):
            self.place.rename(self._finishing.result)
            for index in set(self._choice.indices) - self.kept.keys():
                self._gathered.forget(index)

    def _lose(self, index: Index) -> None:
        super()._lose(index)
        # Of a result that has its place, what is lost is forgotten when it is taken back.
        if self._workspace is not None and self._finishing.result.exists():
            with writing(self.folder):
                self._gathered.forget(index)

    def _move(self, index: Index, recipe: str) -> None:
        with writing(self.folder):
            self._gathered.take(index, self.target(index))
        self._keep(index, recipe)
        self._remove_target(index)

    def _end_moves(self) -> None:
        """Do what a kill has left to do of the move of a volume."""
        moving = {tuple(entry["moving"]) for entry in self._journal.entries if "moving" in entry}
        for index in moving:
            target, recipe = self.target(index), recipe_path(self.target(index))
            if index in self.kept:
                self._remove_target(index)
            elif target.exists() and recipe.is_file():
                self._move(index, recipe.read_text(encoding="utf-8"))

    def _remove_target(self, index: Index) -> None:
        with writing(self.folder):
            # The recipe leaves last: as long as it is there, the move can be ended.
            remove(self.target(index))
            remove(recipe_path(self.target(index)))


class SeparateSeries(SeriesOutput):
    """A series with a file for each volume, and a recipe of all beside them."""

    def check(self) -> None:
        """See `SeriesOutput.check`."""
        check_place(self.place)
        if self.place.exists():
            raise OutputError(
                f"{self.place} exists already, and the recipe of the series would take the place of its own: choose another "
                "output"
            )
        made = recipe_beside(self.place)
        if self.resume and made is not None and self._made_alike() is None and not self.folder.exists():
            raise OutputError(
                f"the series of {recipe_path(self.place)} was made otherwise: choose another output, or leave --resume out"
            )
        check_output(self.place, overwrite=self.overwrite, resume=self.resume)
        for index in self._choice.indices:
            check_output(self.target(index), overwrite=self.overwrite, resume=self.resume)

    def target(self, index: Index) -> Path:
        """See `SeriesOutput.target`."""
        return named_apart(self.named, self._choice.suffix_at(index))

    @property
    def files(self) -> tuple[Path, ...]:
        """See `SeriesOutput.files`."""
        return tuple(self.target(index) for index in self._choice.indices if index in self.kept)

    def how(self) -> dict[str, bool]:
        """See `SeriesOutput.how`."""
        return {"resume": self.resume, "overwrite": self.overwrite}

    def flaw(self, index: Index, recipe: Mapping[str, Any]) -> Generator[Preparing, None, str]:
        """See `SeriesOutput.flaw`."""
        target = self.target(index)
        place = writer_of(target).place(target)
        if not place.exists():
            return f"{place.name} is not there any more"
        flaw = yield from flaw_of_volume(
            lambda: open_volume(target)[0], recipe, lambda: writer_of(target).flaw(target), target
        )
        if flaw and not self.overwrite:
            raise OutputError(f"{target} is damaged: {flaw}; remove it, or fuse again with --overwrite")
        return flaw

    def _bring_back(self) -> None:
        """The files stay where they are."""

    def finish(self, volumes: list[Mapping[str, Any]]) -> None:
        """See `SeriesOutput.finish`."""
        save_recipe(describe_series(self._choice, self._fingerprint, volumes), recipe_path(self.place))
        with writing(self.folder):
            Finishing(self.place).remove()


Found = Literal["nothing", "unfinished", "lacking", "finished"]


def found_at(named: Path, choice: SeriesChoice) -> Found:
    """What lies where a series is to be written: an unfinished run, a result that lacks volumes that failed, or other files.

    Parameters
    ----------
    named : the output
    choice : which volumes it will have
    """
    known = writer_of(named)
    place = known.place(named)
    if partial_folder(place).exists():
        return "unfinished"
    targets = [named] if known.grows else [named_apart(named, choice.suffix_at(index)) for index in choice.indices]
    if not any(known.place(target).exists() for target in targets):
        return "nothing"
    made = recipe_beside(place)
    return "lacking" if made is not None and any("failed" in one for one in made["series"]) else "finished"


def series_output(
    named: Path, choice: SeriesChoice, fingerprint: str, *, resume: bool, overwrite: bool
) -> SeriesOutput:
    """Where the volumes of a series go, by the format that the name of the output says; see `SeriesOutput`."""
    kind = GatheredSeries if writer_of(named).grows else SeparateSeries
    return kind(named, choice, fingerprint, resume=resume, overwrite=overwrite)
