"""What the command line shows of a training run: losses, rate, speed and time left, and a line for each validation."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from napari_mvfusion.cli import show
from napari_mvfusion.data.events import Warned
from napari_mvfusion.training.training_events import (
    Continued,
    MemoryFallback,
    Paused,
    Previewed,
    Saved,
    Started,
    StepDone,
    SteppedBack,
    Stopped,
    Trained,
    TrainEvent,
    Validated,
    Waiting,
)
from napari_mvfusion.training.verdict import Verdict, judge

# Losses of single steps jump about; what is shown follows them slowly.
_FOLLOW = 0.05


@dataclass
class TrainingSummary:
    """How a run ended.

    Attributes
    ----------
    path : of the best weights, or None
    stopped : whether the user stopped it
    step : finished steps
    figures : of the best validation, by name
    best_step : where that was
    seconds : of training
    verdict : whether it helped, where that is known (self, semi)
    """

    path: Path | None = None
    stopped: bool = False
    step: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None


def follow_training(
    events: Generator[TrainEvent, None, Path | None], *, title: str, minutes: float | None = None, quiet: bool = False
) -> TrainingSummary:
    """Show a run's events as a progress bar, and return how it ended.

    Parameters
    ----------
    events : of the run
    title : what is trained
    minutes : after which the run ends where it has not done its steps
    quiet : show warnings only
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=show.err,
        disable=quiet,
        transient=True,
    )
    outcome = TrainingSummary()
    smooth: float | None = None
    first: StepDone | None = None
    with bar:
        task = bar.add_task(title, total=1.0)
        waiting = bar.add_task("preparing", total=1.0, visible=False)
        for event in events:
            match event:
                case Warned(message):
                    show.say_warning(message)
                case Started():
                    bar.update(task, completed=event.step / event.steps)
                    if not quiet:
                        _say_start(title, event, minutes)
                case Waiting(label, fraction):
                    bar.update(waiting, description=label, completed=fraction, visible=True)
                case StepDone():
                    total = event.losses["total"]
                    first = first or event
                    smooth = total if smooth is None else smooth + _FOLLOW * (total - smooth)
                    outcome.step, outcome.seconds = event.step, event.seconds
                    bar.update(waiting, visible=False)
                    by_time = 0.0 if minutes is None else event.seconds / (60 * minutes)
                    done = max(event.step / event.steps, by_time)
                    bar.update(task, completed=done, description=_step_line(title, event, first, smooth))
                case Validated():
                    if event.best:
                        outcome.figures, outcome.best_step = dict(event.figures), event.step
                    bar.update(waiting, visible=False)
                    if not quiet:
                        show.err.print(_validation_line(event, smooth))
                case SteppedBack(step, rate):
                    show.say_warning(f"a loss was not finite: back to step {step}, on with the rate {rate:.2g}")
                case MemoryFallback(_, tile, batch):
                    voxels = " x ".join(map(str, tile))
                    show.say_warning(f"memory ran out: going on with {batch} tile(s) of {voxels} voxels a step")
                case Paused(step):
                    show.note(f"waiting after step {step}")
                case Continued():
                    show.note("going on")
                case Saved() | Previewed():
                    pass
                case Stopped(step, path):
                    outcome.path, outcome.stopped, outcome.step = path, True, step
                    outcome.verdict = _verdict(event)
                    show.note(_stop_line(step, path))
                case Trained():
                    outcome.path, outcome.step, outcome.seconds = event.path, event.step, event.seconds
                    outcome.verdict = _verdict(event)
                    outcome.best_step, outcome.figures = event.best_step, outcome.figures or dict(event.after)
                    if not quiet:
                        _say_end(title, event, outcome)
    return outcome


def _stop_line(step: int, path: Path | None) -> str:
    if not step:
        return "stopped before the first step: there was nothing to keep yet"
    kept = (
        "the best weights so far are kept" if path else "nothing is better than the start yet, what was learned is kept"
    )
    return f"stopped after {step} steps; {kept}, go on with --resume"


def _verdict(event: Trained | Stopped) -> Verdict | None:
    """Whether it helped; nothing where there are no residuals, or nothing is kept."""
    known = "residual" in event.before and "residual" in event.after
    return judge(event.before, event.after) if known and event.path is not None else None


def _say_end(title: str, event: Trained, outcome: TrainingSummary) -> None:
    best = f"the best weights are those of step {event.best_step}"
    if event.best_step == 0:
        best = "no step was better than the start, so the model has the weights of the start"
    show.note(f"{title}: {event.step} steps in {event.seconds:.0f} s; {best}")
    if outcome.verdict is not None:
        show.note(outcome.verdict.sentence)


def _say_start(title: str, event: Started, minutes: float | None) -> None:
    done = f", {event.step} done before" if event.step else ""
    most = f"{event.steps} steps" if minutes is None else f"at most {minutes:g} minutes"
    show.note(f"{title} on {event.device}: {event.parameters:,} weights, {most}{done}")


def _step_line(title: str, event: StepDone, first: StepDone, smooth: float) -> str:
    line = f"{title}: loss {smooth:.4f}, rate {event.rate:.1e}"
    return f"{line}, {_speed(event, first)}" if event.step > first.step else line


def _speed(event: StepDone, first: StepDone) -> str:
    """Steps a second since the first one, or seconds a step."""
    speed = (event.step - first.step) / max(event.seconds - first.seconds, 1e-9)
    return f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / speed:.1f} s/step"


def _validation_line(event: Validated, loss: float | None) -> Text:
    line = Text(f"step {event.step}: {_figures(event.figures)}")
    if loss is not None:
        line.append(f", loss {loss:.4f}")
    return line.append(" best", "green") if event.best else line


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
