"""The numbers of the Metrics tab: what they are, how they are computed in a thread, and how they are written."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.compare.task import Report
from napari_mvfusion.gui.compare.volumes import Volume, require_one_grid
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.measures.quality import Metrics, evaluate
from napari_mvfusion.measures.residuals import Residual, reprojection
from napari_mvfusion.system.devices import pick_device

SCORES = ("nrmse", "psnr", "ssim", "cc")
PARTS = ("all", "foreground")


@dataclass(frozen=True)
class Key:
    """What a number is made of.

    Attributes
    ----------
    kind : "residual" or "truth"
    time : steps of the axes before z
    made_of : identity of each layer, and how often its data have changed
    """

    kind: str
    time: tuple[int, ...]
    made_of: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of work: one volume, compared with its views or with the ground truth."""

    key: Key
    volume: Volume
    views: RegisteredViews | None = None
    truth: Volume | None = None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Score:
    """What became of a part: residuals or metrics, or the reason in words why there are none."""

    key: Key
    residuals: tuple[Residual, ...] = ()
    metrics: Metrics | None = None
    problem: str = ""

    @property
    def residual(self) -> float:
        """Mean over the views."""
        return fmean(residual.rms for residual in self.residuals)


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: a volume, what is known about it, and what is still to be computed."""

    name: str
    role: str
    residual: Score | None = None
    truth: Score | None = None
    missing: tuple[Key, ...] = ()

    def value(self, column: str, part: str) -> float | None:
        """A number of the row, where it is known; `column` is "residual" or one of `SCORES`."""
        if column == "residual":
            return self.residual.residual if self.residual is not None and self.residual.residuals else None
        if self.truth is None or self.truth.metrics is None:
            return None
        return float(getattr(getattr(self.truth.metrics, part), column))

    def problem(self, column: str) -> str:
        """Why there is no number."""
        score = self.residual if column == "residual" else self.truth
        return "" if score is None else score.problem


def compute(parts: Sequence[Part], report: Report) -> Iterator[Score]:
    """Compute one part after the other; what cannot be computed says why."""
    device = pick_device("auto")
    for number, part in enumerate(parts):
        label = f"{part.volume.name}: {'reprojection' if part.truth is None else 'ground truth'}"

        def progress(share: float, number: int = number, label: str = label) -> None:
            report(label, (number + share) / len(parts))

        progress(0.0)
        try:
            if part.problem:
                raise InputError(part.problem)
            if part.truth is not None:
                require_one_grid([part.truth, part.volume])
                metrics = evaluate(part.volume.data, part.truth.data, progress=progress)
                yield Score(part.key, metrics=metrics)
            else:
                assert part.views is not None
                residuals = reprojection(part.volume.data, part.views, device, progress=progress)
                yield Score(part.key, residuals=residuals)
        except InputError as error:
            yield Score(part.key, problem=str(error))


def best(rows: Sequence[Row], column: str, part: str) -> int | None:
    """Which row has the best value of a column; None where fewer than two rows have one."""
    known = [(value, number) for number, row in enumerate(rows) if (value := row.value(column, part)) is not None]
    if len(known) < 2:
        return None
    return (min if column in ("residual", "nrmse") else max)(known, key=lambda pair: pair[0])[1]


def caption(row: Row, part: str) -> str:
    """The numbers of a row as a line under a picture."""
    psnr, ssim, residual = (row.value(column, part) for column in ("psnr", "ssim", "residual"))
    words = [] if psnr is None or ssim is None else [f"PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"]
    return ", ".join(words or ([] if residual is None else [f"residual {residual:.2f}"]))


def write_table(path: Path, rows: Sequence[Row], truth: str) -> None:
    """Write the table as CSV, every number in full; what is not known stays empty.

    Parameters
    ----------
    path : of the file, which is replaced if it is there
    rows : of the table
    truth : name of the ground truth; may be empty

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    views: list[str] = []
    for row in rows:
        found = row.residual.residuals if row.residual is not None else ()
        views += [residual.view for residual in found if residual.view not in views]
    scored = [(score, part) for score in SCORES for part in PARTS]
    header = ["volume", "role", "residual_mean", *(f"residual_view_{view}" for view in views)]
    header += [f"{score}_{part}" for score, part in scored] + ["ground_truth"]
    with written_aside(path, overwrite=True) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            by_view = {r.view: r.rms for r in row.residual.residuals} if row.residual is not None else {}
            numbers = [row.value("residual", ""), *(by_view.get(view) for view in views)]
            numbers += [row.value(score, part) for score, part in scored]
            cells = ["" if number is None else repr(number) for number in numbers]
            writer.writerow([row.name, row.role, *cells, truth if row.truth is not None and row.truth.metrics else ""])
