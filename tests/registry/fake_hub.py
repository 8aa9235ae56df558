"""A server on this machine that answers as the HuggingFace Hub does about models, and fails on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_secret_of_the_test"
LARGE = (".onnx", ".png")
"""Names that go through large-file storage."""


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])


@dataclass
class Failure:
    """What the next ``times`` requests that match get instead of an answer: a status, or ``cut`` or ``hang``."""

    method: str
    path: str
    what: int | str
    times: int = 1
    message: str = ""


@dataclass
class FakeHub:
    """The Hub's memory. ``asked`` are requests as ``METHOD path``."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    """What requests named as their authorisation."""
    hang_s: float = 2.0
    nonsense: dict[str, str] = field(default_factory=dict)
    """What is answered to questions about a repository (``tree``, ``revision``; empty: the plain one)."""
    large_refused: str = ""
    """What is said of every large file instead of taking it."""

    def fail(self, method: str, path: str, what: int | str, times: int = 1, message: str = "") -> None:
        self.failures.append(Failure(method, path, what, times, message))

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.asked)


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer
    disable_nagle_algorithm = True
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        if (token := self.headers.get("Authorization")) is not None:
            self.hub.tokens.add(token)
        failure = next(
            (f for f in self.hub.failures if f.times and f.method == self.command and re.search(f.path, path)), None
        )
        if failure is not None:
            failure.times -= 1
            if failure.what == "cut":  # the connection breaks after half of what was to come
                self._cut(path)
                return
            if failure.what == "hang":
                time.sleep(self.hub.hang_s)
                self.close_connection = True
                return
            self._body()
            self._json(int(failure.what), {"error": failure.message or "broken on demand"})
            return
        body = self._body()
        if path.startswith("/lfs/"):
            self._put_large(path.removeprefix("/lfs/"), body)
        elif path == "/api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}" and self._needs_token(path):
            self._json(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif (match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(\w+)/([^/]+))?(/.*)?", path)) is not None:
            self._about(match[1], match[2] or "", body)
        elif (match := re.fullmatch(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", path)) is not None:
            self._batch(json.loads(body))
        elif (match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/(\w+)/(.+)", path)) is not None:
            self._resolve(match[1], match[2], match[3])
        else:
            self._json(404, {"error": f"no such thing: {path}"})

    def _needs_token(self, path: str) -> bool:
        repo = next((r for name, r in self.hub.repos.items() if name in path), None)
        return repo is None or repo.private or self.command in ("POST", "PUT")

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        exists = name in self.hub.repos
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.repos.setdefault(name, Repo(private=private))
        self._json(409 if exists else 200, {"url": f"{self.hub.url}/{name}", "id": name, "error": "exists already"})

    def _about(self, name: str, what: str, body: bytes) -> None:
        repo = self.hub.repos.get(name)
        if what in self.hub.nonsense:
            self._send(200, self.hub.nonsense[what].encode(), {})
        elif repo is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif what in ("", "revision"):
            siblings = [{"rfilename": path} for path in repo.files]
            self._json(200, {"id": name, "sha": repo.commits[-1], "private": repo.private, "siblings": siblings})
        elif what == "tree":
            self._json(200, [_entry(path, content) for path, content in sorted(repo.files.items())])
        elif what == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False, "oid": None} for f in files
            ]  # fmt: skip
            self._json(200, {"files": modes})
        elif what == "commit":
            self._commit(repo, name, [json.loads(line) for line in body.splitlines() if line.strip()])

    def _commit(self, repo: Repo, name: str, lines: list[dict[str, Any]]) -> None:
        added = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            else:
                added[value["path"]] = self.hub.large[value["oid"]]
        repo.files.update(added)
        repo.commits.append(hashlib.sha1(repr(sorted(repo.files)).encode() + bytes(len(repo.commits))).hexdigest())
        oid = repo.commits[-1]
        self._json(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for item in asked["objects"]:
            actions = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
            if self.hub.large_refused:
                objects.append({**item, "error": {"code": 422, "message": self.hub.large_refused}})
                continue
            known = item["oid"] in self.hub.large
            objects.append({**item, **({} if known else {"actions": actions})})
        self._json(200, {"transfer": "basic", "objects": objects})

    def _put_large(self, oid: str, body: bytes) -> None:
        whole = hashlib.sha256(body).hexdigest() == oid
        if whole:
            self.hub.large[oid] = body
        self._json(200 if whole else 400, {})

    def _resolve(self, name: str, commit: str, path: str) -> None:
        repo = self.hub.repos[name]
        content = repo.files.get(path)
        if content is None:
            self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        start = 0
        if (match := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) is not None:
            start = int(match[1])
        etag = hashlib.sha256(content).hexdigest() if path.endswith(LARGE) else git_id(content)
        part = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def _cut(self, path: str) -> None:
        self.close_connection = True
        match = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/(\w+)/(.+)", path)
        if match is None:  # an upload: half of it is read
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            return
        content = self.hub.repos[match[1]].files[match[3]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers or {})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """The Hub on a free port of this machine."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
