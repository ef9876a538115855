"""Model cards: what a network is, what it expects of its views, how it was made and what it reaches."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from napari_mvfusion.data.geometry import FloatTriple, Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.models.paper import PaperArchitecture

FORMAT_VERSION = 1

Normalisation = Literal["maximum", "brightness"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Names that Windows keeps for devices, whatever follows the dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MOST_PROBLEMS = 4
_MOST_LETTERS = 200


def check_name(name: str) -> str:
    """Return a name that can stand for a model and its file.

    Raises
    ------
    InputError
        If it is empty, longer than 64, or holds anything but letters, digits, and `-`, `_`, `.` after the first.
    """
    if not _NAME.fullmatch(name) or name.endswith(".") or _DEVICES.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be the name of a model: use up to 64 of the letters a-z and A-Z, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return name


class PSFRecord(BaseModel):
    """A PSF that a model was trained with.

    Attributes
    ----------
    name : of the file or the view
    sha256 : of the shape and the float32 values, as in the recipes of fused volumes
    shape : (z, y, x) voxels
    fwhm : full width at half maximum along (z, y, x), voxels
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    shape: Triple
    fwhm: FloatTriple


class ModelCard(BaseModel):
    """What stands beside the weights of a model.

    Attributes
    ----------
    format_version : of the card itself
    name : letters, digits, `-`, `_` and `.`
    title, summary : a line, and some sentences
    version, licence : of the model
    created : date and time, ISO 8601
    architecture : what the network is built from
    least_views, most_views : how many views it takes
    angles : degrees about x of every channel in their order, or None where any will do
    normalisation : "maximum" divides all views by their common maximum, "brightness" by their common brightness
    tile : (z, y, x) voxels of the blocks it was trained on, or None where unknown
    psfs : the PSFs it was trained with, or a sentence about them
    training : how it was made: configuration, data, steps, seconds, seed, command, losses, software, parent model
    metrics : what it reached, by name
    sources : publications, data and code that it derives from
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION)
    name: str
    title: str = ""
    summary: str = ""
    version: str = "1"
    licence: str = "not stated"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    architecture: Architecture
    least_views: int = Field(ge=1, le=64)
    most_views: int = Field(ge=1, le=64)
    angles: tuple[FiniteFloat, ...] | None = None
    normalisation: Normalisation
    tile: Triple | None = None
    psfs: tuple[PSFRecord, ...] | str = ""
    training: dict[str, JsonValue] = {}
    metrics: dict[str, FiniteFloat] = {}
    sources: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _name_is_a_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("created")
    @classmethod
    def _created_is_a_date(cls, created: str) -> str:
        datetime.fromisoformat(created)
        return created

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        if self.least_views > self.most_views:
            raise ValueError(f"least_views {self.least_views} is more than most_views {self.most_views}")
        if self.angles is not None and not self.least_views == self.most_views == len(self.angles):
            raise ValueError(
                f"{len(self.angles)} angles do not fit {self.least_views} to {self.most_views} views: "
                "an angle a channel, or null"
            )
        if isinstance(self.architecture, PaperArchitecture):
            channels = self.architecture.views
            if not self.least_views == self.most_views == channels:
                raise ValueError(
                    f"a network with {channels} input channels takes {channels} views, no more and no less"
                )
        return self

    @property
    def view_count(self) -> str:
        """How many views it takes: "4", or "2 to 8"."""
        few, many = self.least_views, self.most_views
        return f"{few} to {many}" if few < many else str(few)

    @property
    def views_taken(self) -> str:
        """How many views it takes, and at which angles where it expects some: "4 views, at 0°, 90°, 180° and 270°"."""
        number = f"{self.view_count} view{'s' if self.most_views > 1 else ''}"
        if self.angles is None:
            return number
        *others, last = (f"{angle:g}°" for angle in self.angles)
        return f"{number}, at {', '.join(others)} and {last}" if others else f"{number}, at {last}"

    def to_json(self) -> str:
        """The card as JSON, as it stands in the file."""
        return self.model_dump_json(by_alias=True)


def parse_card(text: str, source: str) -> ModelCard:
    """Read a card from JSON.

    Parameters
    ----------
    text : JSON
    source : the file, for messages

    Raises
    ------
    InputError
        If the text is no card, or one of a newer format.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Python refuses numbers of thousands of digits with the first of these.
        raise InputError(f"the model card in {source} is no JSON ({_short(str(error))}): get the file again") from error
    version = values.get("format_version", 1) if isinstance(values, dict) else 1
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InputError(
            f"the model card in {source} has the format {version}, and this version reads up to {FORMAT_VERSION}: "
            "update napari-mvfusion"
        )
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"the model card in {source} cannot be used: {problems_of(error)}") from error


def problems_of(error: ValidationError) -> str:
    """What pydantic found, on one line: the fields at fault and why."""
    found = error.errors(include_url=False, include_context=False)
    lines = [
        f"{_short('.'.join(map(str, each['loc']))) or 'card'}: {_short(each['msg'].removeprefix('Value error, '))}"
        for each in found[:_MOST_PROBLEMS]
    ]
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"and {len(found) - _MOST_PROBLEMS} more")
    return "; ".join(lines)


def _short(text: str) -> str:
    """One line of bounded length: messages quote what a file says, which may be anything."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 1]}…"
