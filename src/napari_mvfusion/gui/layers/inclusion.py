"""Which of the opened layers are fused: decided once for each layer, and kept in its notes."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image

from napari_mvfusion.gui.layers.conversion import annotate, notes


def decide(layers: Sequence[Image]) -> list[Image]:
    """The layers that are fused. Where that is not decided yet, views of the sample that was opened first are, once each."""
    ticked = [layer for layer in layers if notes(layer).get("included") is True]
    for layer in layers:
        if notes(layer).get("included") is None:
            known = notes(layer)
            samples = [notes(other)["sample"] for other in ticked or layers if "sample" in notes(other)]
            named = {(notes(other).get("sample"), notes(other).get("name")) for other in ticked}
            first = "sample" in known and known["sample"] == samples[0]
            included = first and (known["sample"], known.get("name")) not in named
            if included:
                ticked.append(layer)
            annotate(layer, included=included)
    return [layer for layer in layers if layer in ticked]
