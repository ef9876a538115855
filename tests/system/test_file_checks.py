"""Words about files: very long names are said once, those of usual length as often as they help."""

import h5py
import numpy as np
import pytest

from command_line import run
from napari_mvfusion.system.file_checks import without_repeats


def test_very_long_names_are_said_once_with_both_ends_of_the_others():
    stem = "/data/" + "fish_" * 40
    said = without_repeats(f"{stem}.h5 holds two: name {stem}.h5:/left or {stem}.h5:/right, not /other/{'x' * 300}")
    assert said.count("fish_" * 40) == 1
    assert said.startswith(f"{stem}.h5 holds two")
    assert ".h5:/left or " in said
    assert ".h5:/right, not " in said
    assert said.endswith("x" * 300)  # another name is no repeat
    assert len(said) < 800


@pytest.mark.parametrize("name", ["a" * 60, "/lab/2026-11-29/fish 3/spim_TL0_Angle45.ome.tif"])
def test_names_of_usual_length_can_be_copied_wherever_they_stand(name):
    text = f"{name}.h5 holds two: name {name}.h5:/left or {name}.h5:/right"
    assert without_repeats(text) == text


def test_the_command_line_says_a_long_name_once(tmp_path):
    name = f"{'long_' * 45}.h5"
    with h5py.File(tmp_path / name, "w") as file:
        for part in ("left", "right"):
            file[part] = np.zeros((3, 4, 5), np.uint8)
    said = run("info", tmp_path / name, code=2).stderr
    assert said.count("long_" * 45) == 1
    assert ":/left or " in said
