"""Data sets of the HuggingFace Hub, from a server on this machine that answers as the Hub does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tradebot.data.hub import parse_repo, pull
from tradebot.errors import DataError, Unavailable

FILES = {"BTCUSDT_20250801_20250810.npy": b"one", "metadata.json": b"{}", "sub/README.md": b"# read"}
COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """The three answers a download needs: the commit with its files, a file's head, a file."""

    asked: list[str]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/datasets/someone/books/revision/"):
            siblings = [{"rfilename": name} for name in FILES]
            self._send(json.dumps({"id": "someone/books", "sha": COMMIT, "siblings": siblings}).encode(), body)
        elif path.startswith("/api/datasets/someone/books/tree/"):
            rows = [{"type": "file", "path": n, "size": len(data), "oid": "0" * 40} for n, data in FILES.items()]
            self._send(json.dumps(rows).encode(), body)
        elif path.startswith(f"/datasets/someone/books/resolve/{COMMIT}/"):
            self._send(FILES[path.partition(f"{COMMIT}/")[2]], body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, data: bytes, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A running Hub; the paths it was asked for."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the hub extra")
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    yield Hub.asked
    server.shutdown()
    server.server_close()


def test_a_data_set_is_downloaded_and_not_again(tmp_path: Path, hub: list[str]) -> None:
    for _ in range(2):
        files = pull("someone/books", None, tmp_path / "books")
        assert {str(file.relative_to(tmp_path / "books")): file.read_bytes() for file in files} == FILES
    (tmp_path / "some").mkdir()
    assert [file.name for file in pull("someone/books", "main", tmp_path / "some", ["*.npy"])] == [
        "BTCUSDT_20250801_20250810.npy"
    ]


def test_a_data_set_that_is_not_there_and_a_hub_that_is_not_are_told_in_one_line(
    tmp_path: Path, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="hf:someone/else: no such data set; check the name"):
        pull("someone/else", None, tmp_path / "x")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="hf:someone/books: the Hub did not give it"):
        pull("someone/books", None, tmp_path / "y")


@pytest.mark.parametrize("text", ["someone/books", "hf:books", "hf:a/b/c", "hf:a/../b", "http://x/y"])
def test_what_is_no_data_set_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="write hf:OWNER/NAME"):
        parse_repo(text)
