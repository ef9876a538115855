"""Limits of contrast: what is shown black and white of volumes."""

import numpy as np

from napari_mvfusion.measures.contrast import contrast_limits


def test_contrast_limits_leave_out_the_brightest_and_survive_constants_and_nan(rng):
    data = rng.random((20, 64, 64))
    data[10, 0, 0] = 1000
    low, high = contrast_limits([data, data + 1])
    assert 0 <= low < 0.05
    assert 1.9 < high < 2.1
    assert contrast_limits([np.full((5, 5, 5), 3.0)]) == (3.0, 4.0)
    assert contrast_limits([np.full((5, 5, 5), np.nan)]) == (0.0, 1.0)
