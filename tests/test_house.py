"""The house: packaging, the manifest, and the border between the core and the GUI."""

import ast
import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement

import napari_mvfusion
from napari_mvfusion.io.formats import FORMATS, writers

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What a room's classes have in common, a panel of the window, and how a format is said, read, written and weighed.
ROLES = {"base", "panel", "format", "reader", "writer", "chunks"}
FACES = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "pyqtgraph"}


def core_modules():
    """Names of all modules outside gui."""
    names = [module.name for module in pkgutil.walk_packages(napari_mvfusion.__path__, "napari_mvfusion.")]
    return [name for name in names if name.split(".")[1] != "gui"]


@pytest.mark.long
def test_the_core_loads_neither_napari_nor_qt():
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, *core_modules()], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "torch" in loaded
    assert loaded & FACES == set()


def test_the_contract_of_the_core_names_every_module_outside_gui():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (named,) = (contract["source_modules"] for contract in contracts if contract["type"] == "forbidden")
    assert sorted(named) == sorted({".".join(name.split(".")[:2]) for name in core_modules()})


def test_one_name_has_one_meaning():
    """No two public classes have one name, and no two modules, but for the roles that come back in several rooms."""
    package = Path(napari_mvfusion.__file__).parent
    modules = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    classes = Counter(
        node.name
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in classes.items() if count > 1] == []
    files = Counter(path.stem for path in modules)
    assert {name for name, count in files.items() if count > 1} <= ROLES


def test_the_installed_version_is_that_of_the_project():
    assert version("napari-mvfusion") == PROJECT["project"]["version"]


def test_base_dependencies_bring_no_qt_binding():
    base = {Requirement(text).name.lower() for text in requires("napari-mvfusion") if "extra ==" not in text}
    assert "qtpy" in base
    assert base.isdisjoint({"pyqt5", "pyqt6", "pyside2", "pyside6"})


def test_the_command_is_there():
    (command,) = entry_points(group="console_scripts", name="mvfusion")
    assert callable(command.load())


def test_the_manifest_is_found_and_all_it_names_can_be_imported():
    manifest = PluginManifest.from_distribution("napari-mvfusion")
    assert manifest.name == "napari-mvfusion"
    manifest.validate_imports()


def test_the_manifest_names_the_endings_of_all_formats():
    contributions = PluginManifest.from_distribution("napari-mvfusion").contributions
    (reader,) = contributions.readers
    # All plain TIFF files of a napari are not ours to open by default.
    ours = {ending for known in FORMATS for ending in known.suffixes if known.name != "TIFF"}
    assert set(reader.filename_patterns) == {f"*{ending}" for ending in ours} | {
        "*.ome.tif",
        "*.ome.tiff",
        "*.companion.ome",
    }
    offered = {writer.display_name: list(writer.filename_extensions) for writer in contributions.writers}
    assert offered == {known.written: list(dict.fromkeys((known.new_suffix, *known.suffixes))) for known in writers()}


def test_the_manifest_at_the_root_is_that_of_the_package():
    assert (ROOT / "napari.yaml").is_symlink()
    assert (ROOT / "napari.yaml").samefile(ROOT / "src" / "napari_mvfusion" / "napari.yaml")


def dependencies():
    """The check of `make lint` as a module."""
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "scripts" / "dependencies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_every_dependency_is_imported_and_every_import_declared():
    assert dependencies().complaints(ROOT) == []


def test_what_is_declared_or_imported_in_the_wrong_place_is_named(tmp_path):
    for folder, text in {
        "src/mine": "import json, zarr\nfrom . import own\n",
        "tests": "import helper, pytest, scipy.ndimage\n",
        "benchmarks": "def run():\n    import pytest\n",
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(text)
    (tmp_path / "tests" / "helper.py").write_text("import mine\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["zarr>=3", "PyYAML"]\n'
        '[project.optional-dependencies]\ntest = ["pytest"]\nbench = ["scipy>=1"]\n'
    )
    found = dependencies().complaints(tmp_path, {("test", "hypothesis"): "it helps"})
    assert found == [
        f"{Path('tests', 'a.py')} imports scipy (scipy), not declared in dependencies or test",
        f"{Path('benchmarks', 'a.py')} imports pytest (pytest), not declared in bench or dependencies",
        "pyyaml is declared in dependencies, and nothing there imports it",
        "scipy is declared in bench, and nothing there imports it",
        "scripts/dependencies.py excuses hypothesis, which test does not declare",
    ]


def fake_python(folder, body):
    folder.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def run_environment(root, commands):
    """The set-up script in a copy of the project, on a machine that has only these commands and the shell's tools."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    return subprocess.run(
        [root / "scripts" / "environment.sh", "all"],
        env={"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.name == "nt", reason="the set-up is a shell script")
def test_setting_up_with_an_old_python_says_what_is_needed(tmp_path):
    old = fake_python(tmp_path / "bin", 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    run = run_environment(tmp_path, old)
    assert run.returncode == 1
    assert "Python 3.11 or newer is needed, and there is Python 3.9.2" in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_pages_name_only_what_comes_with_them():
    """Pictures of pages are ignored by git unless they are added by force, so one is easily missing elsewhere."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    kept = set(listed.stdout.split("\n")) if listed.returncode == 0 else None
    missing = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            target = (page.parent / name).resolve()
            there = target.is_dir() or (target.exists() if kept is None else str(target.relative_to(ROOT)) in kept)
            if ":" not in name and not there:
                missing.append(f"{page.name}: {name}")
    assert missing == []
