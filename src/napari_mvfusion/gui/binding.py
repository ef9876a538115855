"""Which Qt the window runs on, and what is said where it is not the one that the panels are made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qtpy import API_NAME, QT_VERSION

from napari_mvfusion.errors import InputError

T = TypeVar("T")

_QT = 6


def about_binding(name: str = API_NAME, version: str | None = QT_VERSION) -> str:
    """What is to be said of a binding of Qt, with the fix; "" for one of Qt 6, with which the panels are tried.

    Parameters
    ----------
    name : of the binding, for example "PyQt5"
    version : of its Qt
    """
    if version is not None and int(version.split(".")[0]) >= _QT:
        return ""
    return (
        f"this window runs on {name} (Qt {version or 'of an unknown version'}), and the panels are made for Qt {_QT}: "
        'install it with pip install "PyQt6>=6.7", and remove the other one, or start napari with QT_API=pyqt6'
    )


def built(title: str, build: Callable[[], T], binding: str | None = None) -> T:
    """What is built for a window; where it fails for lack of what only a newer Qt has, that is said.

    Parameters
    ----------
    title : of the panel
    build : makes it
    binding : what is to be said of the binding, as `about_binding` does; that of this window when None

    Raises
    ------
    InputError
        If it cannot be built with this binding.
    """
    said = about_binding() if binding is None else binding
    try:
        return build()
    except (AttributeError, ImportError, TypeError) as error:
        if not said:
            raise
        raise InputError(f"{title} cannot be opened: {said}") from error
