"""Networks from what a model card says of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from napari_mvfusion.models.paper import PaperArchitecture, PaperGenerator
from napari_mvfusion.models.universal import UniversalArchitecture, UniversalGenerator

Architecture = Annotated[PaperArchitecture | UniversalArchitecture, Field(discriminator="kind")]
Generator = PaperGenerator | UniversalGenerator


def build(architecture: PaperArchitecture | UniversalArchitecture) -> Generator:
    """Make the network of an architecture, with random weights.

    Networks hold no tensors but those of their `state_dict`: what is loaded replaces all that is random. On the device
    "meta" they draw no random numbers: torch would load its compiler to do nothing there, which takes a second or two.
    """
    if isinstance(architecture, PaperArchitecture):
        return PaperGenerator(architecture)
    return UniversalGenerator(architecture)
