"""Views as files that open again: what each kind of file can hold, and that nothing is replaced or left half-way."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.savable_views import check_savable, kinds, save_views
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.simulation import sample

every_kind = pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def views():
    """Two views of nuclei."""
    return sample("nuclei", 32).views


def other(views, **changes):
    """The same views, but for something about the second."""
    first, second = views.views
    return RegisteredViews([first, replace(second, **changes)], views.grid)


@every_kind
def test_what_is_saved_is_given_back_in_the_same_order_and_opens_by_its_inputs(views, tmp_path, kind):
    turned = RegisteredViews(views.views[::-1], views.grid)
    shares = []
    saved = save_views(tmp_path / f"mine{kind.ending}", turned, kind, "a", shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    again = Inputs(**saved.inputs).open()
    assert {view.name for view in again.views} == {view.name for view in saved.views}
    for old, view in zip(turned.views, saved.views, strict=True):
        assert view.angle == old.angle
        np.testing.assert_array_equal(np.asarray(view.data[:]), old.data)


@every_kind
def test_a_name_that_is_taken_is_never_replaced(views, tmp_path, kind):
    (tmp_path / "old.zarr").mkdir()
    (tmp_path / "old.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(OSError, match=r"old\.zarr exists already"):
        save_views(tmp_path / "old.zarr", views, kind, "a", lambda share: None)
    assert [path.name for path in (tmp_path / "old.zarr").iterdir()] == ["thesis.txt"]


@every_kind
def test_what_is_ended_early_leaves_nothing(views, tmp_path, kind):
    shares = []

    def end(share):
        shares.append(share)
        raise Interrupted

    with pytest.raises(Interrupted):
        save_views(tmp_path / "mine", views, kind, "a", end)
    assert 0 < shares[0] < 1
    assert not [path for path in tmp_path.glob("*mine*") if not path.name.endswith(".lock")]


@every_kind
def test_views_that_a_kind_cannot_hold_are_refused_with_what_helps(views, kind):
    check_savable(views, kind)
    alike = other(views, angle=views.views[0].angle)
    if kind.in_folder:
        with pytest.raises(ValueError, match=f"needs an angle of its own.*save as {kinds()[0].name}"):
            check_savable(alike, kind)
    else:
        check_savable(alike, kind)
    elsewhere = other(views, affine=np.eye(4))
    if kind.in_places:
        check_savable(elsewhere, kind)
    else:
        with pytest.raises(ValueError, match=r"lies elsewhere than the first.*save as OME-Zarr scene"):
            check_savable(elsewhere, kind)
    with pytest.raises(ValueError, match="has a mask"):
        check_savable(other(views, mask=np.ones(views.grid.shape, bool)), kind)
