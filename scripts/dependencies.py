"""Check that every dependency that pyproject.toml declares is imported, and every import declared, each in its group.

Usage: python scripts/dependencies.py    (where the package and its extras are installed)
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_RUN, _TEST, _BENCH = "dependencies", "test", "bench"
# Folder: the group whose packages it is the place for, and the groups that it may import.
_PLACES = {
    "src": (_RUN, {_RUN}),
    "tests": (_TEST, {_RUN, _TEST}),
    "benchmarks": (_BENCH, {_RUN, _BENCH}),
    "docs": (None, {_RUN, _TEST, _BENCH}),
    "scripts": (None, set()),
}
_COMMAND = "make lint runs it"
_TYPES = "mypy reads its types"
NOT_IMPORTED = {
    (_TEST, "pytest-xdist"): "make test runs tests side by side with it",
    ("all", "pyqt6"): "qtpy imports whichever Qt is there",
    ("cluster", "distributed"): "engine/cluster/connecting.py loads it when a cluster is asked for",
    ("lif", "liffile"): "io/lif.py loads it when a LIF file is opened",
    ("nd2", "nd2"): "io/nd2_files.py loads it when an ND2 file is opened",
    ("microscopes", "napari-mvfusion"): "the extras of all formats of microscopes",
    ("remote", "aiohttp"): "fsspec asks http servers with it",
    ("remote", "s3fs"): "fsspec asks S3 with it",
    ("test", "distributed"): "tests of clusters are skipped where it is missing",
    ("test", "aiohttp"): "tests read from a server of their own",
    ("test", "lxml"): "ome-types validates OME-XML with it",
    ("dev", "import-linter"): _COMMAND,
    ("dev", "mypy"): _COMMAND,
    ("dev", "pre-commit"): "a command before each commit",
    ("dev", "ruff"): _COMMAND,
    ("dev", "scipy-stubs"): _TYPES,
    ("dev", "types-psutil"): _TYPES,
    ("dev", "types-pyyaml"): _TYPES,
}
"""Group and package: why nothing imports it although it is declared."""


def complaints(root: Path, not_imported: Mapping[tuple[str, str], str] = NOT_IMPORTED) -> list[str]:
    """What is declared and not imported, or imported and not declared, a line each.

    Parameters
    ----------
    root : the folder with pyproject.toml
    not_imported : group and package: why nothing imports it
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {_RUN: _names(project["dependencies"])}
    declared |= {group: _names(entries) for group, entries in project.get("optional-dependencies", {}).items()}
    owners = packages_distributions()
    found = []
    used: set[tuple[str, str]] = set()
    beside = (name for folder in _PLACES if folder != "src" for name in _modules(root / folder))
    own = {project["name"].replace("-", "_"), *beside}
    for folder, (group, allowed) in _PLACES.items():
        for module, place in sorted(_imports(root / folder).items()):
            if module in own or module in sys.stdlib_module_names:
                continue
            packages = {_plain(owner) for owner in owners.get(module, [module])}
            groups = {each for each in allowed if packages & declared.get(each, set())}
            used |= {(group, package) for package in packages if group is not None}
            if not groups:
                listed = " or ".join(sorted(allowed)) or "none: this folder uses Python alone"
                found.append(f"{place} imports {module} ({', '.join(sorted(packages))}), not declared in {listed}")
    for group, packages in declared.items():
        for package in sorted(packages):
            reason, imported = not_imported.get((group, package)), (group, package) in used
            if reason is None and not imported:
                found.append(f"{package} is declared in {group}, and nothing there imports it")
            if reason is not None and imported and group == _RUN:
                found.append(f"{package} is imported: scripts/dependencies.py need not excuse it any more")
    return found + [
        f"scripts/dependencies.py excuses {package}, which {group} does not declare"
        for group, package in not_imported
        if package not in declared.get(group, set())
    ]


def _names(requirements: Iterable[str]) -> set[str]:
    """Plain names of packages."""
    matches = (_NAME.match(each) for each in requirements)
    return {_plain(match[0]) for match in matches if match is not None}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _modules(folder: Path) -> Iterator[str]:
    """What files of a folder can import from each other by name."""
    for path in folder.rglob("*.py"):
        yield path.stem
        yield from path.relative_to(folder).parts[:-1]


def _imports(folder: Path) -> dict[str, Path]:
    """Top-level modules that the files of a folder import, and one file that does."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], path.relative_to(folder.parent))
    return found


if __name__ == "__main__":
    wrong = complaints(_ROOT)
    print("\n".join(wrong) or "Every dependency is imported, and every import declared.")
    sys.exit(bool(wrong))
