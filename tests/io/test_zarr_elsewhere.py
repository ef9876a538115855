"""OME-Zarrs that are no folder: at an address, which lists nothing and may break off, and in a zip file."""

import multiprocessing
import pickle
import shutil
import sys
import threading
import zipfile
from base64 import b64encode
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr
from zarr.storage import FsspecStore

from command_line import run
from napari_mvfusion.addresses import absolute, address_of, flaw_of, with_addresses
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import describe
from napari_mvfusion.io.formats import format_of, open_stored
from napari_mvfusion.io.ome_zarr import remote_store, zip_archive
from napari_mvfusion.io.ome_zarr.recent_files import RecentFiles
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume, psf_files
from napari_mvfusion.methods.average import Average

SHAPE = (20, 24, 70)


class Server(SimpleHTTPRequestHandler):
    """Gives files and lists nothing; what ends in a word of `broken` ends early, is forbidden, fails, or comes late."""

    broken: dict = {}  # noqa: RUF012 - a new one for each server
    asked: list = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        for word, how in list(self.broken.items()):
            if word in self.path:
                return self.fail(word, how)
        return super().do_GET()

    def fail(self, word, how):
        if how == "once":
            del self.broken[word]
        if how in ("cut", "once"):
            self.send_response(200)
            self.send_header("Content-Length", "400")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.wfile.flush()
            self.connection.close()
        elif how == "silent":
            self.release.wait(20)
        elif how == "page":
            self.answer(200, b"\n<!DOCTYPE html><html><body>Please log in</body></html>")
        elif how == "circle":
            self.answer(302, b"", self.path)
        elif how == "elsewhere":
            self.answer(302, b"", "file:///etc/passwd")
        elif how == "drops":
            self.send_response(200)
            self.send_header("Content-Length", "400")
            self.end_headers()
            while not self.release.wait(0.02):
                self.wfile.write(b"x")
        else:
            self.send_error(how)

    def answer(self, status, text, onwards=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if onwards is not None:
            self.send_header("Location", onwards)
        self.end_headers()
        self.wfile.write(text)

    def list_directory(self, path):
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder, the address at which it is served, and what goes wrong there."""
    monkeypatch.setattr(remote_store, "PAUSE", 0.01)
    monkeypatch.setattr(remote_store, "_REMEMBERED", 0.0)
    release = threading.Event()
    handler = type("Handler", (Server,), {"broken": {}, "asked": [], "release": release})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", handler
    release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hasty(monkeypatch):
    """Waits for a server no longer than a busy computer may need to answer."""
    monkeypatch.setattr(remote_store, "SILENCE", 2.0)


def write_views(path, rng):
    psf = np.zeros((3, 3, 3), np.float32)
    psf[1, 1, 1] = 1
    views = [View(rng.random(SHAPE, np.float32), name, psf=psf, angle=float(name)) for name in ("0", "90")]
    write_views_zarr(path, RegisteredViews(views))


def test_paths_stand_for_addresses():
    for text in ("http://h/a.zarr", "https://h:80/b/c", "s3://bucket/key/d.zarr/"):
        path = Path(text)
        assert address_of(path) == address_of(text) == text.rstrip("/") == absolute(path)
        assert address_of(path / "0") == f"{text.rstrip('/')}/0"
    assert address_of("C:/a") is None
    assert address_of("http.zarr") is None
    assert with_addresses("http:/h/a is damaged") == "http://h/a is damaged"


@pytest.mark.parametrize(
    "address",
    [
        "http://user:HUSH@127.0.0.1:9/a.zarr",
        "HTTP://user:SEC/HUSH@127.0.0.1:9/a.zarr",
        "http:/HUSH@127.0.0.1:9/a.zarr",
        "https://127.0.0.1:9/a.zarr?token=HUSH",
        "https://127.0.0.1:9/a.zarr#HUSH",
        "s3://key:HUSH@bucket/a.zarr",
        "ftp://user:HUSH@host/a.zarr",
    ],
)
def test_no_file_and_no_line_holds_a_password(tmp_path, address):
    out = tmp_path / "f.zarr"
    for arguments in (("info", address), ("fuse", f"--view=0={address}", "--method", "average", "-o", out)):
        failed = run(*arguments, code=2)
        assert "HUSH" not in failed.stderr
        assert failed.stderr.count("\n") == 1
        assert "leave it out" in failed.stderr or "download it first" in failed.stderr
    for call in (open_views, open_stored, lambda name: open_views([name]), lambda name: open_views({"0": name})):
        with pytest.raises(InputError) as failure:
            call(Path(address))
        assert "HUSH" not in str(failure.value)
    assert "HUSH" not in str(InputError(f"{Path(address)} is damaged"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gs://bucket/a.zarr", "gs://bucket/a.zarr cannot be read: only https:// and s3:// addresses are"),
        ("file:///tmp/a.zarr", "name its path alone, /tmp/a.zarr"),
        ("http://[::1/a.zarr", "http://[::1/a.zarr is no address"),
        ("http://host:port/a.zarr", "http://host:port/a.zarr is no address"),
        ("http://host/a.zarr::file:///b.zarr", "is no address"),
    ],
)
def test_addresses_that_cannot_be_asked_are_said_as_they_were_typed(name, said):
    assert said in run("info", name, code=2).stderr
    with pytest.raises(InputError) as failure:
        open_views(Path(name))
    assert said in str(failure.value)


def test_an_at_and_a_colon_further_on_are_no_password():
    for address in ("http://host:80/a@b/c:d.zarr", "s3://bucket/2024:01/x@y.zarr", "https://host/a.zarr"):
        assert flaw_of(address) == ""
        assert with_addresses(f"{Path(address)} is damaged") == f"{address} is damaged"


def test_the_password_of_netrc_is_used(served, rng, monkeypatch, tmp_path):
    folder, address, server = served
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password HUSH\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen = []
    monkeypatch.setattr(server, "end_headers", lambda self: seen.append(self.headers["Authorization"]) or end(self))
    end = SimpleHTTPRequestHandler.end_headers
    FsspecStore.from_url(address, read_only=True).fs.clear_instance_cache()
    open_stored(f"{address}/v.zarr")
    assert set(seen) == {"Basic " + b64encode(b"me:HUSH").decode()}


def test_views_at_an_address_are_those_on_the_disk(served, rng):
    folder, address, server = served
    write_views(folder / "v.ome.zarr", rng)
    here, there = open_views(folder / "v.ome.zarr"), open_views(f"{address}/v.ome.zarr")
    np.testing.assert_array_equal(here.read(here.grid.box), there.read(there.grid.box))
    np.testing.assert_array_equal(here.views[1].psf, there.views[1].psf)
    sent = pickle.loads(pickle.dumps(there.views[0].data))
    np.testing.assert_array_equal(np.asarray(sent), np.asarray(here.views[0].data))
    assert not any(path.endswith("/") for path in server.asked)  # nothing is listed


def test_a_fusion_from_an_address_is_repeated_by_its_recipe(served, rng):
    folder, address, _ = served
    write_views(folder / "v.ome.zarr", rng)
    url = f"{address}/v.ome.zarr"
    assert "v.ome.zarr" in run("info", url).stdout
    run("fuse", url, "--method", "average", "-o", folder / "f.zarr")
    assert load_recipe(folder / "f.zarr.recipe.json").inputs.source == url
    run("fuse", "--recipe", folder / "f.zarr.recipe.json", "-o", folder / "again.zarr")
    one, other = (np.asarray(open_stored(folder / name).volume()[:]) for name in ("f.zarr", "again.zarr"))
    np.testing.assert_array_equal(one, other)


def test_views_psfs_and_masks_are_named_by_their_addresses(served, rng):
    folder, address, _ = served
    psf = np.zeros((3, 3, 3), np.float32)
    psf[1, 1, 1] = 1
    write_zarr(folder / "psf.zarr", psf, Grid((3, 3, 3)))
    write_zarr(folder / "mask.zarr", np.ones((4, 5, 6), np.uint8), Grid((4, 5, 6)))
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    named = [f"90={address}/{name}.zarr" for name in ("v", "psf", "mask")]
    shown = run("info", "--view", named[0], "--psf", named[1], "--mask", named[2])
    assert "4 x 5 x 6" in shown.stdout
    assert "none" not in shown.stdout
    assert "has no PSF" not in shown.stderr


def test_lists_scenes_and_msims_open_there_too(served, rng, test_data):
    folder, address, _ = served
    for number in range(2):
        grid = Grid((4, 5, 6), (1.0, 1.0, 1.0), (0.0, 0.0, float(number)))
        write_zarr(folder / f"v{number}.zarr", rng.random((4, 5, 6), np.float32), grid)
    views = open_views([f"{address}/v0.zarr", f"{address}/v1.zarr"])
    assert views.grid.shape == (4, 5, 7)
    places = [{"path": f"v{n}.zarr", "name": ""} for n in range(2)]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    ways = [{"type": "identity", "input": place, "output": {"name": "world"}} for place in places]
    zarr.open_group(folder, mode="a").attrs["ome"] = {
        "version": "0.6",
        "scene": {"coordinateTransformations": ways, "coordinateSystems": [{"name": "world", "axes": axes}]},
    }
    assert open_views(address).names == ("v0", "v1")
    shutil.copytree(test_data / "projects" / "multiview-stitcher" / "view1_msim.zarr", folder / "m.zarr")
    far, near = open_stored(f"{address}/m.zarr"), open_stored(folder / "m.zarr")
    np.testing.assert_array_equal(far.affine_um, near.affine_um)
    np.testing.assert_array_equal(np.asarray(far.volume()), np.asarray(near.volume()))


WRONG = {
    "not there": ("none.zarr", {}, "is no OME-Zarr"),
    "a server that fails": ("v.zarr", {"/c/": 500}, r"v\.zarr/0/c/0/0/0 cannot be read \(500"),
    "a chunk that may not be read": ("v.zarr", {"/c/": 403}, r"v\.zarr/0/c/0/0/0 may not be read \(403"),
    "a connection that breaks off": ("v.zarr", {"/c/": "cut"}, r"the connection broke off.*--resume"),
    "a server that says nothing": ("v.zarr", {"/c/": "silent"}, r"the server does not answer"),
    "a server that drips": (
        "v.zarr",
        {"/c/": "drops"},
        r"0/c/0/0/0 cannot be read \(.* less than 4 kB a second\)",
    ),
    "a page instead of pixels": ("v.zarr", {"/c/": "page"}, r"v\.zarr/0/c/0/0/0 is answered with a web page, as where"),
    "a file that is no zarr": (
        "v.tif",
        {},
        r"is a file: only OME-Zarr folders open over the network; copy the file here",
    ),
    "a zip file": ("v.ozx", {}, r"v\.ozx is a file: only OME-Zarr folders open over the network"),
    "a project": ("dataset.xml", {}, r"dataset\.xml is a file: only OME-Zarr folders open over the network"),
    "a page to log in": (
        "v.zarr",
        {"/": "page"},
        r"/v\.zarr is answered with a web page, as where one has to log in",
    ),
    "a silent server": (
        "v.zarr",
        {"/": "silent"},
        r"/v\.zarr cannot be read \(the server does not answer\): .* try again",
    ),
    "a failing server": (
        "v.zarr",
        {"/": 500},
        r"/v\.zarr cannot be read \(500 [A-Z].*\): check the network",
    ),
    "a circle": (
        "v.zarr",
        {"/": "circle"},
        r"/v\.zarr cannot be read \(it leads on .* without end\): check the address",
    ),
    "a way to a file": (
        "v.zarr",
        {"/": "elsewhere"},
        r"/v\.zarr cannot be read \(it leads on to what is no web address\)",
    ),
    "all forbidden": ("v.zarr", {"/": 401}, r"/v\.zarr may not be read \(401 .*\): ask who keeps it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_on_the_way_is_one_line(served, hasty, rng, name):
    folder, address, server = served
    path, broken, said = WRONG[name]
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    (folder / "v.tif").write_bytes(b"II*\0")
    server.broken.update(broken)
    with pytest.raises(InputError, match=said) as failure:
        np.asarray(open_views([f"{address}/{path}"], no_data="none").views[0].data)
    assert str(failure.value).startswith(f"{address}/{path}")
    assert "\n" not in str(failure.value)


def test_who_waits_for_a_server_waits_once(served, hasty, rng):
    folder, address, server = served
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    for how in ("silent", "drops"):
        server.asked.clear()
        server.broken["/"] = how
        with pytest.raises(InputError):
            open_stored(f"{address}/v.zarr")
        assert len(server.asked) == 1  # neither attempts nor other names


def test_long_files_may_take_long(served, hasty, rng, monkeypatch):
    folder, address, server = served
    pixels = rng.random((30, 40, 50), np.float32)
    write_zarr(folder / "v.zarr", pixels, Grid(pixels.shape))
    monkeypatch.setattr(server, "copyfile", lambda self, source, output: in_pieces(source, output))

    def in_pieces(source, output):
        while piece := source.read(2**15):
            output.write(piece)
            output.flush()
            threading.Event().wait(0.3)

    monkeypatch.setattr(remote_store, "_PIECE", 2**15)
    np.testing.assert_array_equal(np.asarray(open_stored(f"{address}/v.zarr").volume()), pixels)


def test_who_opens_an_address_again_asks_again(served, rng, monkeypatch):
    folder, address, server = served
    monkeypatch.setattr(remote_store, "_REMEMBERED", 1000.0)
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    for how in ("page", 403, 404):
        server.broken["zarr.json"] = how
        assert not describe(f"{address}/v.zarr").readable
        with pytest.raises(InputError):
            open_views([f"{address}/v.zarr"])
        server.broken.clear()
        assert describe(f"{address}/v.zarr").readable
    shutil.rmtree(folder / "v.zarr")
    write_zarr(folder / "v.zarr", rng.random((7, 5, 6), np.float32), Grid((7, 5, 6)))
    server.asked.clear()
    assert open_volume(f"{address}/v.zarr")[1].shape == (7, 5, 6)
    assert max(map(server.asked.count, server.asked)) == 1  # within one opening once


def test_a_fusion_asks_for_a_chunk_once(served, rng):
    folder, address, server = served
    shape = (70, 70, 70)  # eight chunks
    for name in ("0", "90"):
        write_zarr(folder / f"{name}.zarr", rng.random(shape, np.float32), Grid(shape))
    views = open_views({name: f"{address}/{name}.zarr" for name in ("0", "90")})
    there = fuse(views, Average(), tile=(64, 64, 64)).data
    chunks = Counter(path for path in server.asked if "/c/" in path)
    assert len(chunks) == 16
    assert (
        chunks.total() < 24
    )  # two that ask at the same moment both wait for the server; without keeping, 150 and more
    here = fuse(open_views({name: folder / f"{name}.zarr" for name in ("0", "90")}), Average(), tile=(64, 64, 64)).data
    np.testing.assert_array_equal(np.asarray(there), np.asarray(here))
    write_zarr(folder / "0.zarr", pixels := rng.random(shape, np.float32), Grid(shape), overwrite=True)
    np.testing.assert_array_equal(open_volume(f"{address}/0.zarr")[0][:], pixels)


def test_what_servers_sent_is_kept_in_bounded_memory():
    recent = RecentFiles(100)
    for name in range(5):
        recent.keep(name, bytes([name]) * 30)
        recent.find(0)
    recent.keep(0, b"x" * 40)
    recent.keep("long", b"x" * 101)
    assert {name: recent.find(name) for name in (0, 1, 2, 3, 4, "long")} == {
        0: b"x" * 40, 1: None, 2: None, 3: bytes([3]) * 30, 4: bytes([4]) * 30, "long": None
    }  # fmt: skip


def test_a_server_that_answers_all_with_a_page_may_hold_an_old_zarr(served, rng):
    folder, address, server = served
    pixels = rng.random((4, 5, 6), np.float32)
    group = zarr.create_group(folder / "v.zarr", zarr_format=2)
    group.create_array("0", data=pixels)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    ways = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    levels = [{"path": "0", "coordinateTransformations": ways}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    server.broken["zarr.json"] = "page"
    np.testing.assert_array_equal(np.asarray(open_stored(f"{address}/v.zarr").volume()), pixels)


@pytest.mark.parametrize(
    "arguments",
    [
        ("psf", "measure", "URL/beads.tif", "out.tif"),
        ("fuse", "--recipe", "URL/fused.recipe.json", "-o", "f.zarr"),
    ],
)
def test_files_at_addresses_are_to_be_copied(served, arguments):
    _, address, _ = served
    failed = run(*(part.replace("URL", address) for part in arguments), code=2)
    assert "only OME-Zarr folders open over the network; copy the file here first" in failed.stderr
    assert failed.stderr.startswith(("error: http://127.0.0.1", "error: the recipe http://127.0.0.1"))
    assert failed.stderr.count("\n") == 1
    with pytest.raises(InputError, match="/psfs is no OME-Zarr: only OME-Zarr folders open over the network"):
        psf_files(f"{address}/psfs")


def test_a_packet_that_was_lost_is_asked_for_again(served, rng):
    folder, address, server = served
    pixels = rng.random((4, 5, 6), np.float32)
    write_zarr(folder / "v.zarr", pixels, Grid((4, 5, 6)))
    server.broken["/c/"] = "once"
    np.testing.assert_array_equal(np.asarray(open_stored(f"{address}/v.zarr").volume()), pixels)


def test_a_chunk_that_is_too_long_is_not_read(served, rng):
    folder, address, _ = served
    write_zarr(folder / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    (folder / "v.zarr" / "0" / "c" / "0" / "0" / "0").write_bytes(b"\0" * 10**6)
    with pytest.raises(InputError, match=r"0/0 is damaged: it has 1,000,000 bytes"):
        np.asarray(open_stored(f"{address}/v.zarr").volume())


def test_nobody_at_an_address(monkeypatch):
    monkeypatch.setattr(remote_store, "PAUSE", 0.01)
    failed = run("info", "http://127.0.0.1:9/v.zarr", code=2)
    assert failed.stderr == (
        "error: http://127.0.0.1:9/v.zarr cannot be read (the server cannot be reached): check the network, then try again\n"
    )


def test_a_run_that_broke_off_goes_on(served, rng):
    folder, address, server = served
    write_views(folder / "v.ome.zarr", rng)
    out = folder / "f.zarr"
    command = ["fuse", f"{address}/v.ome.zarr", "--method", "average", "--no-data", "none", "-o", out]
    server.broken["/0/c/0/0/0/1"] = "cut"
    failed = run(*command, code=2)
    assert "the connection broke off" in failed.stderr
    server.broken.clear()
    run(*command, *(["--resume"] if (folder / "f.zarr.partial").exists() else []))
    views = open_views(folder / "v.ome.zarr")
    np.testing.assert_allclose(
        np.asarray(open_stored(out).volume()), views.read(views.grid.box).mean(axis=0), rtol=1e-5
    )


def zipped(folder, path, top="", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize(("name", "top"), [("v.ozx", ""), ("v.ome.zarr.zip", ""), ("w.zarr.zip", "v.ome.zarr/")])
def test_views_in_a_zip_are_those_in_the_folder(tmp_path, rng, name, top):
    write_views(tmp_path / "v.ome.zarr", rng)
    path = zipped(tmp_path / "v.ome.zarr", tmp_path / name, top, zipfile.ZIP_DEFLATED if top else zipfile.ZIP_STORED)
    here, there = open_views(tmp_path / "v.ome.zarr"), open_views(path)
    np.testing.assert_array_equal(here.read(here.grid.box), there.read(there.grid.box))
    np.testing.assert_array_equal(here.views[1].psf, there.views[1].psf)
    sent = pickle.loads(pickle.dumps(there.views[0].data))
    np.testing.assert_array_equal(np.asarray(sent), np.asarray(here.views[0].data))
    assert describe(path).samples[0].views[1].angle == 90.0
    run("fuse", path, "--method", "average", "-o", tmp_path / "f.zarr")


def test_the_directory_of_a_zip_is_read_once(tmp_path, rng):
    write_views(tmp_path / "v.ome.zarr", rng)
    path = zipped(tmp_path / "v.ome.zarr", tmp_path / "v.ozx")
    before = zip_archive._archive.cache_info().misses
    describe(path)
    views = open_views(path)
    views.read(views.grid.box)
    assert zip_archive._archive.cache_info().misses == before + 1
    assert str(path) not in {file.path for file in psutil.Process().open_files()}  # it may be moved


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_reads_a_zip_by_itself(tmp_path, rng):
    pixels = rng.random((4, 5, 6), np.float32)
    write_zarr(tmp_path / "v.zarr", pixels, Grid((4, 5, 6)))
    opened = open_stored(zipped(tmp_path / "v.zarr", tmp_path / "v.ozx")).volume()
    with zip_archive.archive_of(tmp_path / "v.ozx").lock, multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(np.asarray, [opened]).get(60), pixels)


def test_a_zip_that_is_replaced_is_opened_anew(tmp_path, rng):
    for name in ("one", "other"):
        write_zarr(tmp_path / f"{name}.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    path = zipped(tmp_path / "one.zarr", tmp_path / "v.ozx")
    opened = open_stored(path).volume()
    zipped(tmp_path / "other.zarr", path, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"v\.ozx was changed while it was being read: open it again"):
        np.asarray(opened)
    now, there = (np.asarray(open_stored(each).volume()) for each in (path, tmp_path / "other.zarr"))
    np.testing.assert_array_equal(now, there)


def test_images_in_a_zip_are_named(tmp_path, rng):
    zarr.create_group(tmp_path / "p.zarr").attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in range(2):
        write_zarr(tmp_path / "p.zarr" / str(number), rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    path = zipped(tmp_path / "p.zarr", tmp_path / "p.zarr.zip")
    with pytest.raises(InputError, match=r"holds several images: name one of them, as .*p\.zarr\.zip/0 or .*zip/1"):
        open_stored(path)
    assert open_stored(path / "1").shape == (4, 5, 6)
    assert format_of(path / "1").place(path / "1") == path


def bomb(path):
    """A chunk that unpacks to a thousand times what its pixels have."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0/c/0/0/0", b"\0" * 10**7)


def long_metadata(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", b" " * (2**26 + 1))


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def hurt(path):
    whole = bytearray(path.read_bytes())
    at = whole.index(b"0/c/0/0/0") + 40
    whole[at : at + 8] = b"\xff" * 8
    path.write_bytes(bytes(whole))


def encrypted(path):
    """All entries say that they are, at the start of each and in the directory."""
    whole = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = -1
        while (at := whole.find(mark, at + 1)) >= 0:
            whole[at + flags] |= 1
    path.write_bytes(bytes(whole))


ZIPS = {
    "a bomb": (bomb, r"0/c/0/0/0 is damaged: it has 10,000,000 bytes, and its pixels"),
    "long metadata": (long_metadata, r"zarr\.json has .* bytes, which is too long for metadata"),
    "a cut file": (cut, r"v\.ozx is no readable zip file"),
    "an entry that is hurt": (hurt, r"0/c/0/0/0 is damaged: it cannot be unpacked \(Bad CRC"),
    "an encrypted zip": (encrypted, r"v\.ozx is encrypted \(.*\), and no password is asked for"),
    "no zip": (lambda path: path.write_text("no"), r"v\.ozx is no readable zip file"),
    "an empty file": (lambda path: path.write_bytes(b""), r"v\.ozx is empty"),
}


@pytest.mark.parametrize("name", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_zips_are_refused_in_one_line(tmp_path, rng, name):
    write_zarr(tmp_path / "v.zarr", rng.random((4, 5, 6), np.float32), Grid((4, 5, 6)))
    path = zipped(tmp_path / "v.zarr", tmp_path / "v.ozx")
    harm, said = ZIPS[name]
    harm(path)
    with pytest.raises(InputError, match=said) as failure:
        np.asarray(open_views([path], no_data="none").views[0].data)
    assert "\n" not in str(failure.value)
