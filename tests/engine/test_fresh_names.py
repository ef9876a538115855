"""Names for new results: nothing has them yet."""

from napari_mvfusion.engine.finishing import fresh_name, partial_folder


def test_a_fresh_name_is_free_for_all_of_its_files(tmp_path):
    (tmp_path / "fused-b.zarr").mkdir()
    partial_folder(tmp_path / "fused-2-a.zarr").mkdir()
    ends = ("-a.zarr", "-b.zarr")
    assert fresh_name([None, tmp_path / "missing", tmp_path], "fused", ends) == tmp_path / "fused-3"
    assert fresh_name([tmp_path / "missing"], "fused", ends) is None
