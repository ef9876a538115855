"""The curves of a run, and the parameters for experts, as values."""

import numpy as np
import pytest

from napari_mvfusion.training.expert import expert_changes, expert_values
from napari_mvfusion.training.history import History, ThinnedCurve, smoothed
from napari_mvfusion.training.presets import fine_tune_config


def test_a_long_curve_is_thinned_to_means_and_forgets_what_a_run_went_back_from():
    curve = ThinnedCurve()
    for step in range(1, 10_001):
        curve.add(step, float(step))
    steps, values = curve.points()
    assert 300 < len(steps) <= 800
    np.testing.assert_allclose(steps, values)
    assert steps[-1] > 9900
    curve.add(5000, 0.0)
    assert curve.points()[0].max() < 5000


def test_a_smoothed_curve_is_the_mean_of_what_lies_near(rng):
    values = rng.random(64)
    near = [values[max(0, place - 4) : place + 5].mean() for place in range(64)]
    np.testing.assert_allclose(smoothed(values), near)
    np.testing.assert_array_equal(smoothed(values[:15]), values[:15])


def test_the_sum_of_the_losses_is_no_curve():
    history = History()
    history.add_losses(1, {"cycle": 1.0, "gradient": 2.0, "total": 3.0})
    assert set(history.losses) == {"cycle", "gradient"}


@pytest.mark.parametrize("mode", ["self", "semi"])
def test_usual_expert_settings_change_nothing_and_others_what_they_say(mode):
    standard = fine_tune_config(mode, minutes=5, views=())
    usual = expert_values(standard)
    assert expert_changes(usual, standard) == {}
    other = usual | {"rate": 3e-4, "tile": "48", "gradient": 2.5, "seed": 7}
    changed = fine_tune_config(mode, minutes=5, views=(), **expert_changes(other, standard))
    assert changed.rate == pytest.approx(3e-4)
    assert changed.tile == (48, 48, 48)
    assert changed.seed == 7
    assert changed.weights == standard.weights.model_copy(update={"gradient": 2.5})
