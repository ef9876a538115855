"""What is odd about the pixels of a view, in bounded time."""

import dask.array as da
import numpy as np
import pytest

from napari_mvfusion.data.views import drain
from napari_mvfusion.measures.pixel_facts import look_at
from napari_mvfusion.measures.view_problems import pixel_problems


@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=3)])
@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_pixels_are_counted_as_numpy_does(rng, wrap, leading):
    data = rng.normal(size=(*leading, 9, 8, 7)).astype(np.float32)
    data[..., 4, 3, 2] = np.nan
    facts = drain(look_at(wrap(data)))
    assert facts.bad == np.isnan(data).sum()
    assert facts.first_bad == (*(0 for _ in leading), 4, 3, 2)
    assert (facts.minimum, facts.maximum) == (np.nanmin(data), np.nanmax(data))
    assert facts.whole
    problems = pixel_problems(facts, wrap(data), offset=0, mask=None)
    assert [problem.fixes[0].label for problem in problems] == ["Leave out", "Set offset"]
    change = problems[0].fixes[0].mend()
    np.testing.assert_array_equal(np.asarray(change.data), np.nan_to_num(data))
    assert np.asarray(change.entries["mask"]).shape == (9, 8, 7)
    assert not np.asarray(change.entries["mask"])[4, 3, 2]


def test_of_huge_volumes_some_planes_are_read():
    class Huge:
        shape, dtype, ndim = (4096, 2048, 2048), np.dtype(np.uint16), 3
        read = 0

        def __getitem__(self, index):
            self.read += 1
            return np.full((1, 1, 1), 7, np.uint16)

    huge = Huge()
    facts = drain(look_at(huge))
    assert huge.read == 128 + 4  # the noise is estimated from four places
    assert not facts.whole
    assert facts.empty
    (problem,) = pixel_problems(facts, huge, offset=0, mask=None)
    assert problem.text == "All voxels are 7 (of the planes that were looked at): this view adds nothing."


def test_pixels_that_cannot_be_read_are_a_fact_too():
    class Broken:
        shape, dtype, ndim = (4, 5, 6), np.dtype(np.uint16), 3

        def __getitem__(self, index):
            raise OSError("the disk is gone")

    assert drain(look_at(Broken())).unreadable == "the disk is gone"


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray])
def test_hot_pixels_are_counted_and_can_be_removed(wrap, rng):
    data = rng.poisson(100, (2, 12, 20, 20)).astype(np.uint16)
    data[0, 5, 6, 7] = data[0, 0, 3, 3] = data[1, 11, 9, 9] = 60000
    facts = drain(look_at(wrap(data)))
    assert facts.hot == 3
    (problem,) = pixel_problems(facts, wrap(data), offset=0, mask=None)
    assert (problem.kind, problem.text, problem.fixes[0].label) == ("warning", "3 hot pixels.", "Remove")
    mended = problem.fixes[0].mend()
    assert (mended.entries, mended.data) == ({"remove_hot": True}, None)
    (note,) = pixel_problems(facts, wrap(data), offset=0, mask=None, remove_hot=True)
    assert note.kind == "note"
    assert note.fixes[0].mend().entries == {"remove_hot": False}
