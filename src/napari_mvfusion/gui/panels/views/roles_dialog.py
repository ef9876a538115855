"""The question what some files are: a pattern of their names, what it finds in each, and what each is to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.panels.views.dialogs import Question
from napari_mvfusion.gui.widgets.inputs import AngleField, WordList, describe, text_label
from napari_mvfusion.gui.widgets.layout import discard, row, scrolled
from napari_mvfusion.gui.widgets.names import NameLabel, tell_apart
from napari_mvfusion.io.name_pattern import FIELDS
from napari_mvfusion.io.name_table import NameTable
from napari_mvfusion.io.proposals import Proposal, Proposals, pattern_for, propose
from napari_mvfusion.io.roles import Guess, Role, have_stages
from napari_mvfusion.system.words import times

_ROLES = [("View", "view"), ("PSF", "psf"), ("Ground truth", "truth"), ("Beads", "beads"), ("Leave out", "ignore")]
_WIDTH, _HEIGHT = 1000, 560
_FILES = "The pattern says what their names mean, and each row what a file is; both can be changed."
_STAGE = (
    "The files state where the stage was. Off, the views are taken to be registered, on one grid; on, they lie beside each "
    "other as the stage says, as with --stage"
)
_MOST_ROWS = 300
_TYPED_MS = 250
_SHOWN = 3
_EXPLAINED = "<br>".join(
    [
        *(f"<b>{{{field}}}</b>&nbsp; {meaning}" for field, meaning in FIELDS.items()),
        "<b>*</b>&nbsp; anything",
        "<b>/</b>&nbsp; between folders and names, as angle_{angle}/TL{timepoint}",
        "<b>|</b>&nbsp; between patterns, of which a name fits one",
    ]
)


_FIELDS = (
    "{angle} degrees, {view} what it is called, {timepoint}, {channel}, {illumination}, {tile}, {z} number of a plane that "
    "is a file, {tag} sample, {role} view or PSF; * is anything, / lies between folders, and | between two patterns."
)


@dataclass(frozen=True)
class Given:
    """What a file is to be, and the angle of its view in degrees where that is known; of planes, their common name."""

    path: Path
    role: Role
    angle: float | None


@dataclass(frozen=True)
class _Row:
    proposal: Proposal
    words: tuple[QWidget, ...]
    role: WordList
    angle: AngleField


class RolesDialog(Question):
    """A row a file, in which it gets its role; filled in with what its name says by a pattern, and what it seems to be.

    Parameters
    ----------
    guesses : of the files
    parent : the panel
    """

    def __init__(self, guesses: Sequence[Guess], parent: QWidget | None = None) -> None:
        super().__init__("roles", "What are these files?", QDialogButtonBox.StandardButton.Open, parent)
        self.resize(_WIDTH, _HEIGHT)
        self._guesses = guesses
        self._rows: list[_Row] = []
        self._line = QLineEdit(pattern_for(guesses))
        describe(self._line, "pattern", "Pattern of the names", f"<qt>{_EXPLAINED}</qt>")
        label = QLabel("&Pattern")
        label.setBuddy(self._line)
        fields = text_label("fields", _FIELDS)
        fields.setToolTip(f"<qt>{_EXPLAINED}</qt>")
        self._said = text_label("said")
        # Room for a line, so that nothing jumps while somebody types.
        self._said.setMinimumHeight(self._said.fontMetrics().lineSpacing())
        self._table = QVBoxLayout()
        self._table.setContentsMargins(0, 0, 0, 0)
        self._timepoint, self._channel, self._tag = WordList(), WordList(), WordList()
        self._choices = QHBoxLayout()
        for title, choice in (("Time point", self._timepoint), ("Channel", self._channel), ("Sample", self._tag)):
            describe(choice, title.lower().replace(" ", ""), title)
            words = QLabel(title)
            words.setBuddy(choice)
            self._choices.addWidget(words)
            self._choices.addWidget(choice)
            choice.currentIndexChanged.connect(self._check)
        self._choices.addStretch()
        self._typed = QTimer(self, singleShot=True, interval=_TYPED_MS)
        self._typed.timeout.connect(self._read)
        self._line.textChanged.connect(self._wait)
        inner = QVBoxLayout()
        inner.addLayout(row(label, (self._line, 1)))
        inner.addWidget(fields)
        inner.addWidget(self._said)
        inner.addLayout(self._table, 1)
        inner.addWidget(_refused(guesses))
        inner.addLayout(self._choices)
        self._stage = QCheckBox("Use &stage positions")
        describe(self._stage, "stage", "Use stage positions", _STAGE)
        self._stage.setVisible(have_stages(guesses))
        inner.addWidget(self._stage)
        self._ask(_FILES, (inner, 1))
        self._proposals: Proposals | None = None
        self._read()

    @property
    def stage(self) -> bool:
        """Whether views are to lie where the stage was."""
        return self._stage.isChecked()

    @property
    def names(self) -> NameTable | None:
        """What the names of all files say, by the pattern; None where it is none."""
        return None if self._proposals is None else self._proposals.table

    def given(self) -> list[Given]:
        """What the user has said, in the order of the rows; those of other time points and so on are left out."""
        chosen = [
            Given(each.proposal.path, each.role.currentData(), each.angle.number())
            for each in self._rows
            if self._is_chosen(each.proposal)
        ]
        # Rows that are not shown are what the pattern says.
        rest = () if self._proposals is None else self._proposals.rows[len(self._rows) :]
        return [*chosen, *(Given(each.path, each.role, each.angle) for each in rest if self._is_chosen(each))]

    def _wait(self) -> None:
        self._let_answer("The pattern is being read")
        self._typed.start()

    def _read(self) -> None:
        """Show what the pattern finds; a text that is no pattern leaves what was found before."""
        self._typed.stop()
        try:
            self._proposals = propose(self._guesses, self._line.text())
        except InputError as error:
            self._said.setText(_sentence(str(error)))
            self._let_answer(_sentence(str(error)))
            return
        self._show(self._proposals)
        self._check()

    def _show(self, proposals: Proposals) -> None:
        """Make the rows anew, and offer what there is to choose."""
        while (item := self._table.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                discard(widget)
        inner = QWidget()
        grid = QGridLayout(inner)
        self._rows = []
        shown = proposals.rows[:_MOST_ROWS]
        columns = ["File", "Voxels (z, y, x)", "Role", "Angle °"]
        also = {
            "Time point": [_text(each.found.timepoint if each.found else None) for each in shown],
            "Channel": [_text(each.found.channel if each.found else None) for each in shown],
            "Also": [each.others for each in shown],
        }
        also = {title: texts for title, texts in also.items() if any(texts)}
        for number, title in enumerate([*columns, *also]):
            grid.addWidget(QLabel(title), 0, number)
        for place, proposal in enumerate(shown, 1):
            self._add_row(grid, place, proposal, [texts[place - 1] for texts in also.values()])
        tell_apart(each.words[0] for each in self._rows)
        if len(proposals.rows) > _MOST_ROWS:
            more = f"{len(proposals.rows) - _MOST_ROWS} more are opened as the pattern says."
            grid.addWidget(QLabel(more), _MOST_ROWS + 1, 0, 1, grid.columnCount())
        grid.setColumnStretch(0, 1)
        grid.setRowStretch(len(shown) + 2, 1)
        self._table.addWidget(scrolled(inner))
        table = proposals.table
        problems = table.problems()
        more = f" … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        self._said.setText(" ".join(_sentence(said) for said in problems[:_SHOWN]) + more)
        called = {number: name for name, number in table.channels.items()}
        self._timepoint.offer([(str(number), str(number)) for number in table.timepoints])
        self._channel.offer([(called[number], called[number]) for number in sorted(called)])
        self._tag.offer([(tag or "no name", tag) for tag in table.tags])
        for number in range(self._choices.count()):
            if (part := self._choices.itemAt(number).widget()) is not None:
                choice = part if isinstance(part, WordList) else self._choices.itemAt(number + 1).widget()
                part.setVisible(isinstance(choice, WordList) and choice.count() > 1)

    def _add_row(self, grid: QGridLayout, place: int, proposal: Proposal, also: Sequence[str]) -> None:
        name = proposal.name
        file = NameLabel("file", name if proposal.planes == 1 else f"{name}  ({proposal.planes} files)")
        file.setToolTip(f"{proposal.path}: {proposal.reason}")
        size = QLabel("cannot be opened" if proposal.shape is None else times(proposal.shape))
        size.setToolTip("" if proposal.shape is not None else proposal.reason)
        role = WordList(_ROLES)
        describe(role, "role", f"Role of {name}", f"Proposed, as {proposal.reason}")
        role.set_value(proposal.role)
        # A file that cannot be opened can only be left out.
        role.setEnabled(proposal.shape is not None)
        degrees = AngleField()
        describe(degrees, "role_angle", f"Angle of {name}, degrees")
        degrees.set_number(proposal.angle)
        role.currentIndexChanged.connect(self._check)
        more = [QLabel(text) for text in also]
        for number, widget in enumerate((file, size, role, degrees, *more)):
            grid.addWidget(widget, place, number)
        self._rows.append(_Row(proposal, (file, size, *more), role, degrees))

    def _is_chosen(self, proposal: Proposal) -> bool:
        """Whether a file is of the time point, channel and sample that are chosen, or of all of them."""
        found = proposal.found
        said = [] if found is None else [(_text(found.timepoint), self._timepoint), (found.channel, self._channel)]
        said += [] if found is None else [(found.tag, self._tag)]
        return all(not text or choice.count() < 2 or text == choice.value() for text, choice in said)

    def _check(self) -> None:
        if self._typed.isActive():
            return
        some = any(one.role != "ignore" for one in self.given())
        usable = any(guess.shape is not None for guess in self._guesses)
        lacking = "All files are left out" if usable else "None of these files can be opened"
        self._let_answer("" if some else lacking)
        for each in self._rows:
            chosen = self._is_chosen(each.proposal)
            for words in each.words:
                words.setEnabled(chosen)
            each.role.setEnabled(chosen and each.proposal.shape is not None)
            each.angle.setEnabled(chosen and each.role.currentData() in ("view", "psf"))


def _refused(guesses: Sequence[Guess]) -> QLabel:
    """Why files cannot be opened; hidden where all can."""
    refused = [guess for guess in guesses if guess.shape is None]
    named = [(guess.path.name, guess.reason.replace(str(guess.path), guess.path.name)) for guess in refused[:_SHOWN]]
    lines = [f"{why}." if name in why else f"{name}: {why}." for name, why in named]
    if len(refused) > _SHOWN:
        lines.append(f"{len(refused) - _SHOWN} more say why where one points at them.")
    said = text_label("refused", "\n".join(lines))
    said.setTextFormat(Qt.TextFormat.PlainText)
    said.setVisible(bool(refused))
    return said


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _sentence(text: str) -> str:
    """A problem as a sentence of its own; names of files keep their first letter."""
    first, _, _ = text.partition(" ")
    plain = first.isalpha() and first.islower()
    return f"{text[0].upper() if plain else text[0]}{text[1:]}." if text else ""
