"""Names that were renamed still work, and say what they are called now."""

import importlib
import sys

import numpy as np
import pytest

from napari_mvfusion import reprojection
from napari_mvfusion.simulation import sample
from napari_mvfusion.training import process
from napari_mvfusion.training.outcome import TrainingOutcome


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("absorption", "find_transmission", "measures.attenuation"),
        ("training.estimate", "estimate", "training.resources"),
        ("training.events", "StepDone", "training.training_events"),
        ("training.events", "Lowered", "training.training_events"),
    ],
)
def test_the_old_name_of_a_module_leads_to_the_new_one(old: str, name: str, new: str, monkeypatch):
    monkeypatch.delitem(sys.modules, f"napari_mvfusion.{old}", raising=False)
    with pytest.warns(DeprecationWarning, match=f"called napari_mvfusion.{new} now"):
        module = importlib.import_module(f"napari_mvfusion.{old}")
    assert getattr(module, name).__module__ == f"napari_mvfusion.{new}"
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        module.nothing_of_this_name  # noqa: B018


def test_modules_that_never_were_are_still_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("napari_mvfusion.absorptions")


def test_the_old_name_of_a_class_is_the_new_one():
    with pytest.warns(DeprecationWarning, match="TrainingOutcome"):
        assert process.Ended is TrainingOutcome


@pytest.mark.parametrize("allowed_for", [True, False])
def test_the_old_name_of_a_parameter_means_the_new_one(allowed_for: bool):
    made = sample("embryo", size=32, seed=3)
    new = reprojection(made.truth, made.views, attenuation=allowed_for)
    with pytest.warns(DeprecationWarning, match="attenuation"):
        old = reprojection(made.truth, made.views, lost_light=allowed_for)
    assert [one.rms for one in old] == [one.rms for one in new]
    assert (new[0].transmission is not None) == allowed_for
    assert {"attenuation", "lost_light"} <= set(new[0].as_dict())
    assert np.isfinite(new[0].rms)
