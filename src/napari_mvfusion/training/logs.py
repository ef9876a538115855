"""Live logs of a training run: CSV always, TensorBoard where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


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
            with path.open(newline="") as file:
                # A kill may have cut the last row short.
                kept = [row for row in list(csv.reader(file))[1:] if len(row) == 3 and int(row[0]) <= step]
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
