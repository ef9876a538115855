"""Names that were renamed still work, and say what they are called now."""

import importlib
import sys

import numpy as np
import pytest

from napari_mvfusion import reprojection
from napari_mvfusion.simulation import sample
from napari_mvfusion.training import TrainConfig, fine_tune_config, process
from napari_mvfusion.training.figures import Figures, with_old_names
from napari_mvfusion.training.outcome import TrainingOutcome
from napari_mvfusion.training.state import TrainingProgress
from napari_mvfusion.training.verdict import judge


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


def test_a_figure_is_found_by_its_old_name():
    figures = Figures(residual=1.0, structure_residual=0.5)
    with pytest.warns(DeprecationWarning, match="structure_residual"):
        assert figures["unexplained"] == 0.5
    with pytest.raises(KeyError, match="misfit"):
        figures["misfit"]
    assert with_old_names(figures) == {"residual": 1.0, "structure_residual": 0.5, "unexplained": 0.5}
    with pytest.raises(KeyError, match="unexplained"):
        Figures(residual=1.0)["unexplained"]


def test_figures_that_were_saved_by_their_old_names_are_compared():
    before, after = {"residual": 1.2, "unexplained": 0.5}, {"residual": 1.2, "structure_residual": 0.4}
    assert judge(before, after).kind == "better"
    assert judge(after, before).kind == "no better"


def test_progress_that_was_saved_by_old_names_is_read():
    figures = {"residual": 1.1, "unexplained": 0.3}
    read = TrainingProgress.read({"step": 3, "kept": ["ab"], "seen": [16, 16, 16], "start": figures, "best": figures})
    assert read.model_hashes == ("ab",)
    assert read.validation_box == (16, 16, 16)
    assert read.best == read.start == {"residual": 1.1, "structure_residual": 0.3}
    with pytest.raises(ValueError, match="held"):
        TrainingProgress.read({"held": 1})


def test_a_configuration_of_before_means_the_same():
    old = TrainConfig.model_validate({"mode": "self", "weights": {"again": 0.3, "gains": "lost"}})
    new = TrainConfig.model_validate({"mode": "self", "weights": {"resimulated": 0.3, "gains": "attenuation"}})
    assert old == new
    assert TrainConfig.model_validate_json(old.model_dump_json()) == new
    # What somebody writes by an old name counts more than the preset.
    assert fine_tune_config("self", minutes=1, views=[], weights={"again": 0.25}).weights.resimulated == 0.25
