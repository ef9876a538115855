"""Rows of a form that are seen or not, in every Qt that napari runs with."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QWidget


def show_row(form: QFormLayout, field: QWidget, seen: bool) -> None:
    """Show or hide a row of a form, its label too.

    Parameters
    ----------
    form : the form
    field : the widget of the row
    seen : whether it is shown
    """
    if hasattr(form, "setRowVisible"):
        form.setRowVisible(field, seen)
        return
    # Qt before 6.4, which napari takes where PyQt5 is installed, has no such method.
    label = form.labelForField(field)
    for widget in (field, label):
        if widget is not None:
            widget.setVisible(seen)
