"""Malformed files, texts, names and options, from seeds: one line, a documented exit code, and nothing else touched."""

import os
import random
import shutil

import pytest

from faults.cases import KINDS, OUT
from faults.command import contents

PART = "malformed files and texts"
BATCH = 20
SAMPLE = 2


def batches():
    """Batches of seeds: of every kind a few for each run of the tests, and the rest for the campaign."""
    for name, (_, count) in KINDS.items():
        yield pytest.param(name, range(SAMPLE), id=f"{name}, sample")
        for start in range(SAMPLE, count, BATCH):
            seeds = range(start, min(count, start + BATCH))
            yield pytest.param(name, seeds, id=f"{name}, from {start}", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "seeds"), list(batches()))
def test_malformed_input_is_used_or_refused_in_one_line(campaign, monkeypatch, name, seeds):
    make, _ = KINDS[name]
    campaign.part = f"{PART}: {name}"
    place = campaign.place
    for seed in seeds:
        monkeypatch.chdir(place)
        case = make(place, random.Random(f"{name} {seed}"))
        before = contents(place)
        outcome = campaign.run(case.arguments)
        after = contents(place)
        also = [f"{file} is lost or changed" for file in before if after.get(file) != before[file]]
        if outcome.code != 0:
            new = [file for file in after if file not in before and not file.startswith(f"{OUT}.partial")]
            also += [f"{file} is left" for file in new[:3]]
        campaign.cases += 1
        campaign.judge(f"{name} {seed}", outcome, case.names, also)
        os.chdir(place.parent)
        for folder in (place, place.with_name("models")):
            shutil.rmtree(folder)
            folder.mkdir()
    campaign.settle()
