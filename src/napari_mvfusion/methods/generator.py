"""Fusion by a learned generator: which model, and how its tiles are joined."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.methods.base import BoundMethod, FusionMethod, warn_few
from napari_mvfusion.methods.channels import channel_order
from napari_mvfusion.methods.deblurring import context_of_psfs
from napari_mvfusion.methods.lost_light import Attenuation
from napari_mvfusion.methods.paper_fusion import bind_paper
from napari_mvfusion.methods.universal_fusion import bind_universal
from napari_mvfusion.models import ModelCard, ModelEntry, find_model, load_model, weights_sha256
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.paper import PaperGenerator
from napari_mvfusion.models.universal import UniversalArchitecture, UniversalGenerator
from napari_mvfusion.psf.usable import look_at_psf

_CONTEXT_VOXELS = 16
_KEPT_NETWORKS = 4


class LearnedFusion(FusionMethod):
    """Parameters of fusion by a generator.

    References
    ----------
    Yang et al., Multi-View Fusion Using Semi- and Self-Supervised Generative Adversarial Networks.
    """

    name: ClassVar[str] = "generator"
    title: ClassVar[str] = "Generator (learned)"
    summary: ClassVar[str] = "A trained network tells structure from noise; then the views correct what it made."
    coarse_first: ClassVar[bool] = True
    removes_hot: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "Best": {},
        "Fast": {"precision": "mixed", "mirrored": False},
    }
    unsaid: ClassVar[Mapping[str, Any]] = {"refined": False}
    without: ClassVar[Mapping[str, str]] = {
        "attenuation": ": models that are told of lost light, as universal is, always estimate it"
    }

    model: str = Field(
        default="universal",
        title="Model",
        description="Which trained network: universal takes any views with their PSFs; others expect the views that they "
        "were trained on.",
        json_schema_extra={"choices": "models"},
    )
    tiles: Literal["seam_free", "published"] = Field(
        default="seam_free",
        title="Tiles",
        description="seam_free gives the picture that one tile as large as the volume would give; published joins small "
        "overlapping tiles as the paper did, for its networks only.",
    )
    precision: Literal["full", "mixed"] = Field(
        default="full",
        title="Precision",
        description="mixed is faster on GPUs and recent CPUs, and may change a voxel by a few thousandths.",
    )
    mirrored: bool = Field(
        default=True,
        title="Mirror image too",
        description="Shows a universal network the views and their mirror image, and takes the mean: a little better, "
        "and alike from all sides; the network takes twice as long. Others always see the views only.",
    )
    refined: bool = Field(
        default=True,
        title="Refine by the views",
        description="Goes on from the network's picture with four updates of the Wiener deconvolution, in which the views "
        "correct it. Off shows what the network made. Universal networks only.",
    )
    shows: Literal["image", "uncertainty"] = Field(
        default="image",
        title="Shows",
        description="image is the fused volume; uncertainty is how far its voxels may be off, in their brightness: two of "
        "three are nearer to the truth. For models that say so.",
        # Maps have it beside the image; in a form it would take the place of that.
        json_schema_extra={"choices": "recipe"},
    )
    sha256: str = Field(
        default="",
        pattern="^([0-9a-f]{64})?$",
        title="Hash of the weights",
        description="Refuse weights that have another hash; recipes fill it in. Empty takes the model as it is.",
        json_schema_extra={"choices": "recipe"},
    )

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at model, views and PSFs.

        Returns
        -------
        Warnings: an odd PSF, an order of views that had to be guessed, transmissions that are not used.

        Raises
        ------
        InputError
            If there is no such model, it does not take these views, or a PSF that it needs is missing.
        """
        entry, card = self._model()
        if self.sha256 and weights_sha256(entry.path) != self.sha256:
            raise InputError(
                f"the model '{card.name}' has other weights than the recipe was made with: install that version of it"
            )
        if not card.least_views <= len(views) <= card.most_views:
            raise InputError(
                f"the model '{card.name}' takes {card.view_count} views, and there are {len(views)}: "
                "choose other views, or another model"
            )
        if self.shows == "uncertainty" and not _says_how_sure(card):
            raise InputError(
                f"the model '{card.name}' does not say how sure it is: choose another model, or shows=image"
            )
        unused = [
            f"{view.transmission_label} was given and is not used: the model '{card.name}' takes none"
            for view in views.views
            if view.transmission is not None
        ][:1]
        if isinstance(card.architecture, UniversalArchitecture):
            if self.tiles == "published":
                raise InputError(f"published tiles are for the paper's networks: '{card.name}' has seam_free tiles")
            notes = [note for view in views.views for note in look_at_psf(view, views.grid.shape, "this generator")]
            return [*unused, *notes, *warn_few(views)]
        return [*unused, *channel_order(views, card).warnings]

    def context(self, views: RegisteredViews) -> Triple:
        """What a voxel visibly depends on: most of the reach of the PSFs, and of the network."""
        _, card = self._model()
        if isinstance(card.architecture, UniversalArchitecture):
            return triple(max(n, _CONTEXT_VOXELS) for n in context_of_psfs(views))
        return (_CONTEXT_VOXELS,) * 3

    def prepare(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, BoundMethod]:
        """Load the weights, scan the views, and fix what depends on the whole volume.

        Raises
        ------
        InputError
            If the weights are damaged, or the views cannot be used.
        """
        entry, card = self._model()
        network = _network(entry.path, device)
        autocast = self._autocast(device)
        if isinstance(network, UniversalGenerator):
            uncertain = self.shows == "uncertainty"
            return (
                yield from bind_universal(
                    views,
                    network,
                    device,
                    autocast,
                    mirrored=self.mirrored,
                    uncertainty=uncertain,
                    refined=self.refined and not uncertain,
                )
            )
        assert isinstance(network, PaperGenerator)
        order = channel_order(views, card).indices
        published = self.tiles == "published"
        return (yield from bind_paper(views, network, order, device, autocast, published=published))

    @property
    def attenuation(self) -> Attenuation:
        """What it takes of lost light: universal networks that are told of it estimate it."""
        architecture = self._model()[1].architecture
        told = isinstance(architecture, UniversalArchitecture) and architecture.light
        return "estimated" if told else "none"

    @property
    def uncertain(self) -> LearnedFusion | None:
        """The same with what the network says of how far it may be off, where it does."""
        return self.model_copy(update={"shows": "uncertainty"}) if _says_how_sure(self._model()[1]) else None

    def weights(self) -> str:
        """SHA-256 of the model's weights, which a recipe holds."""
        return weights_sha256(self._model()[0].path)

    def _model(self) -> tuple[ModelEntry, ModelCard]:
        entry = find_model(self.model)
        assert entry.card is not None
        return entry, entry.card

    def _autocast(self, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
        if self.precision == "full":
            return nullcontext
        return partial(torch.autocast, device.type, torch.bfloat16)


def _says_how_sure(card: ModelCard) -> bool:
    """Whether a model says how far its image may be off."""
    return isinstance(card.architecture, UniversalArchitecture) and card.architecture.uncertainty


def _network(path: Path, device: torch.device) -> Network:
    """The network of a file; one that was used lately is not read again."""
    changed = path.stat()
    network = _loaded(path, changed.st_mtime_ns, changed.st_size, device)
    # Statistics of a volume are fixed in the norms: a run must not see those of another.
    return copy.deepcopy(network) if isinstance(network, PaperGenerator) and network.norms() else network


@lru_cache(maxsize=_KEPT_NETWORKS)
def _loaded(path: Path, changed_ns: int, size: int, device: torch.device) -> Network:
    del changed_ns, size  # they tell versions of a file apart
    network, _ = load_model(path, device)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
            # A pass over a large tile takes seconds: it can be cancelled before each layer.
            layer.register_forward_pre_hook(_poll_first)
            if device.type == "cpu":
                # With weights laid out so, convolutions of wide blocks take two thirds of the time.
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return network.requires_grad_(False)


def _poll_first(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    del layer, inputs
    poll()
