"""Data sets on the HuggingFace Hub. Needs the ``hub`` extra; where it is missing, importing fails with its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tradebot.errors import AuthRefused, DataError, Unavailable

_REPO = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def parse_repo(text: str) -> tuple[str, str | None]:
    """Repository and revision of ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``. Raises DataError.

    >>> parse_repo("hf:someone/books@v2")
    ('someone/books', 'v2')
    """
    found = _REPO.fullmatch(text)
    if found is None:
        raise DataError(f"{text!r} is no data set; write hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
    return found[1], found[2]


def pull(repo: str, revision: str | None, folder: Path, patterns: Sequence[str] = ()) -> list[Path]:
    """Download the data set ``repo`` into ``folder``, only files that match ``patterns`` where there are some.

    What is there already is not downloaded again. The Hub's address is ``HF_ENDPOINT``, its token ``HF_TOKEN``. Raises
    ModuleNotFoundError without the extra, AuthRefused for a token, DataError for a repository or revision that is not
    there, Unavailable when the Hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        snapshot_download(
            repo, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=list(patterns) or None
        )
    except GatedRepoError:
        raise AuthRefused(f"hf:{repo}: access is granted by its owner only; ask there and set HF_TOKEN") from None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        at = f" at {revision}" if revision else ""
        raise DataError(f"hf:{repo}: no such data set{at}; check the name (a private one needs HF_TOKEN)") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unavailable(f"hf:{repo}: the Hub did not give it ({str(error).splitlines()[0]})") from None
    return sorted(path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
