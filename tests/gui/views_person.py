"""Somebody who uses the Views & PSFs panel: finds things by what they are called, and reads what is shown."""

from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDialogButtonBox,
    QFrame,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.gui.panels.views.picture import PSFPicture
from napari_mvfusion.gui.panels.views.row import ViewRow

LEFT = Qt.MouseButton.LeftButton


class ViewsPerson:
    """Uses a panel as a person does."""

    def __init__(self, panel, bot):
        self.panel = panel
        self.bot = bot

    def settle(self):
        """Wait until nothing is being found out or computed."""
        self.bot.wait(120)
        self.bot.waitUntil(lambda: not self.panel.busy)
        self.bot.wait(50)

    def see(self, name, kind=QWidget):
        return self.panel.findChild(kind, name)

    def press(self, name):
        button = self.see(name, QPushButton)
        assert button.isVisibleTo(self.panel), f"{name} is not there"
        assert button.isEnabled(), f"{name} cannot be pressed: {button.toolTip()}"
        self.bot.mouseClick(button, LEFT)

    def messages(self, kind):
        return [label.text() for label in self.panel.findChildren(QLabel, kind) if not isinstance(label, QCheckBox)]

    def rows(self):
        found = [row for row in self.panel.findChildren(ViewRow) if row.isVisibleTo(self.panel)]
        return [Row(row, self.bot) for row in sorted(found, key=lambda row: row.y())]

    def row(self, name):
        return next(row for row in self.rows() if row.name == name)

    def drop(self, *paths):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        enter = QDragEnterEvent(
            self.panel.rect().center(), Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(self.panel, enter)
        assert enter.isAccepted()
        place = QPointF(self.panel.rect().center())
        drop = QDropEvent(place, Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self.panel, drop)
        self.settle()


class Row:
    """What is seen of one view, and what can be done there."""

    def __init__(self, row, bot):
        self.row = row
        self.bot = bot

    @property
    def name(self):
        return self.row.findChild(QLabel, "name").text()

    @property
    def ticked(self):
        return self.row.findChild(QCheckBox, "included").isChecked()

    @property
    def numbers(self):
        label = self.row.findChild(QLabel, "numbers")
        return label.text() if label.isVisibleTo(self.row) else ""

    @property
    def cuts(self):
        picture = self.row.findChild(PSFPicture)
        return picture.cuts if picture.isVisibleTo(self.row) else ()

    @property
    def problems(self):
        labels = self.row.findChildren(QLabel, "problem")
        return [label.text() for label in labels if label.isVisibleTo(self.row)]

    def kinds(self):
        return [
            frame.objectName() for frame in self.row.findChildren(QFrame) if frame.objectName() in ("error", "warning")
        ]

    def tick(self):
        self.bot.mouseClick(self.row.findChild(QCheckBox, "included"), LEFT)
        self.bot.wait(120)

    def enter(self, name, text):
        field = self.row.findChild(QWidget, name)
        field.setFocus()
        field.selectAll()
        self.bot.keyClicks(field, text)
        self.bot.keyClick(field, Qt.Key.Key_Return)
        self.bot.wait(120)

    def fix(self, label, number=0):
        buttons = [b for b in self.row.findChildren(QPushButton, f"fix {label}") if b.isVisibleTo(self.row)]
        assert buttons, f"no button {label}: {self.problems}"
        self.bot.mouseClick(buttons[number], LEFT)

    def entries(self, menu=None):
        """The menu as it opens, that of the PSF or another: texts, those of submenus behind their menu's."""
        menu = menu or self.row.menu
        menu.aboutToShow.emit()
        found = {}
        for action in menu.actions():
            if action.menu():
                found |= {f"{action.text()} > {inner.text()}": inner for inner in action.menu().actions()}
            else:
                found[action.text()] = action
        return found

    def choose(self, text, menu=None):
        entries = self.entries(menu)
        action = next((a for t, a in entries.items() if t.startswith(text)), None)
        assert action is not None, f"there is no {text}: {list(entries)}"
        assert action.isEnabled(), action.toolTip()
        action.trigger()


def known(layer):
    """The layer's notes."""
    return layer.metadata[KEY]


def choose_in_dialog(*paths, kind=None):
    """Type names into the file dialog once it is open, choose a kind of file by its first words, and press its button."""

    def answer():
        dialog = QApplication.activeModalWidget()
        if dialog is None or not dialog.isVisible():
            QTimer.singleShot(100, answer)
            return
        if kind is not None:
            types = dialog.findChild(QComboBox, "fileTypeCombo")
            row = next(row for row in range(types.count()) if types.itemText(row).startswith(kind))
            types.setCurrentIndex(row)
            types.activated.emit(row)
            types.textActivated.emit(types.itemText(row))
        names = " ".join(f'"{path}"' for path in paths) if len(paths) > 1 else str(paths[0])
        dialog.findChild(QLineEdit, "fileNameEdit").setText(names)
        dialog.findChild(QDialogButtonBox).buttons()[0].click()

    QTimer.singleShot(100, answer)


def in_front_of_the_views(model, qtbot):
    """Somebody who has just opened Views & PSFs."""
    panel = ViewsPanel(model)
    qtbot.addWidget(panel, before_close_func=lambda widget: widget.setParent(None))
    panel.resize(390, 900)
    panel.show()
    qtbot.waitExposed(panel)
    return ViewsPerson(panel, qtbot)
