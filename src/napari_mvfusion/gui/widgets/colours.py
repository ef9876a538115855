"""Colours of curves: told from one another, and with a contrast of 3 and more on napari's dark and light background."""

from __future__ import annotations

GREY, PINK, OLIVE = "#7c7c7c", "#d34397", "#788413"
TEAL, ORANGE, BLUE = "#078a8a", "#c8690b", "#117ed7"
RED, GREEN, VIOLET = "#e03a27", "#198f4c", "#a354d4"

CURVES = (GREY, PINK, OLIVE, TEAL, ORANGE, BLUE, RED, GREEN, VIOLET)
