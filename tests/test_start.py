"""Starting: what is loaded before anything is asked for, and that what is named without being loaded is true."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.emoji import Emoji

import napari_mvfusion
from napari_mvfusion.cli.app import COMMANDS, load_command

HEAVY = {"torch", "matplotlib", "dask", "scipy", "skimage", "zarr", "numpy", "pandas"}


def loaded(code):
    """The packages that a new interpreter has loaded after this code."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    print()\nprint(*{{n.split('.')[0] for n in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import napari_mvfusion; napari_mvfusion.__version__",
        "import napari_mvfusion.cli as cli; sys.argv[1:] = ['--help']; cli.main()",
        "import napari_mvfusion.cli as cli; sys.argv[1:] = ['fues']; cli.main()",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    found = loaded(code)
    assert "napari_mvfusion" in found
    assert found & HEAVY == set()


def test_libraries_of_microscopes_wait_for_a_file_of_theirs():
    assert loaded("import napari_mvfusion.io.formats") & {"czifile", "liffile", "nd2"} == set()


MODELS = """
import sys, torch
from napari_mvfusion.models import build, load_model
from napari_mvfusion.models.paper import PaperArchitecture
load_model("universal")
with torch.device("meta"):
    build(PaperArchitecture(views=2, norm="none"))
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.long
def test_a_model_is_opened_without_the_compiler_of_torch():
    """It would take longer than torch itself."""
    run = subprocess.run([sys.executable, "-c", MODELS], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


LARGE = """
import napari_mvfusion, torch
values = torch.ones(2**24)
for line in open("/proc/self/smaps"):
    words = line.split()
    if "-" in words[0] and not words[0].endswith(":"):
        first, last = (int(place, 16) for place in words[0].split("-"))
        here = first <= values.data_ptr() < last
    elif here and words[0] == "VmFlags:":
        print("hg" in words)
"""


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(), reason="the system has no large pages to ask for"
)
def test_large_tensors_lie_in_large_pages():
    """Which makes transforms of large volumes nearly twice as fast; a person who sets the variable decides otherwise."""
    others = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    for chosen, asked in (({}, "True\n"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "False\n")):
        run = subprocess.run(
            [sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, env=others | chosen
        )
        assert run.stdout == asked


def test_all_that_the_package_offers_is_there():
    for name in napari_mvfusion.__all__:
        assert getattr(napari_mvfusion, name) is not None
    assert {"EBMD", "fuse", "open_views", "write_zarr"} <= set(dir(napari_mvfusion))
    with pytest.raises(AttributeError, match="nothing_like_that"):
        napari_mvfusion.nothing_like_that  # noqa: B018 - to look is the test


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    first, _, _ = load_command(name).help.partition("\n")
    assert first == COMMANDS[name]


def test_no_word_of_the_help_becomes_a_picture():
    """Between colons some words and numbers do, as 100 does, where help is printed."""

    def said(command):
        yield command.help or ""
        for parameter in command.params:
            yield getattr(parameter, "help", None) or ""
        for each in getattr(command, "commands", {}).values():
            yield from said(each)

    texts = [text for name in COMMANDS for text in said(load_command(name))]
    assert len(texts) > 100
    assert Emoji.replace("0:100:2") != "0:100:2"
    assert [text for text in texts if Emoji.replace(text) != text] == []
