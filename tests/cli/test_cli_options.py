"""Values of options: what is meant is understood, and what cannot be is refused in words."""

import pytest
import typer

from napari_mvfusion.cli import options
from napari_mvfusion.cli.app import COMMANDS, load_command

FIVE_THOUSAND_DIGITS = "1" * 5000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4G", 4 * 2**30),
        ("1.5 GiB", 3 * 2**29),
        ("800M", 800 * 2**20),
        ("5000000", 5_000_000),
        (".5k", 512),
        ("2.k", 2048),
    ],
)
def test_sizes_of_memory(text, expected):
    assert options.memory_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["1.5.2G", ".", "..G", "", " ", "-4G", "0", "nan", "inf", "1e9", "4GG", "٤G", "9" * 400, FIVE_THOUSAND_DIGITS],
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no size such as 4G") as caught:
        options.memory_of(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", ",", "a", "nan", "inf,0", "-inf", "1e999", "0;90", FIVE_THOUSAND_DIGITS])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no list of numbers") as caught:
        options.numbers(text, "--angles")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["0", "-1", "1,2", "1,2,3,4", "nan", "1,inf,1", "", "64,0.5,64", "1e400"])
def test_what_is_no_tile_is_refused(text):
    with pytest.raises(typer.BadParameter):
        options.tile_of(text)


def test_tiles_and_names():
    assert options.tile_of("64") == (64, 64, 64)
    assert options.tile_of("64,128,32") == (64, 128, 32)
    assert options.names("0, 90") == ["0", "90"]
    assert options.names(None) is None
    with pytest.raises(typer.BadParameter, match="names nothing"):
        options.names(" , ")


@pytest.mark.parametrize("pair", ["90", "90=", "90=a", "90=nan", "90=inf", "=1", "90=1e999"])
def test_what_is_no_weight_is_refused(pair):
    with pytest.raises(typer.BadParameter):
        options.numbers_of([pair], "--weight")


def test_no_data_and_offsets_of_all_views_and_of_some():
    assert options.no_data_of(None) == ("auto", {})
    assert options.no_data_of(["none", "90=Auto"]) == ("none", {"90": "auto"})
    assert options.offset_of(None) == (0.0, {})
    assert options.offset_of(["100", "90=103.5"]) == (100.0, {"90": 103.5})


@pytest.mark.parametrize(("option", "values"), [("--offset", ["1", "2"]), ("--no-data", ["0", "none"])])
def test_two_values_for_all_views_are_refused(option, values):
    parse = options.offset_of if option == "--offset" else options.no_data_of
    with pytest.raises(typer.BadParameter, match="are both given for all views"):
        parse(values)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("90=", "'90=' is not of the form 90=FILE, nothing stands after the ="),
        ("=x.tif", "'=x.tif' is not of the form 90=FILE, nothing stands before the ="),
        ("90", "'90' is not of the form 90=FILE$"),
    ],
)
def test_what_lacks_a_name_or_a_file_says_which(pair, words):
    with pytest.raises(typer.BadParameter, match=words):
        options.files_of([pair], "--view")


@pytest.mark.parametrize("text", ["1", "90=1", "90=", "=0x", FIVE_THOUSAND_DIGITS])
def test_what_is_no_choice_of_no_data_is_refused(text):
    with pytest.raises(typer.BadParameter) as caught:
        options.no_data_of([text])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["a", "90=a", "90=nan", "inf", "=5", ""])
def test_what_is_no_offset_is_refused(text):
    with pytest.raises(typer.BadParameter) as caught:
        options.offset_of([text])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_names_values_as_a_person_would_and_not_by_types_of_the_language(name):
    command = load_command(name)
    for each in (command, *getattr(command, "commands", {}).values()):
        for parameter in each.params:
            said = parameter.metavar
            assert said is None or said == said.upper() or "|" in said or "." in said, parameter.name
            chosen = parameter.name in ("phantom", "mode", "architecture", "precision", "activation")
            assert said is not None or chosen or parameter.name == "help", parameter.name
