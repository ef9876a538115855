"""A list of choices in words, and that of the devices of this machine."""

from __future__ import annotations

import torch
from qtpy.QtWidgets import QComboBox

from napari_mvfusion.devices import describe_device, pick_device

# Of a choice; where a label leaves less room than that, it stands above.
_MOST_LETTERS = 16


class WordList(QComboBox):
    """A list of choices, each with what it means to the program."""

    def __init__(self, name: str, choices: list[tuple[str, str]]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._choices: list[tuple[str, str]] = []
        self.offer(choices)

    def offer(self, choices: list[tuple[str, str]]) -> None:
        """Offer other choices; where they are the same, the answer stays."""
        if choices == self._choices:
            return
        self._choices = choices
        self.blockSignals(True)
        self.clear()
        for text, meaning in choices:
            self.addItem(text, meaning)
        longest = max((len(text) for text, _ in choices), default=0)
        self.setMinimumContentsLength(min(longest, _MOST_LETTERS))
        self.blockSignals(False)


def devices() -> list[tuple[str, str]]:
    """The devices of this machine, in words, and as the engine calls them."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    automatic = describe_device(pick_device("auto"))
    return [(f"Automatic: {automatic}", "auto"), *((describe_device(pick_device(name)), name) for name in names)]
