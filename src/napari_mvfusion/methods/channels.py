"""Which view goes into which channel of a network that was trained on certain angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.models import ModelCard

_SAME_DEGREES = 10.0


@dataclass(frozen=True)
class ChannelOrder:
    """Indices of the views in the order of the channels, and what the user should know about it."""

    indices: tuple[int, ...]
    warnings: list[str]


def channel_order(views: RegisteredViews, card: ModelCard) -> ChannelOrder:
    """Find the view of each channel by its angle.

    Parameters
    ----------
    views : as many as the model takes
    card : of the model

    Returns
    -------
    ChannelOrder. Where angles are unknown or do not match, views keep their order, with a warning.
    """
    own = tuple(range(len(views)))
    if card.angles is None:
        return ChannelOrder(own, [])
    wanted = ", ".join(f"{angle:g}" for angle in card.angles)
    angles = [view.angle for view in views.views]
    if any(angle is None for angle in angles):
        return ChannelOrder(
            own,
            [
                f"the model '{card.name}' expects views at {wanted} degrees in this order, and some views have no angle: "
                f"they are taken as {', '.join(views.names)}"
            ],
        )
    apart = np.abs((np.subtract.outer(card.angles, np.array(angles, float)) + 180) % 360 - 180)
    nearest = apart.argmin(axis=1)
    if len(set(nearest.tolist())) < len(views) or float(apart.min(axis=1).max()) > _SAME_DEGREES:
        have = ", ".join(f"{angle:g}" for angle in angles)
        return ChannelOrder(
            own,
            [
                f"the model '{card.name}' was trained on views at {wanted} degrees, and these are at {have}: "
                "the result may be poor; the model 'universal' takes any angles"
            ],
        )
    order = tuple(int(i) for i in nearest)
    if order == own:
        return ChannelOrder(order, [])
    names = ", ".join(views.names[i] for i in order)
    return ChannelOrder(order, [f"views are given to the model '{card.name}' in its order: {names}"])
