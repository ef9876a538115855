"""Somebody who uses the Fine-tune panel: finds things by what they are called, waits, and reads what is shown."""

from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.panels.finetune.panel import FineTunePanel

LEFT = Qt.MouseButton.LeftButton


class FineTunePerson:
    """Uses a panel as a person does."""

    def __init__(self, panel, bot):
        self.panel = panel
        self.bot = bot

    def see(self, name, kind=QWidget):
        """The part of this name that is in sight, or else any."""
        parts = self.panel.findChildren(kind, name)
        return next((part for part in parts if part.isVisibleTo(self.panel)), parts[0] if parts else None)

    def is_shown(self, name):
        part = self.see(name)
        return part is not None and part.isVisibleTo(self.panel)

    def can_press(self, name):
        return self.is_shown(name) and self.see(name, QPushButton).isEnabled()

    def press(self, name):
        button = self.see(name, QPushButton)
        assert self.can_press(name), f"{name} cannot be pressed: {button.toolTip()}"
        self.bot.mouseClick(button, LEFT)
        self.bot.wait(20)

    def choose(self, name, text):
        box = self.see(name, QComboBox)
        self.bot.keyClick(box, Qt.Key.Key_Shift)  # as any key, it looks up what is there
        row = next(row for row in range(box.count()) if box.itemText(row).startswith(text))
        box.setCurrentIndex(row)
        box.activated.emit(row)
        self.bot.wait(20)

    def enter(self, name, text):
        field = self.see(name)
        field.setFocus()
        field.selectAll()
        self.bot.keyClicks(field, text)
        self.bot.keyClick(field, Qt.Key.Key_Return)
        self.bot.wait(20)

    def read(self, name):
        label = self.see(name, QLabel)
        return label.text() if label is not None and label.isVisibleTo(self.panel) else ""

    def messages(self, kind):
        return [label.text() for label in self.panel.findChildren(QLabel, kind) if label.isVisibleTo(self.panel)]

    def wait(self, until):
        self.bot.waitUntil(until)

    def leave(self):
        """Let the last measurement end, which cannot be cancelled."""
        self.wait(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)

    def wait_for_plan(self):
        self.wait(lambda: self.can_press("start_training"))

    def start(self):
        """Start once the plan is there: what has changed is looked at first."""
        self.wait_for_plan()
        self.press("start_training")

    def wait_for_step(self, step):
        self.wait(lambda: self.step() >= step or bool(self.read("outcome")))
        assert self.step() >= step, self.read("outcome")

    def step(self):
        """The number of the step that is shown, 0 before the first."""
        words = self.read("step").split(" ")
        return int(words[1]) if words[0] == "Step" else 0


def in_front_of_the_panel(model, qtbot):
    """Somebody who has just opened the panel."""
    dock = QWidget()
    qtbot.addWidget(dock)
    panel = FineTunePanel(model)
    QVBoxLayout(dock).addWidget(panel)
    dock.resize(400, 1000)
    dock.show()
    qtbot.waitExposed(dock)
    person = FineTunePerson(panel, qtbot)
    person.dock = dock  # lives as long
    return person
