"""How far the ticked results can be trusted: layers beside each, and what is found in words."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.provenance import views_of_run
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.run_uncertainty import uncertainty_of_run
from napari_mvfusion.engine.unsupported import Unsupported, find_unsupported
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, Latest
from napari_mvfusion.gui.layers.map_layers import UNCERTAINTY, WITHOUT_SUPPORT, add_map
from napari_mvfusion.gui.panels.compare.compared_layers import ROLES, role_of, view_layers_with_psfs, views_of
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.measures.placed_volume import PlacedVolume

_ABOUT = (
    "Light of the ticked results that their views speak against: invented, or misplaced. Of models that say so, also how "
    "far each voxel may be off."
)
_WHAT = (
    "<qt>Blurs each ticked result as its views were and compares them; what is too much is added as a layer, in magenta, as "
    "bright as the result. Attenuation is that of the run which made it, or estimated. What noise or blur hides is not "
    "found.<br>How far voxels may be off, in their brightness, the model that made the result says of the views once "
    "more: two of three are nearer to the truth. Its layer, in cyan, is hidden at first.</qt>"
)
# Share of the time of a result that is told for its light; the rest is the model's, where it has something to say.
_LIGHT_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class UnsupportedTask:
    """A result whose unsupported light is to be found, and its views; the thread hands the layer back untouched."""

    layer: Image
    volume: PlacedVolume
    views: RegisteredViews


@dataclass(frozen=True, eq=False)
class UnsupportedLight:
    """What was found, and the value that is bright in the result; or the reason in words why nothing can be.

    Attributes
    ----------
    task : whose it is
    found : the light; or why it cannot be found
    uncertainty : how far voxels may be off, (z, y, x); None where nobody can say; or why the model does not
    bright : value of the result
    """

    task: UnsupportedTask
    found: Unsupported | str
    uncertainty: np.ndarray | str | None = None
    bright: float = 1.0


class UnsupportedBox(ComparePart):
    """Adds a layer of unsupported light for every ticked result, or replaces the one that is there.

    Parameters
    ----------
    viewer, compared, status : see `ComparePart`
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status) -> None:
        super().__init__(viewer, compared, status)
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._find = push_button("Add layers for each result", "find_unsupported")
        framed = QGroupBox("How far results can be trusted")
        inner = QVBoxLayout(framed)
        for part in (text_label("", _ABOUT), self._find, self._bar):
            inner.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(framed)
        compared.changed.connect(self._describe)
        self._find.clicked.connect(self._start)
        self._task.reported.connect(self._take)
        self._task.failed.connect(status.fail)
        self._task.ended.connect(self._describe)
        self._describe()

    def _results(self) -> list[Image]:
        """Ticked volumes that views can speak against: results, and images of which nothing is known."""
        truth, roles = self._compared.truth(), (ROLES["fused"], ROLES[None])
        return [layer for layer in self._compared.ticked() if layer is not truth and role_of(layer) in roles]

    def _describe(self) -> None:
        missing = "It is being found: cancel it, or wait" if self._task.running else ""
        missing = missing or ("" if self._results() else "Tick results first")
        missing = missing or ("" if view_layers_with_psfs(self._compared.listed()) else "No view with a PSF is open")
        self._find.setEnabled(not missing)
        self._find.setToolTip(missing or _WHAT)

    def _start(self) -> None:
        self._status.clear()
        tasks = []
        for layer in self._results():
            try:
                volume = self._volume(layer)
                views = views_of(volume, self._compared.listed(), self._viewer.dims.point)
                tasks.append(UnsupportedTask(layer, volume, views_of_run(volume.recipe, views)))
            except InputError as error:
                self._status.fail(Failed(str(error)))
        if tasks:
            self._bar.begin("Starting…")
            self._task.start(_find_each, tasks)
            self._describe()

    def _take(self, light: UnsupportedLight) -> None:
        layer, found = light.task.layer, light.found
        if layer not in self._viewer.layers:
            return
        if isinstance(found, str):
            self._status.fail(Failed(f"'{layer.name}': {found}"))
            return
        show = partial(add_map, self._viewer, layer, bright=light.bright)
        added = [show(WITHOUT_SUPPORT, found.values, visible=layer.visible)]
        look = f" It {found.caution}: look at its layer." if found.caution else ""
        kind = "warning" if found.caution else "done"
        if isinstance(light.uncertainty, str):
            self._status.fail(Failed(f"'{layer.name}': {light.uncertainty}"))
        elif light.uncertainty is not None:
            added.append(show(UNCERTAINTY, light.uncertainty, visible=False))
        self._status.say(kind, f"'{layer.name}': {found.sentence}.{look}", added)


def _find_each(check: Checkpoint, tasks: Sequence[UnsupportedTask]) -> Generator[UnsupportedLight, None, None]:
    """Find the light of one result after the other; what cannot be found says why."""
    for number, task in enumerate(tasks):

        def report(text: str, share: float, number: int = number, name: str = task.volume.name) -> None:
            check.report(f"{name}: {text}", (number + _LIGHT_SHARE * share) / len(tasks))

        try:
            report("looking at the views", 0.0)
            used = attenuation_of_run(task.volume.recipe, task.views)
            found = find_unsupported(
                task.volume.data, task.views, attenuation=used, report=report, cancel=check.stopped
            )
            high = contrast_limits([task.volume.data])[1]
            uncertainty = _uncertainty_of(check, task, number, len(tasks))
            yield UnsupportedLight(task, found, uncertainty, high if high > 0 else 1.0)
        except InputError as error:
            yield UnsupportedLight(task, str(error))


def _uncertainty_of(check: Checkpoint, task: UnsupportedTask, number: int, count: int) -> np.ndarray | str | None:
    """How far a result may be off, see `UnsupportedLight`."""

    def report(text: str, share: float) -> None:
        done = number + _LIGHT_SHARE + (1 - _LIGHT_SHARE) * share
        check.report(f"{task.volume.name}, how far it may be off: {text}", done / count)

    try:
        return uncertainty_of_run(task.volume.recipe, task.views, report=report, cancel=check.stopped)
    except InputError as error:
        return f"how far it may be off is not known: {error}"
