"""Times and sentences as a person says them."""

import pytest

from napari_mvfusion.system.words import Pace, TimeLeft, duration, sentence


def test_the_time_left_is_that_of_a_steady_run():
    left = TimeLeft()
    assert left(0.0, now=100.0) == ""
    assert left(0.05, now=100.5) == ""
    assert left(0.1, now=102.0) == "about 20 s left"
    assert left(0.5, now=110.0) == "about 10 s left"


def test_what_an_earlier_run_did_does_not_count_as_speed():
    left = TimeLeft()
    left(0.8, now=0.0)
    assert left(0.9, now=60.0) == "about 60 s left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (1.55, "1.6 s"), (8.2, "8 s"), (47, "45 s"), (180, "3 min"), (7800, "2 h 10 min")],
)
def test_times_read_as_a_person_says_them(seconds, words):
    assert duration(seconds) == words


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace(4.0)
    assert pace(100, 10.0) is None
    assert pace(102, 11.0) == 2
    assert pace(112, 12.0) == 6
    for second in range(13, 30):
        found = pace(112 + 7 * (second - 12), float(second))
    assert found == 7
    assert pace(300, 29.0) == pytest.approx((300 - 203) / 4)


def test_sentences_begin_with_a_capital_but_file_names_stay():
    assert sentence("view '0' is empty") == "View '0' is empty"
    assert sentence("psf_0.tif is empty") == "psf_0.tif is empty"
    assert sentence("") == ""
