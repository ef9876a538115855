"""A question in the panel itself, so that nothing else has to wait for the answer."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.widgets.inputs import describe, push_button, text_label


class Prompt(QFrame):
    """Hidden until something is asked; the last question counts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self.setStyleSheet(f"QFrame#question {{ {box_of('warning')} }}")
        self._text = text_label("question_text")
        self._entry = QLineEdit()
        describe(self._entry, "question_entry", "Answer")
        self._yes = push_button("Yes", "question_yes")
        no = push_button("Cancel", "question_no")
        self._answer: Callable[[str], None] = lambda text: None
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self._yes)
        row.addWidget(no)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self._text)
        layout.addWidget(self._entry)
        layout.addLayout(row)
        self._yes.clicked.connect(self._say_yes)
        self._entry.returnPressed.connect(self._say_yes)
        no.clicked.connect(self.hide)
        self.hide()

    def ask(self, text: str, yes: str, answer: Callable[[], None]) -> None:
        """Ask whether something shall be done.

        Parameters
        ----------
        text : the question
        yes : words on the button that does it
        answer : called then
        """
        self._entry.hide()
        self._show(text, yes, lambda _: answer())

    def ask_text(self, text: str, proposal: str, yes: str, answer: Callable[[str], None]) -> None:
        """Ask for a line of text; see `ask`."""
        self._entry.setText(proposal)
        self._entry.show()
        self._show(text, yes, answer)
        self._entry.setFocus()
        self._entry.selectAll()

    def _show(self, text: str, yes: str, answer: Callable[[str], None]) -> None:
        self._text.setText(text)
        self._yes.setText(yes)
        self._answer = answer
        self.show()

    def _say_yes(self) -> None:
        self.hide()
        self._answer(self._entry.text().strip())
