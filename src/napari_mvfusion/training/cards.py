"""The card of a model that is yet to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from napari_mvfusion.data.geometry import triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.provenance import psf_sha256, software_versions
from napari_mvfusion.models import ModelCard, PSFRecord
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.psf import fwhm
from napari_mvfusion.training.config import TrainConfig


@dataclass(frozen=True)
class Description:
    """What a card says that the configuration does not.

    Attributes
    ----------
    title, summary, licence : of the model
    command : that makes it again, or "" where there is none
    data : what it is trained on, in words; made up from the configuration when ""
    """

    title: str = ""
    summary: str = ""
    licence: str = "not stated"
    command: str = ""
    data: str = ""


def card_of(
    config: TrainConfig,
    name: str,
    description: Description,
    parent: ModelCard | None,
    counts: tuple[int, int],
    angles: tuple[float, ...] | None,
    data: str,
    psfs: tuple[PSFRecord, ...] | str,
) -> ModelCard:
    """Make the card of a model.

    Parameters
    ----------
    config : of its training
    name : of the model
    description : what the configuration does not say
    parent : card of the model that it begins with, or None
    counts : fewest and most views
    angles : of the channels of the paper's network, degrees; the universal generator takes views from anywhere
    data : what it is trained on, where the description does not say it
    psfs : it is trained with
    """
    paper = isinstance(config.architecture, PaperArchitecture)
    training: dict[str, JsonValue] = {
        "mode": config.mode,
        "data": description.data or data,
        "losses": _losses(config),
        "software": dict(software_versions()),
    }
    if description.command:
        training["command"] = description.command
    if parent is not None:
        training["parent"] = {"name": parent.name, "version": parent.version, "created": parent.created}
    return ModelCard(
        name=name,
        title=description.title,
        summary=description.summary,
        licence=description.licence,
        architecture=config.architecture,
        least_views=counts[0],
        most_views=counts[1],
        angles=angles if paper else None,
        normalisation="maximum" if paper else "brightness",
        tile=config.tile,
        psfs=psfs,
        training=training,
    )


def psf_records(views: Sequence[RegisteredViews]) -> tuple[PSFRecord, ...]:
    """Each PSF of the views once, where they have one."""
    found: dict[str, PSFRecord] = {}
    for each in views:
        for view in each.views:
            if view.psf is None:
                continue
            digest = psf_sha256(view.psf)
            record = PSFRecord(name=view.name, sha256=digest, shape=triple(view.psf.shape), fwhm=fwhm(view.psf))
            found.setdefault(digest, record)
    return tuple(found.values())


def _losses(config: TrainConfig) -> str:
    """The loss in words."""
    weights = config.weights
    cycle = {f"cycle ({weights.likelihood})": weights.cycle}
    parts = {
        "supervised": {
            "absolute error": weights.absolute,
            "squared error": weights.square,
            "squared mean error": weights.light,
        },
        "self": cycle | {"squared gradient": weights.gradient, "resimulated result": weights.resimulated},
        "semi": cycle | {"cycle of sharp volumes": weights.cycle, "adversarial": weights.adversarial},
    }[config.mode]
    return " + ".join(f"{weight:g} x {name}" for name, weight in parts.items() if weight)
