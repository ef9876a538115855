"""Sets of OME-TIFF files: which file describes the others, a companion.ome or one of themselves, and which are lacking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file, is_there, parsing

COMPANION = ".companion.ome"
_MOST_BYTES = 2**28
_SHOWN = 3


@dataclass(frozen=True)
class OMESet:
    """Where a file of a set is described.

    Attributes
    ----------
    file : the TIFF file to open in place of what was named
    xml : OME-XML of a companion; "" where the file has it itself
    """

    file: Path
    xml: str = ""


def is_companion(path: Path) -> bool:
    """Whether a file is called like the OME-XML of a set of TIFF files."""
    return path.name.lower().endswith(COMPANION)


def set_of(path: Path, description: str) -> OMESet:
    """Where a TIFF file that was opened is described; where that is not there, in itself.

    Parameters
    ----------
    path : of the file
    description : in it

    Raises
    ------
    InputError
        If what describes it lies outside of its folder, or cannot be read.
    """
    name = _elsewhere(path, description)
    other = path.parent / name
    if not name or not is_there(other):
        return OMESet(path)
    return OMESet(other) if other.suffix.lower() in (".tif", ".tiff") else OMESet(path, _text_of(other))


def undescribed(path: Path, description: str) -> tuple[str, ...]:
    """A line where what describes a TIFF file is not there; () where it is, or the file describes itself."""
    name = _elsewhere(path, description)
    if not name or is_there(path.parent / name):
        return ()
    return (f"{path} is described by {name}, which is not there: its voxel size and what its planes are is not known",)


def _elsewhere(path: Path, description: str) -> str:
    """The name of the file that describes a TIFF file; "" where that is itself."""
    if "BinaryOnly" not in description:
        return ""
    element = _parsed(path, description).find("{*}BinaryOnly")
    name = "" if element is None else element.get("MetadataFile", "")
    check_neighbour(path, name or None)
    return "" if name == path.name else name


def set_of_companion(path: Path) -> OMESet:
    """The first file that a companion describes, with that description.

    Raises
    ------
    InputError
        If it cannot be read, or none of its files is there.
    """
    xml = _text_of(path)
    names = files_in(_parsed(path, xml))
    for name in names:
        check_neighbour(path, name)
        if is_there(path.parent / name):
            return OMESet(path.parent / name, xml)
    lacking = _some(names) or "it names none"
    raise InputError(f"{path} describes files that are not there ({lacking}): copy them beside it")


def files_in(root: ElementTree.Element) -> list[str]:
    """The names of all files that OME-XML speaks of, in their order."""
    found = (uuid.get("FileName") for uuid in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID"))
    return list(dict.fromkeys(name for name in found if name))


def lacking_files(path: Path, xml: str) -> str:
    """The files of a set that are not beside one of them, in words; "" where all are."""
    return _some([name for name in files_in(_parsed(path, xml)) if not is_there(path.parent / name)])


def refuse_entities(path: Path, xml: str) -> None:
    """Refuse a document type, which could define entities that grow or reach out.

    Raises
    ------
    InputError
        If there is one.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError(f"{path} has a description with XML entities, which is refused: save it again without")


def check_neighbour(path: Path, name: str | None) -> None:
    """Refuse a file of the same set that is not a plain file in the same folder.

    Raises
    ------
    InputError
        If it is not.
    """
    if name is None or name == path.name:
        return
    if PureWindowsPath(name).name != name:
        raise InputError(f"{path} names a file outside of its folder ({name}), which is refused: export it again")
    other = path.parent / name
    if is_there(other):
        check_file(other)


def _text_of(path: Path) -> str:
    if check_file(path).st_size > _MOST_BYTES:
        raise InputError(
            f"{path} has more than {_MOST_BYTES // 2**20} MiB of XML, as no set of images needs: export it again"
        )
    with parsing(f"{path} cannot be read as OME-XML", "copy or export it again"):
        xml = path.read_text(encoding="utf-8").strip()
    _parsed(path, xml)
    return xml


def _parsed(path: Path, xml: str) -> ElementTree.Element:
    refuse_entities(path, xml)
    with parsing(f"{path} cannot be read as OME-XML", "copy or export it again"):
        return ElementTree.fromstring(xml)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
