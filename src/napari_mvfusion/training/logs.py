"""Live logs of a training run: CSV always, TensorBoard where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# More than any step has; int() reads any number of them.
_DIGITS = 19


class Log:
    """Appends a row for every step and validation to `log.csv`, and the same to TensorBoard.

    Parameters
    ----------
    folder : of the run
    step : rows after this step, left by a run that was killed, are dropped
    """

    _FIELDS = ("step", "name", "value")

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "log.csv"
        kept: list[list[str]] = []
        if path.exists():
            kept = [row for row in _rows(path) if int(row[0]) <= step]
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(self._FIELDS)
        self._rows.writerows(kept)
        self._board: Any = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Note named numbers of a step."""
        for name, value in values.items():
            self._rows.writerow((step, name, f"{value:.6g}"))
            if self._board is not None:
                self._board.add_scalar(name, value, step)
        self._file.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _rows(path: Path) -> list[list[str]]:
    """The whole rows of a log; a kill may have cut the last one short, and a disk may have damaged others."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = (line.split(",") for line in lines[1:])
    return [row for row in rows if len(row) == 3 and row[0].isascii() and row[0].isdigit() and len(row[0]) < _DIGITS]
