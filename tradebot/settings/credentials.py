"""The exchange key: where it comes from, and how it is kept out of files and prints."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradebot.errors import ConfigError

CREDENTIAL_ENV = {
    "key": "TRADEBOT_EXCHANGE__KEY",
    "secret": "TRADEBOT_EXCHANGE__SECRET",
    "passphrase": "TRADEBOT_EXCHANGE__PASSPHRASE",
}
TARDIS_ENV = "TRADEBOT_DATA__TARDIS_KEY"
"""The key of Tardis, for recorded order books; as a credential it is ``tardis_key``."""
HUB_ENV = "TRADEBOT_HUB__TOKEN"
"""A token of the HuggingFace Hub, for models pushed and pulled; as a credential it is ``hub_token``. HF_TOKEN counts
where neither is there."""
SECRET_NAME = re.compile(r"(?:.*_)?(?:key|apikey|secret|passphrase|password|token)", re.IGNORECASE)
"""Names of keys that would hold a secret."""
URL_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/@\s]+@")
"""An address with a password in it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An exchange key. Never printed: its text form shows nothing."""

    key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "Credentials(***)"


def load_credentials(environ: Mapping[str, str] | None = None) -> Credentials | None:
    """The exchange key from systemd's credentials, else from the environment; None when there is none at all.

    Raises ConfigError when only a part of it is there.
    """
    found = {name: text for name, (text, _) in _found(environ).items()}
    if not found:
        return None
    missing = [f"{variable} (or bitget_{name})" for name, variable in CREDENTIAL_ENV.items() if name not in found]
    if missing:
        raise ConfigError(f"the exchange key is incomplete; missing: {', '.join(missing)}")
    return Credentials(found["key"], found["secret"], found["passphrase"])


def load_tardis_key(environ: Mapping[str, str] | None = None) -> str | None:
    """The key of Tardis from systemd's credentials, else from the environment. Raises ConfigError."""
    environment = os.environ if environ is None else environ
    found = _secret(environment, "tardis_key", TARDIS_ENV)
    return found[0] if found else None


def load_hub_token(environ: Mapping[str, str] | None = None) -> str | None:
    """A token of the HuggingFace Hub: systemd's credential ``hub_token``, else TRADEBOT_HUB__TOKEN, else HF_TOKEN.

    Raises ConfigError.
    """
    environment = os.environ if environ is None else environ
    found = _secret(environment, "hub_token", HUB_ENV)
    return found[0] if found else environment.get("HF_TOKEN", "").strip() or None


def credential_origins(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which parts of the key there are, and the file or variable each comes from. No values."""
    return {name: where for name, (_, where) in _found(environ).items()}


def _found(environ: Mapping[str, str] | None) -> dict[str, tuple[str, str]]:
    environment = os.environ if environ is None else environ
    read = {name: _secret(environment, f"bitget_{name}", variable) for name, variable in CREDENTIAL_ENV.items()}
    return {name: value for name, value in read.items() if value is not None}


def _secret(environment: Mapping[str, str], credential: str, variable: str) -> tuple[str, str] | None:
    """A secret and where it is from; None when there is none."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    text, where = environment.get(variable, ""), variable
    if folder and (file := Path(folder) / credential).is_file():
        try:
            text, where = file.read_text(encoding="utf-8"), str(file)
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{file}: the credential cannot be read") from None
    return (text.strip(), where) if text.strip() else None


def secret_remedy(name: str) -> str:
    """What to tell someone who wrote a secret named ``name`` into a file."""
    which = next((n for n in ("passphrase", "secret") if n in name.lower()), "key")
    credential, variable = f"bitget_{which}", CREDENTIAL_ENV[which]
    if "tardis" in name.lower():
        credential, variable = "tardis_key", TARDIS_ENV
    if "hub" in name.lower():
        credential, variable = "hub_token", HUB_ENV
    return (
        "a secret does not belong in a configuration file; put it into "
        f"$CREDENTIALS_DIRECTORY/{credential} or {variable}"
    )


def mask(text: str) -> str:
    """``text`` with the password of any address in it hidden.

    >>> mask("postgresql://bot:hunter2@db/ledger")
    'postgresql://bot:***@db/ledger'
    """
    return URL_PASSWORD.sub(r"\1:***@", text)
