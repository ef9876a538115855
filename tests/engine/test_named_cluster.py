"""Which cluster is meant, what is said of one that is not there, and that nothing of Dask is loaded for it before."""

import subprocess
import sys
from pathlib import Path

import pytest

from napari_mvfusion.engine.cluster.connecting import connected
from napari_mvfusion.engine.cluster.named_cluster import LocalWorkers, NamedCluster, cluster_of
from napari_mvfusion.engine.cluster.worker_checks import flaw_of_place, seen_files, unlike_here
from napari_mvfusion.errors import DeviceError, InputError
from napari_mvfusion.system.locks import locked


def test_texts_name_clusters():
    assert cluster_of("local") == NamedCluster(local=LocalWorkers())
    assert cluster_of("local:3") == NamedCluster(local=LocalWorkers(n_workers=3))
    for address in ("tcp://10.0.0.1:8786", "tls://host.site:1", "tcp://[::1]:8786"):
        assert cluster_of(address) == NamedCluster(address=address)


def test_files_name_clusters(tmp_path):
    file = tmp_path / "cluster.yaml"
    for text, named in (
        ("address: tcp://host:8786", NamedCluster(address="tcp://host:8786")),
        (
            "local: {n_workers: 2, memory_limit: 2GiB}",
            NamedCluster(local=LocalWorkers(n_workers=2, memory_limit="2GiB")),
        ),
        ('{"type": "Scheduler", "address": "tcp://host:1", "workers": {}}', NamedCluster(address="tcp://host:1")),
    ):
        file.write_text(text)
        assert cluster_of(str(file)) == named


@pytest.mark.parametrize(
    "text",
    [
        "address: host",
        "address: tcp://host:8786\nlocal: {}",
        "{}",
        "[1]",
        "local: {n_workers: 0}",
        "local: {processes: false}",
        "local: !!python/object/apply:os.system [true]",
        "local: [",
    ],
)
def test_files_that_name_none_are_told(tmp_path, text):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"cluster\.yaml"):
        cluster_of(str(file))


@pytest.mark.parametrize(
    "text", ["local:0", "local:x", "http://host:1", "tcp://host", "tcp://a:1 ", "missing.yaml", ""]
)
def test_texts_that_name_none_are_told(text):
    with pytest.raises(InputError, match="give local, local:N, tcp://HOST:PORT, or a file"):
        cluster_of(text)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(DeviceError, match=r'pip install "napari-mvfusion\[cluster\]"'),
        connected(cluster_of("local:1")),
    ):
        pass


def test_a_dead_address_is_told():
    pytest.importorskip("distributed")
    dead = cluster_of("tcp://127.0.0.1:9")
    with pytest.raises(DeviceError, match=r"no scheduler of Dask answers at tcp://127\.0\.0\.1:9 \("), connected(dead):
        pass


def test_dask_is_loaded_only_where_a_cluster_is_asked_for():
    code = "import sys, napari_mvfusion.cli.fuse; print('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_files_that_changed_are_not_the_same(tmp_path):
    file, folder = tmp_path / "view.tif", tmp_path / "views"
    file.write_bytes(b"pixels")
    folder.mkdir()
    files = seen_files([file, folder, Path("https:/host/view.zarr")])
    assert set(files) == {str(file), str(folder)}
    assert unlike_here(files) == ""
    file.write_bytes(b"others")
    assert unlike_here(files) == "", "written at once, of the same size"
    file.write_bytes(b"fewer")
    assert unlike_here(files) == f"sees another {file}, of another size or time of its last change"
    file.unlink()
    assert unlike_here(files) == f"does not see {file}"


def test_another_folder_of_the_output_is_told_by_its_lock(tmp_path):
    out = tmp_path / "fused.zarr"
    assert flaw_of_place(out) == f"the folder {tmp_path} is another one there"
    with locked(out):
        assert flaw_of_place(out) == ""
    assert "does not exist" in flaw_of_place(tmp_path / "missing" / "fused.zarr")
