"""Choosing a model from those that are there, with what its card says."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QLabel
from superqt.utils import signals_blocked

from napari_mvfusion.gui.widgets.inputs import WordList, wrapped
from napari_mvfusion.models import ModelCard, ModelEntry, list_models


class ModelNews(QObject):
    """Tells all choices of a model that this program has made, renamed or deleted one."""

    changed = Signal()


NEWS = ModelNews()
_LETTERS = 12


class ModelChoice(WordList):
    """A list of the models that are there.

    What is there is looked up again whenever the list opens or a key is pressed, and at `NEWS`, so that a model that was
    trained meanwhile can be chosen.

    Parameters
    ----------
    instead : what can be chosen instead of a model, as its words and what they say about it; its value is ""
    """

    described = Signal(str)

    def __init__(self, instead: tuple[str, str] | None = None) -> None:
        super().__init__(letters=_LETTERS)
        self.setMinimumContentsLength(_LETTERS)
        self._instead = instead
        self._about: dict[str, str] = {}
        self._fill()
        self.changed.connect(self._describe)
        NEWS.changed.connect(self._fill)

    def set_value(self, value: str) -> None:
        """Show a name, also of a model that is not there: the run then says so."""
        if self.findData(value) < 0:
            self.addItem(value, value)
        super().set_value(value)

    def about(self) -> str:
        """What the card of the chosen model says, as rich text; empty where there is no such model."""
        return self._about.get(self.currentData(), "")

    def showPopup(self) -> None:
        """Open the list with the models that are there now."""
        self._fill()
        super().showPopup()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys go through the models that are there now."""
        self._fill()
        super().keyPressEvent(event)

    def _fill(self) -> None:
        current = self.currentData()
        known = {entry.name: about_model(entry, entry.card) for entry in list_models() if entry.card is not None}
        if self._instead is not None:
            known[""] = self._instead[1]
        if known == self._about and self.count() == len(known):
            return
        self._about = known
        with signals_blocked(self):
            self.clear()
            for name, about in known.items():
                words = name if name or self._instead is None else self._instead[0]
                self.addItem(words, name)
                self.setItemData(self.count() - 1, wrapped(about), Qt.ItemDataRole.ToolTipRole)
            if current is not None:
                self.set_value(current)
        self._describe()

    def _describe(self) -> None:
        self.described.emit(self.about())


class ModelAbout(QLabel):
    """What the card of a chosen model says.

    Parameters
    ----------
    choice : where the model is chosen
    """

    def __init__(self, choice: ModelChoice) -> None:
        super().__init__()
        self.setObjectName("about")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        choice.described.connect(self._show_text)
        self._show_text(choice.about())

    def _show_text(self, text: str) -> None:
        self.setText(text)
        self.setVisible(bool(text))


def about_model(entry: ModelEntry, card: ModelCard) -> str:
    """What a user wants to know of a model before choosing it: title, summary, views, and whose it is; rich text."""
    sentences = [card.summary.rstrip(".")] if card.summary else []
    if views_taken(card) not in card.summary:
        sentences.append(f"Takes {views_taken(card)}")
    if not entry.shipped:
        parent = card.training.get("parent")
        begun = f", trained from {parent['name']}" if isinstance(parent, dict) and "name" in parent else ""
        sentences.append(f"Yours{begun}, {card.created[:10]}")
    return f"<b>{escape(card.title or entry.name)}</b><br>{escape('. '.join(sentences))}."


def views_taken(card: ModelCard) -> str:
    """How many views a model takes, and at which angles where it expects some: "4 views, at 0°, 90°, 180° and 270°"."""
    few, many = card.least_views, card.most_views
    number = f"{few} to {many} views" if few < many else f"{few} view{'s' if few > 1 else ''}"
    if card.angles is None:
        return number
    *others, last = (f"{angle:g}°" for angle in card.angles)
    return f"{number}, at {', '.join(others)} and {last}" if others else f"{number}, at {last}"
