"""The choice of the voxels of the fused volume, where views lie on different grids or their voxels are no cubes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.data.fused_grid import Voxels
from napari_mvfusion.data.geometry import FloatTriple, StatedSize, float_triple
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.jobs.tasks import Latest, once
from napari_mvfusion.gui.layers.conversion import pixels_of, stack_of, stated_size
from napari_mvfusion.gui.layers.fused_frame import chosen_frame, grid_of, on_one_grid
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import choose_voxels, inputs_on, run_psfs, take_run_psfs
from napari_mvfusion.gui.widgets.forms import Field, Form, Words
from napari_mvfusion.gui.widgets.inputs import NumberField, describe
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.system.words import size_words

_FINEST, _FIRST, _SIZE = "isotropic", "first", "size"
_TIP = (
    "Voxels of the fused volume. Cubes of the finest size of all views lose nothing; larger ones need less memory and time. "
    "Views on other voxels are interpolated"
)
_SIZE_TIP = "Along z, y and x"
_LARGEST_UM, _DECIMALS = 1000.0, 4
_CUBE = 1e-3


class VoxelsForm(Form):
    """Offers cubes of the finest size, the voxels of the first view, or a size; hidden where there is nothing to choose.

    What is chosen stands in the notes of the layers, where all panels find it. `settled` tells that PSFs have followed it.
    """

    settled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            [
                Words(name="voxels", label="Fused voxels", tooltip=_TIP),
                Field(_Sizes(), name="size", label="Size (µm)", tooltip=_SIZE_TIP),
            ],
            parent,
        )
        self._layers: list[Image] = []
        # PSFs as a run on the files has them: only then a recipe can say how they came about.
        self._task = Latest(self)
        self._task.succeeded.connect(self._take)
        self._task.ended.connect(self.settled)
        self.changed.connect(self._choose)
        self.setVisible(False)

    @property
    def busy(self) -> bool:
        """Whether PSFs are still brought to the voxels that were chosen."""
        return self._task.running

    def follow(self, layers: Sequence[Image]) -> None:
        """Offer what there is for these layers, and show what is chosen for them."""
        self._layers = list(layers)
        try:
            offered = _offered(self._layers)
        except InputError:
            # What does not fit together is said elsewhere.
            offered = []
        self.setVisible(bool(offered))
        if not offered:
            return
        chosen = grid_of(self._layers)
        with signals_blocked(self), signals_blocked(self["voxels"].native), signals_blocked(self["size"].native):
            self["voxels"].native.offer(offered)
            self["voxels"].native.set_value(_SIZE if isinstance(chosen, tuple) else chosen)
            if chosen == _FIRST and _FIRST not in [meaning for _, meaning in offered]:
                self["voxels"].native.set_value(_FINEST)
            if isinstance(chosen, tuple):
                self["size"].native.set_value(chosen)
        self.show_field("size", isinstance(chosen, tuple))

    def _choose(self) -> None:
        """Somebody has chosen."""
        if not self._layers:
            return
        now, word = grid_of(self._layers), self["voxels"].value
        voxels: Voxels = "first" if word == _FIRST else "isotropic"
        if word == _SIZE:
            voxels = self["size"].native.value() if isinstance(now, tuple) else self._size_now()
        if voxels == now:
            return
        choose_voxels(self._layers, voxels)
        inputs = inputs_on(self._layers, voxels)
        if inputs is not None and any(notes(layer).get("psf_own") is not None for layer in self._layers):
            self._task.start(once, _run_psfs, list(self._layers), inputs, voxels)

    def _size_now(self) -> FloatTriple:
        """The voxel size of what is chosen now, to begin with."""
        return float_triple(float(f"{size:.4g}") for size in chosen_frame(self._layers).grid.voxel_size_um)

    def _take(self, found: tuple[list[Image], Voxels, dict[str, ViewPSF]] | None) -> None:
        if found is not None and found[0] == self._layers and grid_of(self._layers) == found[1]:
            take_run_psfs(self._layers, found[2])


def _run_psfs(
    layers: list[Image], inputs: Inputs, voxels: Voxels
) -> tuple[list[Image], Voxels, dict[str, ViewPSF]] | None:
    """PSFs as a run on the files has them, for these layers, which only go through; None where the files are gone."""
    try:
        return layers, voxels, run_psfs(inputs)
    except (MVFusionError, OSError):
        return None


def _offered(layers: Sequence[Image]) -> list[tuple[str, str]]:
    """What can be chosen, in words; nothing where all views lie on cubes, or on voxels of which nothing is known.

    Raises
    ------
    InputError
        If the layers do not fit together.
    """
    if not layers:
        return []
    first, shared, chosen = layers[0], on_one_grid(layers), grid_of(layers)
    size = chosen_frame(layers, "isotropic").grid.stated_size_um
    another = [("Another size…", _SIZE)] if None not in size else []
    if shared:
        sizes = np.array(chosen_frame(layers, "isotropic").grid.voxel_size_um)
        plain = not another or np.ptp(sizes) <= _CUBE * sizes.min()
        if plain and chosen in (_FINEST, _FIRST):
            return []
        return [(f"Those of the views{_of(size)}", _FINEST), *another]
    offered = [(f"Cubes of the finest size{_of(size)}", _FINEST)]
    if pixels_of(first) is stack_of(first):
        offered.append((f"Those of {first.name}{_of(stated_size(first))}", _FIRST))
    return [*offered, *another]


def _of(size: StatedSize) -> str:
    """A voxel size behind a choice, as far as it is known."""
    known = [None if each is None else float(f"{each:.4g}") for each in size]
    return "" if all(each is None for each in known) else f", {size_words(known)}"


class _Sizes(QWidget):
    """A number for each axis."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._fields = [NumberField(0.0, _LARGEST_UM, _DECIMALS, open_low=True) for _ in "zyx"]
        for axis, field in zip("zyx", self._fields, strict=True):
            describe(field, f"fused_{axis}", f"Size of fused voxels along {axis}, micrometres")
            # What is typed counts once it is complete.
            field.setKeyboardTracking(False)
            field.changed.connect(self.changed)
        column(self, row(*((field, 1) for field in self._fields)))

    def value(self) -> FloatTriple:
        """The size (z, y, x), um."""
        return float_triple(float(field.value()) for field in self._fields)

    def set_value(self, size: FloatTriple) -> None:
        """Show a size."""
        for field, number in zip(self._fields, size, strict=True):
            with signals_blocked(field):
                field.set_value(number)
