"""What is written in shards with levels is read from a web server as from the disk, by us and by others."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask.array as da
import ngff_zarr
import numpy as np
import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.io.formats import growing_format, open_stored
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.volume_choice import VolumeChoice

# As thin as few voxels can be in more than 512 chunks of 64 x 64.
GRID = Grid((2, 2048, 1088), (2.0, 0.5, 0.5), (3.0, 4.0, 5.0))


class Ranges(SimpleHTTPRequestHandler):
    """Gives files, or the part that is asked for, as web servers do and that of Python does not; lists nothing."""

    parts: list = []  # noqa: RUF012 - a new one for each server

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        whole = path.read_bytes()
        part = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(whole) - 1
        if part is not None and part[1]:
            first, last = int(part[1]), min(last, int(part[2] or last))
        elif part is not None:
            first = max(0, len(whole) - int(part[2]))
        self.parts.append((self.path, last + 1 - first, len(whole)))
        self.send_response(200 if part is None else 206)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(whole[first : last + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder, the address at which it is served, and what was asked of it."""
    handler = type("Handler", (Ranges,), {"parts": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", handler.parts
    # Whoever reads asynchronously has to close what was opened for it.
    readers = type(FsspecStore.from_url(f"http://127.0.0.1:{server.server_port}", read_only=True).fs)
    for reading in list(readers._cache.values()):
        if reading._session is not None and reading.asynchronous:
            sync(reading._session.close())
    readers.clear_instance_cache()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pixels(rng):
    return rng.random(GRID.shape).astype(np.float32)


def grown(place, pixels):
    """A volume as the run of one writes it."""
    growing = growing_format().grow(place.with_name("tiles.zarr"), GRID, (2, 64, 64), name=place.name, known=None)
    growing.write(GRID.box, pixels)
    growing.finish(place, {"method": "test"})


def test_a_sharded_volume_is_read_in_parts_over_the_web(served, pixels):
    folder, address, parts = served
    grown(folder / "f.zarr", pixels)
    there = open_stored(f"{address}/f.zarr")
    assert there.grid == GRID
    assert there.recipe == {"method": "test"}
    box = np.s_[0:2, 100:180, 300:420]
    assert np.array_equal(there.volume()[box], pixels[box])
    stored = [(sent, size) for path, sent, size in parts if "/c/" in path]
    assert stored
    assert all(sent < size / 4 for sent, size in stored), "chunks are asked for, and no whole shards"
    coarse = growing_format().open_at(Path(f"{address}/f.zarr"), VolumeChoice(level=1)).volume()
    assert np.array_equal(np.asarray(coarse[:]), zarr.open_array(folder / "f.zarr" / "1", mode="r")[:])


def test_others_read_it_over_the_web(served, pixels):
    folder, address, _ = served
    grown(folder / "f.zarr", pixels)
    store = FsspecStore.from_url(f"{address}/f.zarr", read_only=True)
    group = zarr.open_group(store, mode="r")
    assert np.array_equal(group["0"][:, 60:70], pixels[:, 60:70])
    assert np.array_equal(da.from_zarr(f"{address}/f.zarr/0")[1, 500:600].compute(), pixels[1, 500:600])
    levels = ngff_zarr.from_ngff_zarr(store)
    assert np.array_equal(levels.images[0].data[0, :64].compute(), pixels[0, :64])
    assert levels.images[1].scale == {"z": 2.0, "y": 1.0, "x": 1.0}


def test_so_is_a_sharded_series(served, pixels):
    folder, address, _ = served
    for time in range(2):
        grown(folder / f"volume{time}.zarr", pixels + time)
        (folder / "tiles.zarr").rename(folder / f"tiles{time}.zarr")
    gathering = growing_format().gather(folder / "s.zarr", [LeadingAxis("t", 2, 30.0)], (), name="s.zarr")
    for time in range(2):
        gathering.take((time,), folder / f"volume{time}.zarr")
    gathering.finish({"method": "series"})
    there = open_stored(f"{address}/s.zarr")
    assert dict(there.leading) == {"t": 2}
    assert np.array_equal(there.volume(timepoint=1)[1, 1000:1010], pixels[1, 1000:1010] + 1)
    group = zarr.open_group(FsspecStore.from_url(f"{address}/s.zarr", read_only=True), mode="r")
    assert group["0"].shards == (1, 2, 256, 256)
    assert np.array_equal(group["0"][0, :, :8], pixels[:, :8])
    assert group["1"].shape == (2, 2, 1024, 544)


def test_nothing_that_is_written_holds_the_password_of_the_views(served, rng, monkeypatch):
    folder, address, _ = served
    shape = (4, 5, 6)
    views = [View(rng.random(shape, np.float32), name) for name in ("0", "90")]
    write_views_zarr(folder / "v.zarr", RegisteredViews(views))
    (folder / "netrc").write_text("machine 127.0.0.1 login me password HUSH\n")
    monkeypatch.setenv("NETRC", str(folder / "netrc"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "HUSH")
    out = folder / "out"
    out.mkdir()
    said = run("fuse", f"{address}/v.zarr", "--method", "average", "-o", out / "f.zarr")
    assert "HUSH" not in said.stdout + said.stderr
    written = [path for path in out.rglob("*") if path.is_file()]
    assert any(path.name == "f.zarr.recipe.json" for path in written)
    assert not any(b"HUSH" in path.read_bytes() for path in written)
