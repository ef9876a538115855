"""Make the pictures of the Views & PSFs panel in docs/images again.

scripts/with-display.sh .venv/bin/python docs/make_views_screenshots.py
"""

import napari
import numpy as np
from napari.qt import get_qapp
from napari.settings import get_settings
from pictures import IMAGES, shoot, wait
from qtpy.QtWidgets import QDockWidget, QLabel, QPushButton, QScrollArea

from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.gui.panels.views.panel import ViewsPanel
from napari_mvfusion.simulation import sample

NARROW, WIDE = 390, 830


def actions(menu):
    """The actions of a menu and its submenus."""
    for action in menu.actions():
        yield action
        if action.menu():
            yield from actions(action.menu())


def open_panel(viewer):
    """The panel, by the menu."""
    texts = {action.text().replace("&&", "&"): action for action in actions(viewer.window.plugins_menu)}
    next(action for text, action in texts.items() if text.startswith("Views & PSFs")).trigger()
    return next(widget for widget in get_qapp().allWidgets() if isinstance(widget, ViewsPanel))


def dock_of(panel):
    """The dock that a panel is in."""
    while not isinstance(panel, QDockWidget):
        panel = panel.parentWidget()
    return panel


def resize(viewer, panel, width):
    """Give the panel's dock a width."""
    dock = dock_of(panel)
    dock.setMinimumWidth(width)
    wait(0.3)
    dock.setMaximumWidth(width)
    viewer.window.resize(910 + width, 860)
    wait(0.3)


def scroll_down(panel):
    """Show the end of the list."""
    bar = panel.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(bar.maximum())


def spoil(viewer):
    """Give the views every kind of problem."""
    first, second, third, fourth = (viewer.layers[f"embryo view {angle}"] for angle in (0, 90, 180, 270))
    raw = np.pad(notes(first)["psf"], ((4, 7), (3, 4), (3, 3))) * 254.0 + 0.02
    annotate(first, psf=raw, psf_source="raw_0.tif")
    annotate(second, psf=None)
    third.data = np.where(np.arange(128) == 40, np.nan, third.data)
    annotate(third, psf=np.flip(notes(third)["psf"]))
    fourth.data = fourth.data[::2, ::2, ::2] - 3


def main():
    """Go once through the life of the panel."""
    viewer = napari.Viewer()
    viewer.window.resize(1300, 860)
    panel = open_panel(viewer)
    resize(viewer, panel, NARROW)
    shoot(viewer, "views-empty")
    viewer.open_sample("napari-mvfusion", "embryo")
    wait(1.5)
    shoot(viewer, "views-filled")
    menu = panel.findChild(QPushButton, "psf").menu()
    menu.aboutToShow.emit()
    menu.popup(panel.mapToGlobal(panel.rect().topLeft()))
    wait(0.3)
    menu.grab().save(str(IMAGES / "views-menu.png"))
    menu.close()
    resize(viewer, panel, WIDE)
    shoot(viewer, "views-wide")
    get_settings().appearance.theme = "light"
    wait()
    shoot(viewer, "views-light")
    resize(viewer, panel, NARROW)
    shoot(viewer, "views-light-narrow")
    get_settings().appearance.theme = "dark"
    for number, beads in enumerate(sample("embryo", beads=True).beads):
        look = {"name": f"beads {90 * number}", "colormap": "gray", "visible": number == 0}
        viewer.add_image(beads.volume, scale=(1, 1, 1), units="um", **look)
    panel.findChild(QPushButton, "fold").click()
    wait()
    panel.findChild(QPushButton, "measure").click()
    wait(0.5)
    scroll_down(panel)
    shoot(viewer, "views-measuring")
    wait(60, lambda: not panel.findChild(QPushButton, "use").isHidden())
    wait()
    scroll_down(panel)
    shoot(viewer, "views-beads")
    panel.findChild(QPushButton, "use").click()
    wait(1)
    shoot(viewer, "views-measured")
    for number in range(4):
        del viewer.layers[f"beads {90 * number}"]
    spoil(viewer)
    wait(1.5)
    wait(60, lambda: not panel.busy)
    shoot(viewer, "views-problems")
    resize(viewer, panel, WIDE)
    shoot(viewer, "views-problems-wide")
    get_settings().appearance.theme = "light"
    shoot(viewer, "views-problems-light")
    get_settings().appearance.theme = "dark"
    print(*(label.text() for label in panel.findChildren(QLabel, "problem")), sep="\n")
    viewer.close()


if __name__ == "__main__":
    main()
