"""Requests to the HuggingFace Hub about one repository of models."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any, TypeVar

from tradebot.errors import AuthRefused, BusyError, DataError, ModelError, RateLimited, TradebotError, Unavailable
from tradebot.ops.files import disk_error
from tradebot.registry.durable import disk_errors

ATTEMPTS = 4
PAUSE_S = 1.0
"""Tries of one request, and the pause before the second; it doubles."""
TIMEOUT_S = 60.0
MAX_FILE_BYTES = 1 << 30

_QUOTA = re.compile(r"quota|storage|exceeded|limit reached|payment", re.IGNORECASE)
_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "huggingface_hub"})
_RETRIED = frozenset({408, 409, 412, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class HubClient:
    """Requests about one repository, tried several times, their failures as one line each."""

    def __init__(
        self, repo: str, revision: str | None, token: str | None, attempts: int, pause_s: float, endpoint: str | None
    ) -> None:
        from huggingface_hub import HfApi

        _limit_waiting()
        self.repo = repo
        self._revision = revision
        self._token = token
        self._attempts = max(1, attempts)
        self._pause_s = pause_s
        # False: a token that lies somewhere on this machine is never sent unasked
        self._api = HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT"), token=token or False)

    def create(self, private: bool) -> None:
        """Make the repository where it is missing. A public one is refused when a private one is wanted."""
        self._try(lambda: self._api.create_repo(self.repo, private=private, exist_ok=True))
        info = self._try(lambda: self._api.repo_info(self.repo))
        if private and not info.private:
            raise ModelError(f"hf:{self.repo}: is public; push with --public if that is meant, or elsewhere")

    def head(self) -> str:
        """The commit that the revision names."""
        return str(self._try(lambda: self._api.repo_info(self.repo, revision=self._revision)).sha)

    def files(self, revision: str | None = None) -> dict[str, str]:
        """Path → git id (or SHA-256 of a large file) of everything in the repository."""

        from huggingface_hub.hf_api import RepoFile

        def listed() -> dict[str, str]:
            entries = self._api.list_repo_tree(self.repo, recursive=True, revision=revision or self._revision)
            found = {
                entry.path: entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
                for entry in entries
                if isinstance(entry, RepoFile)
            }
            if not all(isinstance(path, str) for path in found):
                raise TypeError("a path that is no text")
            return found

        return self._try(listed)

    def commit(self, contents: Mapping[str, bytes], message: str) -> None:
        """Add files in one commit. Large ones are sent one by one before it, each tried by itself."""
        from huggingface_hub import CommitOperationAdd

        # a file object, not bytes: these are small files, sent by plain HTTP
        operations = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=io.BytesIO(content))
            for path, content in contents.items()
        ]
        for operation in operations:
            self._try(lambda one=operation: self._api.preupload_lfs_files(  # type: ignore[misc]
                self.repo, [one], revision=self._revision, free_memory=False
            ))  # fmt: skip
        self._try(
            lambda: self._api.create_commit(self.repo, operations, commit_message=message, revision=self._revision)
        )

    def download(self, path: str, commit: str, scratch: Path) -> bytes:
        """One file, continued where an earlier download broke off."""

        def loaded() -> bytes:
            found = self._api.hf_hub_download(self.repo, path, revision=commit, local_dir=scratch)
            if Path(found).stat().st_size > MAX_FILE_BYTES:
                raise ModelError(f"hf:{self.repo}/{path}: larger than {MAX_FILE_BYTES >> 20} MiB; that is no model")
            return Path(found).read_bytes()

        with disk_errors(scratch):
            return self._try(loaded)

    def _try(self, request: Callable[[], T]) -> T:
        pause_s = self._pause_s
        for left in range(self._attempts - 1, -1, -1):
            try:
                with _quiet():
                    return request()
            except TradebotError:
                raise
            except Exception as error:
                told, again = self._told(error)
                if not (left and again):
                    raise told from None
            time.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("unreachable")

    def _told(self, error: Exception) -> tuple[TradebotError, bool]:
        """What a failure means in one line, and whether asking again may help. Anything unknown is raised as it is."""
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        where = f"hf:{self.repo}"
        cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
        response = getattr(cause, "response", None)
        status = getattr(response, "status_code", None)
        said = self._scrubbed(getattr(cause, "server_message", None) or str(error))
        if isinstance(error, HFValidationError):
            return DataError(f"{where}: no name of a repository; write OWNER/NAME"), False
        if status == 401 or (status == 403 and not _QUOTA.search(said)):
            remedy = "check the token's permissions" if self._token else "a private one needs a token (HF_TOKEN)"
            return AuthRefused(f"{where}: the Hub refuses access ({status}); {remedy}"), False
        if status in (402, 403, 413, 507):
            return BusyError(f"{where}: the account has no room left for it ({status}: {said}); free some"), False
        if isinstance(error, RevisionNotFoundError):
            return DataError(f"{where}: no revision {self._revision}"), False
        if isinstance(error, RepositoryNotFoundError) or (status == 404 and not isinstance(error, EntryNotFoundError)):
            return DataError(f"{where}: no such repository; check the name (a private one needs a token)"), False
        if status == 404:
            return DataError(f"{where}: a file is not there ({said})"), False
        if status == 429:
            return RateLimited(f"{where}: the Hub asks to wait ({said}); try again later"), True
        if status is not None:
            return Unavailable(f"{where}: the Hub failed ({status}: {said})"), status in _RETRIED
        if isinstance(error, ValueError) and "LFS batch" in str(error):
            if _QUOTA.search(said):
                return BusyError(f"{where}: the account has no room left for it ({said}); free some"), False
            return Unavailable(f"{where}: the Hub takes no large files ({said})"), True
        if isinstance(error, (KeyError, TypeError, AttributeError, ValueError)):
            # what the library takes out of an answer is not there, or not what it should be
            return Unavailable(f"{where}: the Hub's answer makes no sense ({type(error).__name__}: {said})"), True
        if isinstance(error, OSError):
            local = disk_error("write", Path(error.filename or "."), error)
            if isinstance(local, BusyError):
                return local, False
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _LIBRARIES:
            return Unavailable(f"{where}: the Hub cannot be reached ({said or type(error).__name__})"), True
        raise error

    def _scrubbed(self, text: str) -> str:
        """A message as one line, without the token."""
        line = " ".join(text.split())
        return line.replace(self._token, "***")[:200] if self._token else line[:200]


def _limit_waiting() -> None:
    """The library waits for ever by itself; here a silent Hub is given up."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    def factory() -> Any:
        client = _http.default_client_factory()
        client.timeout = TIMEOUT_S
        return client

    set_client_factory(factory)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own bars and warnings: progress is told by the caller."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars, level = are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if not bars:
            enable_progress_bars()
