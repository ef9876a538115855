"""What the command line shows: progress with time left, tables, errors. Results go to stdout, the rest to stderr."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from napari_mvfusion.addresses import with_addresses
from napari_mvfusion.data.events import (
    Cancelled,
    Event,
    Finished,
    IterationDone,
    Noted,
    Prepared,
    Preparing,
    TileDone,
    TileHalved,
    TileStep,
    Warned,
)
from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import shortened, without_repeats

if TYPE_CHECKING:
    from napari_mvfusion.data.fused import Fused
    from napari_mvfusion.measures.metric import Needs, Values

_SAID: set[str] = set()

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Lines of a result, on stdout: brackets and colons in it are no markup, whatever files are called."""
    out.print(Text(_printable(text)))


def say_list(title: str, lines: Sequence[str]) -> None:
    """Lines of a result below a title, on stdout, each broken between words where the terminal ends."""
    say(title)
    for line in lines:
        say(textwrap.fill(_one_line(line), out.width, initial_indent="  - ", subsequent_indent="    "))


def note(text: str) -> None:
    """A line beside the result, on stderr."""
    err.print(Text(_printable(text)))


def say_error(message: str) -> None:
    """One line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), _one_line(message)))


def end_with(failures: Sequence[InputError]) -> None:
    """Say what of several inputs could not be used, and end with its exit code; nothing where all could be."""
    for failure in failures:
        say_error(shortened(str(failure)))
    if failures:
        raise typer.Exit(InputError.exit_code)


def say_warning(message: str) -> None:
    """One line on stderr; what a command has said before, as of the same views for another method, it says once."""
    if _said_before(message):
        return
    err.print(Text.assemble(("warning: ", "yellow"), _one_line(without_repeats(message))))


def begin_command() -> None:
    """Forget what was said: another command begins."""
    _SAID.clear()


def _said_before(message: str) -> bool:
    known = message in _SAID
    _SAID.add(message)
    return known


def print_json(values: Any) -> None:
    """A result for a program, on stdout."""
    print(json.dumps(values, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result for a person, on stdout; numbers to the right."""
    table = Table(title=Text(_one_line(title)) if title else None, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    out.print(table)


def print_metrics(title: str, found: Mapping[str, Mapping[str, Values]], needs: Needs = "truth") -> None:
    """The table of the metrics that need this, one row a volume; by name what `metrics.measure` found."""
    from napari_mvfusion.measures.metrics import cells, titles

    print_table(title, ["", *titles(needs)], [[name, *cells(values, needs)] for name, values in found.items()])


class RunBar:
    """The bar of a run, with what it says in between.

    Parameters
    ----------
    title : what the bar is called
    quiet : show warnings only
    tells_left : whether the bar tells by itself how long the run will take
    """

    def __init__(self, title: str, *, quiet: bool, tells_left: bool = True) -> None:
        left = (TextColumn("left"), TimeRemainingColumn()) if tells_left else ()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            *left,
            console=err,
            disable=quiet or not err.is_terminal,
            transient=True,
        )
        self._title, self._quiet, self._planned = title, quiet, False
        self._task = self._bar.add_task(title, total=1.0)
        self._preparing = self._bar.add_task("preparing", total=1.0, visible=False)

    def __enter__(self) -> RunBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, text: str, share: float | None = None) -> None:
        """Say what is done, and the share of the run that is."""
        self._bar.update(self._task, description=f"{self._title}: {text}", completed=share)

    def follow(self, event: Any, more: str = "") -> None:
        """Show an event that all runs have; the plan, which is that of every volume of a series, once.

        Parameters
        ----------
        event : others are not shown
        more : what follows the words for a step
        """
        match event:
            case Warned(message):
                say_warning(message)
            case Noted(message) if not self._quiet:
                note_once(message)
            case Preparing(label, fraction):
                self._bar.update(self._preparing, description=label, completed=fraction, visible=fraction < 1)
            case Prepared():
                self._bar.update(self._preparing, visible=False)
                if self._planned:
                    return
                self._planned = True
                self._bar.reset(self._task)
                if not self._quiet:
                    say_plan(self._title, event)
            case TileStep() | TileDone():
                self.tell(f"{event.label}{more}", event.fraction)
            case TileHalved():
                say_halved(event)


def follow(events: Generator[Event, None, Fused | None], *, title: str, quiet: bool = False) -> Fused | None:
    """Show a run's events as a progress bar and return its result, or None when it was cancelled."""
    fused: Fused | None = None
    with RunBar(title, quiet=quiet) as bar:
        for event in events:
            match event:
                case IterationDone():
                    bar.tell(f"change {event.change:.2%}")
                case Cancelled():
                    kept = f"; {event.kept} is kept, go on with --resume" if event.kept else ""
                    note(f"cancelled after {event.finished_tiles} of {event.tiles} tiles{kept}")
                case Finished():
                    fused = event.fused
                    megavoxels = fused.grid.box.size / 1e6
                    if not (quiet or fused.made_before):
                        note(f"{title}: {megavoxels:.1f} megavoxels in {event.seconds:.1f} s")
                case _:
                    bar.follow(event)
    return fused


@contextmanager
def working(title: str, *, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A progress bar for work that calls what this gives with what it does, and the share that is done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def report(text: str, share: float) -> None:
            bar.update(task, description=f"{title}: {text}", completed=share)

        yield report


def note_once(message: str) -> None:
    """A line about what was done to what was given, on stderr, unless the command has said it before."""
    if not _said_before(message):
        note(f"note: {_one_line(message)}")


def say_halved(event: TileHalved) -> None:
    """Say that memory ran out, and what happens then."""
    say_warning(f"memory ran out: going on with smaller tiles of {_shape(event.to_shape)} voxels")


def say_plan(title: str, event: Prepared) -> None:
    """Where a run computes, in which tiles, and the memory that it takes at most."""
    resumed = f", {event.resumed_tiles} tiles done before" if event.resumed_tiles else ""
    tiles = "1 tile" if event.tiles == 1 else f"{event.tiles} tiles of {_shape(event.tile_shape)}"
    note(f"{title} on {event.device}: {tiles}, at most {event.memory_bound_bytes / 2**30:.1f} GiB{resumed}")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)


def _one_line(text: str) -> str:
    return _printable(with_addresses(text).replace("\n", " "))


def _printable(text: str) -> str:
    """Text whose control characters and broken letters are shown as codes: a terminal would obey or refuse them."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
