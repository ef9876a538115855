"""Names cut to a length: what tells those of a list apart is kept, and nothing is made up."""

import itertools
import re
from functools import partial

import numpy as np
import pytest

from napari_mvfusion.system.short_names import shortened, telling_parts

LONG = "2024-11-17_zebrafish_H2B-GFP_experiment12_lightsheet_Angle{:03}_deconvolution_ready_{}_channel_488.tif"
VIEWS = [LONG.format(angle, "registered") for angle in (0, 90, 180, 270)]


def cut(names, letters):
    parts = telling_parts(names)
    return [shortened(name, parts[name], lambda text: len(text) <= letters) for name in names]


def test_the_angles_of_long_names_stay_with_what_calls_them_angles():
    for angle, short in zip((0, 90, 180, 270), cut(VIEWS, 40), strict=True):
        assert f"_Angle{angle:03}_" in short
        assert short.startswith("202")
        assert short.endswith("tif")


def test_a_psf_beside_its_view_differs_by_both():
    view, psf = cut([*VIEWS, LONG.format(0, "psf")], 40)[::4]
    assert "Angle000" in view
    assert "registered" in view
    assert "Angle000" in psf
    assert "psf" in psf


def test_names_of_another_kind_do_not_hide_what_differs():
    *views, other = cut([*VIEWS, "notes on the embryo.txt"], 40)
    assert [f"Angle{angle:03}" in short for angle, short in zip((0, 90, 180, 270), views, strict=True)] == [True] * 4
    assert other == "notes on the embryo.txt"


@pytest.mark.parametrize(
    "names",
    [["0_90", "90_0"], ["a" * 40, "a" * 41], ["x", "x", "y"], ["", "a"], ["only one of them"], []],
    ids=["turned round", "longer", "twice", "empty", "one", "none"],
)
def test_names_that_are_hard_to_tell_apart(names):
    short = cut(names, 12)
    assert [a == b for a, b in itertools.combinations(short, 2)] == [
        a == b for a, b in itertools.combinations(names, 2)
    ]


def test_short_names_differ_where_names_do_and_are_made_of_their_letters_in_order():
    rng = np.random.default_rng(5)
    words = ["embryo", "Angle", "TL", "channel", "left", "right", "8", "90", "270", "488"]
    for _ in range(200):
        pick = partial(rng.choice, words)
        shared = [" ".join(pick(size=rng.integers(0, 6))) for _ in range(3)]
        names = ["_".join([shared[0], pick(), shared[1], pick(), shared[2]]) for _ in range(rng.integers(2, 6))]
        parts = telling_parts(names)
        # Room for what tells them apart, and a little.
        room = max(len("…".join(name[low:high] for low, high in parts[name])) for name in names) + 4
        short = dict(zip(names, cut(names, room), strict=True))
        assert len(set(short.values())) == len(set(names)), short
        for name, text in short.items():
            assert len(text) <= max(room, 0)
            assert re.fullmatch(".*".join(map(re.escape, text.split("…"))), name)
            assert text == name or len(text) < len(name)


def test_a_name_that_fits_stays_as_it_is_and_more_room_shows_more():
    name = VIEWS[1]
    parts = telling_parts(VIEWS)[name]
    lengths = [len(shortened(name, parts, lambda text, n=n: len(text) <= n)) for n in range(12, 120, 4)]
    assert lengths == sorted(lengths)
    assert shortened(name, parts, lambda text: True) == name
