from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_mvfusion import RegisteredViews, View
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.provenance import views_of_run

VIEWS = RegisteredViews(
    [View(np.zeros((2, 3, 4), np.float32), name) for name in ("0", "90", "180")], Grid((2, 3, 4), (1.0, 1.0, 1.0))
)


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ({"views": [{"name": "180"}, {"name": "0"}]}, ["180", "0"]),
        ({"views": [{"name": "0"}, {"name": "45"}]}, ["0", "90", "180"]),
        ({"views": []}, ["0", "90", "180"]),
        ({"views": "of another program"}, ["0", "90", "180"]),
        ({}, ["0", "90", "180"]),
        (None, ["0", "90", "180"]),
    ],
)
def test_the_views_of_a_run_are_those_that_its_recipe_names_where_all_are_at_hand(
    recipe: dict[str, Any] | None, names: list[str]
) -> None:
    assert list(views_of_run(recipe, VIEWS).names) == names
