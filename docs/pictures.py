"""What the scripts share that make the pictures in docs/images."""

import time
from pathlib import Path

from napari.qt import get_qapp
from PIL import Image

IMAGES = Path(__file__).parent / "images"


def wait(seconds=0.6, until=lambda: False):
    """Let the window live for a while, or until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        get_qapp().processEvents()
        time.sleep(0.01)


def shoot(viewer, name, canvas_only=False):
    """Save the window, or its canvas alone."""
    wait()
    picture = Image.fromarray(viewer.screenshot(canvas_only=canvas_only, flash=False)).convert("RGB")
    picture.save(IMAGES / f"{name}.png", optimize=True)
