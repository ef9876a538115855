"""The button that saves the ticked views with their PSFs, as files that open again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from napari.layers import Image
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.finishing import fresh_name
from napari_mvfusion.engine.savable_views import Kind, SavedViews, check_savable, kinds
from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.jobs.saving import Saver, take_over, views_steps
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import in_places, open_layers
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.io.formats import writing_filter


class SaveViews(QPushButton):
    """Asks for a name, writes in a thread, and tells the layers where their files are now.

    Attributes
    ----------
    layers : the ticked views
    saver : what is being written; stands where the panel puts it

    Parameters
    ----------
    status : says what was saved, or why it could not be
    """

    def __init__(self, status: Status, parent: QWidget | None = None) -> None:
        super().__init__("Save views…", parent)
        self.setObjectName("save_views")
        self.layers: list[Image] = []
        self._status = status
        self.saver = Saver(status)
        self.saver.changed.connect(self.show_state)
        menu = QMenu(self)
        for kind in kinds():
            menu.addAction(f"As {kind.name}…", partial(self._ask, kind))
        self.setMenu(menu)
        self.show_state()

    def show_state(self) -> None:
        """Whether it can be pressed, and why not."""
        reason = "Being saved…" if self.saver.running else "" if self.layers else "No view is ticked"
        self.setEnabled(not reason)
        tip = reason or "Write the ticked views with their PSFs and angles to files, to fuse them again or elsewhere"
        self.setToolTip(f"<qt>{tip}</qt>")

    def _ask(self, kind: Kind) -> None:
        layers = list(self.layers)
        try:
            # How much views count from place to place stays with the layers, as transmissions do.
            opened = open_layers(layers, everywhere=layers)
            if opened.leading:
                raise InputError(
                    "a series is not saved as views: save one time point or channel, or each layer for itself"
                )
            views = in_places(layers, opened) if kind.in_places else opened.views
            views = RegisteredViews([replace(view, transmission=None) for view in views.views], views.grid)
            shown_elsewhere = kind.in_places and not opened.on_own_voxels
            check_savable(views, kind)
        except MVFusionError as error:
            self._status.say("error", str(error))
            return
        ending = kind.ending
        sample = notes(layers[0]).get("sample") or "views"
        beside = opened.folder or preferences().output_folder
        proposed = fresh_name([Path(beside) if beside else None, Path.cwd(), Path.home()], sample, [ending])
        # All kinds are folders, which Qt would step into rather than choose: a file dialog that asks nothing.
        name, _ = QFileDialog.getSaveFileName(
            self.window(),
            f"Save views as {kind.name}, under a new name",
            f"{proposed or sample}{ending}",
            "Folder (*)" if kind.in_folder else writing_filter(kind.known),
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if name:
            path = Path(name if name.lower().endswith(ending) else name + ending)
            self._save(layers, views, kind, path, sample, shown_elsewhere=shown_elsewhere)

    def _save(
        self,
        layers: list[Image],
        views: RegisteredViews,
        kind: Kind,
        path: Path,
        sample: str,
        *,
        shown_elsewhere: bool,
    ) -> None:
        if path.exists():
            self._status.say("error", f"{path} is there already: choose another name.")
            return
        done = partial(self._finish, layers, views, shown_elsewhere=shown_elsewhere)
        self.saver.start(path.name, views_steps, path, views, kind, sample, done=done)

    def _finish(
        self, layers: list[Image], views: RegisteredViews, saved: SavedViews | None, *, shown_elsewhere: bool
    ) -> None:
        if saved is None:
            return
        if shown_elsewhere:
            # Layers go on as they are: opened from a scene they show other voxels.
            self._status.say(
                "done",
                f"Saved {len(saved.views)} views in their places, with their PSFs, as {saved.path}. Open it to fuse from "
                f"there.{_kept_by(layers)}",
            )
            return
        take_over(layers, views, saved)
        lost = "".join(f" {what} not in the files, but goes with a run that is copied." for what in _lost(views, saved))
        self._status.say(
            "done", f"Saved {len(saved.views)} views with their PSFs as {saved.path}.{lost}{_kept_by(layers)}"
        )


def _kept_by(layers: list[Image]) -> str:
    """What is said of what stays with the layers, and is not in the files."""
    said = ""
    if any(notes(layer).get("trust") is not None for layer in layers):
        said += " How much views count from place to place is not in the files, but stays with the layers."
    if any(notes(layer).get("transmission") is not None for layer in layers):
        said += " Transmissions that were given are not in the files, but stay with the layers."
    return said


def _lost(views: RegisteredViews, saved: SavedViews) -> list[str]:
    """What was set of views that their files do not hold."""
    if saved.inputs["tag"] is None:
        return []
    weights = ["The weight of views is"] if any(view.weight != 1 for view in views.views) else []
    return weights + (["What is no data is"] if any(view.no_data_stated for view in views.views) else [])
