"""Manifests are complete, and a file counts only with the right checksum."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import pytest

from workbench.data import manifests
from workbench.errors import InputError

CONTENT = b"twelve bytes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, so that no test needs the network."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x.npy").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def toy(server, tmp_path, monkeypatch):
    """A folder with one manifest, an empty cache, no WORKBENCH_DATA. Returns a way to write it."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    monkeypatch.setattr(manifests, "_folder", lambda: folder)
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)

    def write(sha256=SHA256, file="x.npy"):
        (folder / "toy.toml").write_text(
            'name = "toy"\ndescription = "d"\nlicence = "MIT"\ncitation = "c"\nloader = "l"\n'
            f'[[files]]\nurl = "{server}/{file}"\nsha256 = "{sha256}"\n'
            'size = 12\npath = "a/x.npy"\n'
        )

    write()
    return write


def test_nothing_is_at_hand_until_it_is_fetched(toy, tmp_path):
    with pytest.raises(InputError, match="workbench data fetch toy"):
        manifests.locate("toy")
    paths = manifests.fetch("toy")
    assert paths == manifests.locate("toy") == [tmp_path / "cache" / "a" / "x.npy"]
    assert paths[0].read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["x.npy", "a/x.npy"])
def test_a_file_in_workbench_data_is_used_without_a_download(toy, tmp_path, monkeypatch, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv("WORKBENCH_DATA", f"{tmp_path / 'empty'}:{tmp_path / 'mine'}")
    toy(file="not-there")
    assert manifests.fetch("toy") == manifests.locate("toy") == [path]


def test_another_content_is_refused(toy, tmp_path, monkeypatch):
    (tmp_path / "x.npy").write_bytes(b"other")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"x\.npy has sha256 .* fetch it again"):
        manifests.locate("toy")


def test_downloads_that_fail_are_one_sentence(toy, tmp_path):
    toy(file="absent.npy")
    with pytest.raises(InputError, match=r"cannot download .*404"):
        manifests.fetch("toy")
    toy(sha256="0" * 64)
    with pytest.raises(InputError, match="no longer has the content"):
        manifests.fetch("toy")
    assert not (tmp_path / "cache" / "a" / "x.npy").exists()


def test_unknown_names_and_broken_manifests(toy, tmp_path):
    with pytest.raises(InputError, match=r'"tow" \(did you mean "toy"\?\)'):
        manifests.manifest("tow")
    (tmp_path / "manifests" / "bad.toml").write_text("name = 'bad'")
    with pytest.raises(InputError, match="is not a data manifest"):
        manifests.all_manifests()


def test_the_shipped_manifests_are_complete():
    shipped = manifests.all_manifests()
    assert {"lj13-reference", "dw4-reference", "alanine-dipeptide-frames"} <= {
        item.name for item in shipped
    }
    for item in shipped:
        assert all((item.description, item.licence, item.citation, item.loader, item.files))
        for file in item.files:
            assert file.url.startswith("https://") and len(file.sha256) == 64 and file.size > 0


def test_the_reference_files_are_the_ones_the_manifests_name(reference_data):
    reference_data("boltzmann/lj13_reference.npy")
    named = [item for item in manifests.all_manifests() if not item.name.startswith("cells-")]
    assert len(named) == 4  # the large published cell sets are not among the reference data
    for item in named:
        for file in item.files:
            path = manifests.find(file)
            assert path is not None and path.stat().st_size == file.size
