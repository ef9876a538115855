"""Elements of an XML file, whatever the file holds: nothing is defined, fetched or expanded in it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file

# Projects of ten thousand views are a tenth of it.
_MOST_BYTES = 2**28
_MOST_ELEMENTS = 10_000_000


def read_xml(path: Path, kind: str) -> ElementTree.Element:
    """The root element of an XML file.

    Parameters
    ----------
    path : of the file
    kind : what it should be, for messages, for example "BDV project"

    Raises
    ------
    InputError
        If it cannot be read, is no XML, defines a document type (entities could grow without end, or reach out to other
        files), or is far too long for what it should be.
    """
    size = check_file(path, f"the {kind}").st_size
    if size > _MOST_BYTES:
        raise InputError(f"{path} is no {kind}: it has {size:,} bytes, which is too long; check its name")

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the {kind} {path} cannot be read ({error}): copy or save it again") from error
    return parse_xml(content, path, kind)


def parse_xml(content: bytes, path: Path, kind: str) -> ElementTree.Element:
    """The root element of XML that a file holds.

    Parameters
    ----------
    content : the XML
    path : of the file, for messages
    kind : what the XML is, for messages, for example "BDV project"

    Raises
    ------
    InputError
        As `read_xml`.
    """
    if content.count(b"<") > 2 * _MOST_ELEMENTS:
        raise InputError(f"{path} is no {kind}: it has more than {_MOST_ELEMENTS:,} elements; check its name")

    def refuse(*_: object) -> None:
        raise InputError(f"{path} defines a document type, in which XML entities could hide: take the DOCTYPE out")

    first_look = expat.ParserCreate()
    first_look.StartDoctypeDeclHandler = refuse
    try:
        first_look.Parse(content, True)
        return ElementTree.fromstring(content)
    except InputError:
        raise
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise InputError(f"{path} is damaged: it is no XML ({error}); copy or save it again") from error
    except (OSError, ValueError, LookupError) as error:  # also encodings that nobody knows
        raise InputError(f"the {kind} {path} cannot be read ({error}): copy or save it again") from error
