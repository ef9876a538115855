"""Names that were renamed still work, and say what they are called now."""

import numpy as np
import pytest

import napari_mvfusion
from napari_mvfusion import reprojection
from napari_mvfusion.measures import attenuation
from napari_mvfusion.simulation import sample


def test_the_old_name_of_a_module_leads_to_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"called napari_mvfusion\.measures\.attenuation now"):
        assert napari_mvfusion.absorption is attenuation
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        napari_mvfusion.nothing_of_this_name  # noqa: B018


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
