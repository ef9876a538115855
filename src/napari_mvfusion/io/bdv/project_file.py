"""The XML file of a project, read as values; no other file is looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.geometry import float_triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.project import (
    KINDS,
    OWN_TAG,
    NamedBox,
    NamedPart,
    OwnWords,
    Project,
    StoredPath,
    ViewId,
    ViewSetup,
    ViewTransform,
    stored_path,
)
from napari_mvfusion.system.file_checks import is_folder
from napari_mvfusion.system.xml_tree import read_xml

_BACKUP = re.compile(r"\.xml~\d*$", re.IGNORECASE)
USUAL_NAME = "dataset.xml"
_HEAD, _MOST_FILES = 4096, 1000
_LARGEST_ID = 2**31
_MOST_TIMEPOINTS = 1_000_000
_LONGEST_AXIS = 2**20
_SAVE_AGAIN = "save it again with BigStitcher, or restore it"


def is_project_name(path: Path) -> bool:
    """Whether a file is called like a project, or like one of the backups that BigStitcher keeps."""
    return path.name.lower().endswith(".xml") or _BACKUP.search(path.name) is not None


def projects_in(folder: Path) -> list[Path]:
    """The projects that lie in a folder, by their first bytes; the one that is called as usual alone, where there is one.

    A file of the usual name is meant as one whatever it holds: a damaged one must not pass for none.
    """
    if not is_folder(folder) or address_of(folder) is not None:
        return []
    try:
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".xml" and file.is_file())
        usual = [file for file in found if file.name.lower() == USUAL_NAME]
        return usual or [file for file in found[:_MOST_FILES] if says_project(file)]
    except OSError:
        return []


def says_project(file: Path) -> bool:
    """Whether the first bytes of a file are those of a project, in UTF-8 or UTF-16."""
    with file.open("rb") as opened:
        first = opened.read(_HEAD)
    return any("<SpimData".encode(encoding) in first for encoding in ("utf-8", "utf-16-le", "utf-16-be"))


def about_backups(folder: Path) -> list[str]:
    """A line where a folder holds only backups of a project, so that its files stand without registrations."""
    if not is_folder(folder) or address_of(folder) is not None:
        return []
    try:
        found = sorted(file for file in folder.iterdir() if _BACKUP.search(file.name) and file.is_file())
        lone = [file for file in found if not file.with_name(_BACKUP.sub(".xml", file.name)).exists()]
    except OSError:
        return []
    if not lone:
        return []
    plain = _BACKUP.sub(".xml", lone[0].name)
    return [
        f"{folder} holds {lone[0].name}, the backup of a project, and no {plain}: its files are taken without the "
        f"registrations of the project; copy it to {plain} to use these"
    ]


def read_project(path: str | Path) -> Project:
    """Read the XML of a project.

    Raises
    ------
    InputError
        If it is no project, a backup or an obsolete one, is damaged, or says what cannot be.
    """
    path = Path(path)
    if _BACKUP.search(path.name):
        plain = path.with_name(_BACKUP.sub(".xml", path.name))
        raise InputError(f"{path} is a backup of a project, which is not opened: name {plain.name}, or rename it first")
    root = read_xml(path, "BDV project")
    if root.tag != "SpimData":
        raise InputError(
            f"{path} is no BDV project: its root is <{root.tag.rpartition('}')[2][:60]}>, and that of a project is "
            "<SpimData>; name another file"
        )
    if (version := root.get("version", "0.2")) != "0.2":
        raise InputError(
            f"{path} is an obsolete project (version {version[:20]}): open it in a current BigStitcher and save it again"
        )
    sequence = _child(root, "SequenceDescription", path)
    loader = _child(sequence, "ImageLoader", path)
    if "class" in loader.attrib and "format" not in loader.attrib:
        raise InputError(
            f"{path} is an obsolete project (its loader is the class {loader.attrib['class'][:80]}): open it in a current "
            "BigStitcher and save it again"
        )
    listed = _child(sequence, "ViewSetups", path)
    setups = _setups(listed, path)
    timepoints = _timepoints(sequence.find("Timepoints"), path)
    missing = frozenset(
        (_number(view.get("timepoint"), "the time point of a missing view", path), _setup_number(view, path))
        for view in sequence.iterfind("MissingViews/MissingView")
    )
    return Project(
        path,
        _base(root),
        loader,
        setups,
        timepoints,
        _parts(listed, path),
        missing,
        _transforms(root, path),
        _boxes(root, path),
        _adjustments(root, path),
        _psfs(root, path),
        _own(root.find(OWN_TAG), path),
    )


def _base(root: Element) -> StoredPath:
    element = root.find("BasePath")
    return StoredPath(".", True) if element is None else stored_path(element)


def _setups(listed: Element, path: Path) -> dict[int, ViewSetup]:
    found: dict[int, ViewSetup] = {}
    for element in listed.iterfind("ViewSetup"):
        number = _number(_text(element, "id"), "the id of a ViewSetup", path)
        if number in found:
            raise InputError(f"{path} has two setups with the id {number}: {_SAVE_AGAIN}")
        called = f"the size of setup {number}"
        size = _numbers(_text(element, "size"), 3, called, path) if element.find("size") is not None else None
        if size is not None and not all(n.is_integer() and 1 <= n <= _LONGEST_AXIS for n in size):
            said = _shown(_text(element, "size"))
            raise InputError(f"{path} says that {called} is {said}, which cannot be: {_SAVE_AGAIN}")
        stated = _text(element, "voxelSize/size")
        voxel = None
        if stated:
            voxel = _numbers(stated, 3, f"the voxel size of setup {number}", path)
            if not all(n > 0 for n in voxel):
                raise InputError(
                    f"{path} says that the voxel size of setup {number} is {_shown(stated)}, which cannot be: correct it "
                    "there (in BigStitcher: Specify Voxel Size)"
                )
        attributes = element.find("attributes")
        parts = {
            kind: _number(_text(attributes, kind), f"the {kind} of setup {number}", path)
            for kind in KINDS
            if attributes is not None and attributes.find(kind) is not None
        }
        found[number] = ViewSetup(
            number,
            _shown(_text(element, "name")),
            None if size is None else triple(int(n) for n in reversed(size)),
            None if voxel is None else float_triple(reversed(voxel)),
            _text(element, "voxelSize/unit"),
            parts,
        )
    if not found:
        raise InputError(f"{path} has no setups, so there is nothing to open: {_SAVE_AGAIN}")
    return dict(sorted(found.items()))


def _parts(listed: Element, path: Path) -> dict[str, dict[int, NamedPart]]:
    found: dict[str, dict[int, NamedPart]] = {}
    for group in listed.iterfind("Attributes"):
        kind = group.get("name", "")
        if kind not in KINDS:
            continue
        for element in group:
            number = _number(_text(element, "id"), f"the id of a {kind}", path)
            degrees = _text(element, "degrees")
            said = _numbers(degrees, 1, f"the degrees of {kind} {number}", path)[0] if degrees else None
            named = NamedPart(number, _shown(_text(element, "name")) or str(number), said)
            if found.setdefault(kind, {}).setdefault(number, named) != named:
                raise InputError(f"{path} has two of the {kind}s with the id {number}: {_SAVE_AGAIN}")
    return found


def _timepoints(element: Element | None, path: Path) -> dict[int, str]:
    """Names by numbers; one time point, 0, where nothing is said."""
    if element is None:
        return {0: "0"}
    kind = element.get("type")
    if kind == "range":
        first, last = (_number(_text(element, end), f"the {end} time point", path) for end in ("first", "last"))
        numbers: list[int] = list(_range(first, last, path))
    elif kind == "pattern":
        numbers = list(_pattern(_text(element, "integerpattern"), path))
    elif kind == "list":
        named = {
            _number(_text(each, "id"), "the id of a time point", path): _text(each, "name")
            for each in element.iterfind("Timepoint")
        }
        return {number: named[number] or str(number) for number in sorted(named)} or {0: "0"}
    else:
        raise InputError(f"{path} lists its time points in an unknown way ('{_shown(kind or '')}'): {_SAVE_AGAIN}")
    return {number: str(number) for number in sorted(set(numbers))} or {0: "0"}


def _range(first: int, last: int, path: Path, step: int = 1) -> range:
    if last < first or step < 1 or (last - first) // step >= _MOST_TIMEPOINTS:
        raise InputError(f"{path} has time points from {first} to {last}, which cannot be: {_SAVE_AGAIN}")
    return range(first, last + 1, step)


def _pattern(text: str, path: Path) -> Iterator[int]:
    """Numbers of "0-10:2,15"."""
    total = 0
    for part in filter(None, (each.strip() for each in text.split(","))):
        match = re.fullmatch(r"(\d{1,10})(?:\s*-\s*(\d{1,10})(?:\s*:\s*(\d{1,10}))?)?", part)
        if match is None:
            raise InputError(f"{path} has the time points '{_shown(text)}', which are no numbers: {_SAVE_AGAIN}")
        run = _range(int(match[1]), int(match[2] or match[1]), path, int(match[3] or 1))
        total += len(run)
        if total > _MOST_TIMEPOINTS:
            raise InputError(f"{path} has more than {_MOST_TIMEPOINTS:,} time points: {_SAVE_AGAIN}")
        yield from run


def _transforms(root: Element, path: Path) -> dict[ViewId, tuple[ViewTransform, ...]]:
    found: dict[ViewId, tuple[ViewTransform, ...]] = {}
    for element in root.iterfind("ViewRegistrations/ViewRegistration"):
        view = _view(element, path)
        called = _called(view)
        if view in found:
            raise InputError(f"{path} registers {called} twice: {_SAVE_AGAIN}")
        chain = []
        for each in element.iterfind("ViewTransform"):
            kind = each.get("type", "affine")
            if kind != "affine":
                raise InputError(
                    f"{path} has a transform of the type '{_shown(kind)}' for {called}, and only affine ones are known: "
                    "register it with an affine model"
                )
            matrix = np.array(_numbers(_text(each, "affine"), 12, f"a transform of {called}", path)).reshape(3, 4)
            chain.append(ViewTransform(_text(each, "Name") or _text(each, "name"), matrix))
        found[view] = tuple(chain)
    return found


def _boxes(root: Element, path: Path) -> dict[str, NamedBox]:
    found: dict[str, NamedBox] = {}
    for element in root.iterfind("BoundingBoxes/BoundingBoxDefinition"):
        name = _shown(element.get("name", ""))
        ends = []
        for end in ("min", "max"):
            numbers = _numbers(_text(element, end), 3, f"the {end} of the box '{name}'", path)
            ends.append(triple(math.floor(n) for n in reversed(numbers)))
        if any(last < first for first, last in zip(*ends, strict=True)):
            raise InputError(f"{path}: the box '{name}' ends before it starts: define it again in BigStitcher")
        found[name] = NamedBox(name, *ends)
    return found


def _adjustments(root: Element, path: Path) -> dict[ViewId, tuple[float, float]]:
    """Scale and offset of views; the elements of the list have the name of the list."""
    found: dict[ViewId, tuple[float, float]] = {}
    for listed in root.iterfind("IntensityAdjustments"):
        for element in listed.iterfind("IntensityAdjustments"):
            view = _view(element, path)
            scale, offset = _numbers(_text(element, "model"), 2, f"the intensity adjustment of {_called(view)}", path)
            if scale <= 0:
                raise InputError(
                    f"{path} multiplies the intensities of {_called(view)} by {scale:g}: adjust them again in BigStitcher"
                )
            found[view] = scale, offset
    return found


def _psfs(root: Element, path: Path) -> dict[ViewId, str]:
    """Names of PSFs; their elements are called like boxes in the file."""
    return {
        _view(element, path): name
        for listed in root.iterfind("PointSpreadFunctions")
        for element in listed
        if (name := _text(element, "File"))
    }


def _own(element: Element | None, path: Path) -> OwnWords:
    """What this package has written."""
    if element is None:
        return OwnWords()
    stated = {
        name: _numbers(element.get(name, ""), 1, f"'{name}' of <{OWN_TAG}>", path)[0]
        for name in ("worldUnitUm", "timeStep")
        if name in element.attrib
    }
    if any(number <= 0 for number in stated.values()):
        raise InputError(f"{path} is damaged: <{OWN_TAG}> has a number that is not positive; take the element out")
    axes = element.get("known", "z y x").split()
    z, y, x = (axis in axes for axis in "zyx")
    return OwnWords(stated.get("worldUnitUm"), (z, y, x), stated.get("timeStep", 1.0))


def _view(element: Element, path: Path) -> ViewId:
    return _number(element.get("timepoint"), "the time point of a view", path), _setup_number(element, path)


def _setup_number(element: Element, path: Path) -> int:
    return _number(element.get("setup"), "the setup of a view", path)


def _called(view: ViewId) -> str:
    return f"setup {view[1]} at time point {view[0]}"


def _child(parent: Element, tag: str, path: Path) -> Element:
    found = parent.find(tag)
    if found is None:
        raise InputError(f"{path} is damaged: <{tag}> is missing in <{parent.tag}>; {_SAVE_AGAIN}")
    return found


def _text(element: Element | None, tag: str) -> str:
    """The text of an element below another, "" where there is none."""
    return "" if element is None else (element.findtext(tag) or "").strip()


def _number(text: str | None, called: str, path: Path) -> int:
    """A number that is not negative."""
    if text is not None and re.fullmatch(r"\s*\d{1,10}\s*", text, re.ASCII) and int(text) < _LARGEST_ID:
        return int(text)
    if text is None or not text.strip():
        raise InputError(f"{path} is damaged: {called} is missing; {_SAVE_AGAIN}")
    why = "not a whole number"
    if re.fullmatch(r"\s*[+-]?\d+\s*", text, re.ASCII):
        why = "below 0" if "-" in text else f"larger than a number can be there ({_LARGEST_ID - 1:,})"
    raise InputError(f"{path} is damaged: {called} is '{_shown(text)}', which is {why}; {_SAVE_AGAIN}")


def _numbers(text: str, count: int, called: str, path: Path) -> list[float]:
    try:
        found = [float(part) for part in text.split()]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        wanted = f"{count} finite numbers are" if count > 1 else "a finite number is"
        raise InputError(f"{path} is damaged: {called} is '{_shown(text)}', where {wanted} needed; {_SAVE_AGAIN}")
    return found


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:59] + "…"
