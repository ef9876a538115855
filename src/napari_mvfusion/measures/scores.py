"""The numbers of the Metrics tab: what they are, how they are computed in a thread, and how they are written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.measures.metric import Measured, Metric, Needs, Values
from napari_mvfusion.measures.metrics import METRICS, PARTS, PSNR, RESIDUAL, SSIM, measure
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report, require_one_grid
from napari_mvfusion.measures.used_attenuation import UsedAttenuation
from napari_mvfusion.system.devices import pick_device

_LABELS: Mapping[Needs, str] = {"truth": "ground truth", "views": "reprojection", "nothing": "the volume itself"}


@dataclass(frozen=True)
class Key:
    """What a number is made of.

    Attributes
    ----------
    needs : which metrics it is of: those that need this
    time : steps of the axes before z
    made_of : identity of each layer, and how often its data have changed
    """

    needs: Needs
    time: tuple[int, ...]
    made_of: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """A piece of work: one volume, compared with its views or with the ground truth; see `Measured` for `allowing`."""

    key: Key
    volume: PlacedVolume
    views: RegisteredViews | None = None
    allowing: Callable[[RegisteredViews], UsedAttenuation] | None = None
    truth: PlacedVolume | None = None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Score:
    """What became of a part: the values of each metric by its name, or the reason in words why there are none.

    `attenuation` says what residuals took for the attenuation of the views, "" for other metrics.
    """

    key: Key
    values: Mapping[str, Values] = field(default_factory=dict)
    problem: str = ""
    attenuation: str = ""


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: a volume, what is known about it, and what is still to be computed."""

    name: str
    role: str
    known: Mapping[Needs, Score] = field(default_factory=dict)
    missing: tuple[Key, ...] = ()

    def values(self, metric: Metric) -> Values:
        """All values of a metric by part; empty where they are not known."""
        score = self.known.get(metric.needs)
        return {} if score is None else score.values.get(metric.name, {})

    def number(self, metric: Metric, part: str) -> float | None:
        """The number to show, where it is known; `part` is the set of voxels."""
        values = self.values(metric)
        return metric.number(values, part) if values else None

    @property
    def attenuation(self) -> str:
        """What the residual took for the attenuation of the views, "" where there is none."""
        score = self.known.get("views")
        return "" if score is None else score.attenuation

    def problem(self, metric: Metric) -> str:
        """Why there is no number."""
        score = self.known.get(metric.needs)
        return "" if score is None else score.problem


def compute(parts: Sequence[ScoringTask], report: Report) -> Generator[Score, None, None]:
    """Compute one part after the other; what cannot be computed says why."""
    device = pick_device("auto")
    for number, part in enumerate(parts):
        label = f"{part.volume.name}: {_LABELS[part.key.needs]}"

        def progress(share: float, number: int = number, label: str = label) -> None:
            report(label, (number + share) / len(parts))

        progress(0.0)
        try:
            if part.problem:
                raise InputError(part.problem)
            if part.truth is not None:
                require_one_grid([part.truth, part.volume])
            truth = None if part.truth is None else part.truth.data
            measured = Measured(
                part.volume.data,
                truth=truth,
                views=part.views,
                allowing=part.allowing,
                device=device,
                progress=progress,
            )
            values = measure(measured, part.key.needs)
            yield Score(part.key, values, attenuation="" if part.views is None else measured.attenuation.words)
        except InputError as error:
            yield Score(part.key, problem=str(error))


def best(rows: Sequence[Row], metric: Metric, part: str) -> int | None:
    """Which row has the best number of a metric; None where fewer than two rows have one."""
    numbers = [row.number(metric, part) for row in rows]
    known = [number for number in numbers if number is not None]
    return numbers.index(metric.best(known)) if len(known) > 1 else None


def caption(row: Row, part: str) -> str:
    """The numbers of a row as a line under a picture."""
    psnr, ssim, residual = (row.number(metric, part) for metric in (PSNR, SSIM, RESIDUAL))
    words = [] if psnr is None or ssim is None else [f"PSNR {PSNR.text(psnr)} dB, SSIM {SSIM.text(ssim)}"]
    return ", ".join(words or ([] if residual is None else [f"residual {RESIDUAL.text(residual)}"]))


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
    columns = [column for metric in METRICS for column in _columns(metric, rows)]
    with written_aside(path, overwrite=True) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["volume", "role", *(name for name, _ in columns), "ground_truth"])
        for row in rows:
            numbers = [number(row) for _, number in columns]
            cells = ["" if number is None else repr(number) for number in numbers]
            scored = any(row.values(metric) for metric in METRICS if metric.needs == "truth")
            writer.writerow([row.name, row.role, *cells, truth if scored else ""])


def _columns(metric: Metric, rows: Sequence[Row]) -> list[tuple[str, Callable[[Row], float | None]]]:
    """The columns that a metric has in a file: their names, and what gives their numbers."""
    parts = list(dict.fromkeys(part for row in rows for part in row.values(metric)))

    def of_part(part: str) -> Callable[[Row], float | None]:
        return lambda row: row.values(metric).get(part)

    if metric.needs == "nothing":
        return [(metric.name, of_part("all"))]
    if metric.needs == "truth":
        return [(f"{metric.name}_{part}", of_part(part)) for part in PARTS]
    mean: list[tuple[str, Callable[[Row], float | None]]] = [
        (f"{metric.name}_mean", lambda row: row.number(metric, ""))
    ]
    return mean + [(f"{metric.name}_view_{part}", of_part(part)) for part in parts]
