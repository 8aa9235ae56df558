"""Is this machine able to run the bot? And which version is it?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import typer

import tradebot
from tradebot.cli.options import ConfigOption, JsonOption, settings_of
from tradebot.cli.output import Style, json_line, line, paint
from tradebot.errors import ConfigError, TradebotError

if TYPE_CHECKING:
    from tradebot.settings import LoadedSettings

_STYLE: dict[str, Style] = {"ok": "good", "warning": "warn", "failed": "bad"}
_PACKAGES = ("aiohttp", "websockets", "msgspec", "numpy", "numba", "pyarrow", "lightgbm", "onnx", "optuna", "ccxt")
_NEEDED_BYTES = 1 << 30
_PATIENCE_S = 5.0
"""How long the exchange is waited for, each time it is asked."""


class Finding(NamedTuple):
    """One line of the doctor. ``failed`` stops the bot, ``warning`` does not."""

    check: str
    result: Literal["ok", "warning", "failed"]
    detail: str


def version() -> None:
    """The version."""
    line(f"tradebot {tradebot.__version__}")


def doctor(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check Python, packages, the ONNX providers really used, disk, configuration, key, account and model store.

    Exit code 78 when the configuration is wrong (the rest is then checked with defaults), 1 when something else is.
    """
    failed: set[str] = set()
    for finding in findings(config):
        if finding.result == "failed":
            failed.add(finding.check)
        if as_json:
            json_line(finding._asdict())
        else:
            line(f"{paint(f'{finding.result:<8}', _STYLE[finding.result])} {finding.check:<14} {finding.detail}")
    if failed:
        raise typer.Exit(ConfigError.exit_code if "config" in failed else 1)


def findings(config: Path | None) -> Iterator[Finding]:
    """Every check, one after the other; none of them stops the others."""
    yield _python()
    yield from _packages()
    yield _caught("onnx", _onnx)
    try:
        loaded = settings_of(config)
    except TradebotError as error:
        for problem in str(error).splitlines():
            yield Finding("config", "failed", problem)
        from tradebot.settings import default_settings

        loaded = default_settings()
    else:
        yield Finding("config", "ok", f"{loaded.path or 'defaults'}, mode {loaded.settings.mode}")
    yield _caught("key", lambda: _key(loaded))
    yield from _account(loaded)
    yield _caught("strategy", lambda: _strategy(loaded))
    yield _caught("disk", lambda: _disk(loaded.settings.state_dir))
    yield _caught("state", lambda: _state(loaded.settings.state_dir))
    yield from _store(loaded.settings.model_store)


def _caught(check: str, run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except TradebotError as error:
        return Finding(check, "failed", " ".join(str(error).split()))
    except ImportError as error:
        return Finding(check, "failed", f"{error}; install tradebot again")


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding(
        "python",
        "ok" if ok else "failed",
        f"{platform.python_version()} on {platform.machine()}" + ("" if ok else "; 3.11 or newer is needed"),
    )


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {of(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("packages", "failed", f"missing: {', '.join(missing)}; install tradebot again")
    yield Finding("packages", "ok", ", ".join(found))
    from tradebot.ops.install import install_extra

    try:
        yield Finding("extra deep", "ok", f"torch {of('torch')}")
    except PackageNotFoundError:
        yield Finding("extra deep", "ok", f"not installed (only for training nets: {install_extra('deep')})")


def _onnx() -> Finding:
    """Run a real session: the list of available providers claims a GPU where there is none."""
    from tradebot.cli.log import quiet

    quiet()
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    from tradebot.serving.session import open_session

    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(model.SerializeToString(), device="any", where="doctor")
    (answer,) = session.run(None, {"x": np.ones(1, np.float32)})
    import onnxruntime

    works = float(answer[0]) == 1.0
    return Finding(
        "onnx",
        "ok" if works else "failed",
        f"onnxruntime {onnxruntime.__version__}, a session uses {', '.join(session.get_providers())}; "
        f"onnx {onnx.__version__}",
    )


def _key(loaded: LoadedSettings) -> Finding:
    from tradebot.settings import load_credentials

    there = load_credentials() is not None
    needed = loaded.settings.mode in ("exchange-demo", "live")
    detail = "complete" if there else "none" + ("" if needed else f" (mode {loaded.settings.mode} needs none)")
    return Finding("key", "failed" if needed and not there else "ok", detail)


def _account(loaded: LoadedSettings) -> Iterator[Finding]:
    """Whether the exchange takes the key, for the modes that need one."""
    from tradebot.settings import load_credentials

    settings = loaded.settings
    if settings.mode not in ("exchange-demo", "live"):
        return
    try:
        key = load_credentials()
    except ConfigError:
        return
    if key is None:
        return

    import asyncio

    from tradebot.daemon.clock import WallClock
    from tradebot.daemon.wall import measure
    from tradebot.exchange.bitget.rest import BitgetRest
    from tradebot.exchange.bitget.signing import Credentials

    clock = WallClock()

    async def asked() -> Finding:
        async with BitgetRest(
            settings.exchange.rest_url,
            credentials=Credentials(key.key, key.secret, key.passphrase),
            demo=settings.mode == "exchange-demo",
            timeout_s=_PATIENCE_S,
            now_ms=clock.now_ms,
            first_retry_s=0.1,
        ) as rest:
            await measure(clock, rest)
            await rest.require_classic_account()
            found, _ = await rest.account(settings.symbols[0])
            maker, taker = await rest.trade_rate(settings.symbols[0])
        told = (
            f"classic, {found.position_mode}, {found.symbol} {found.margin_mode} {found.leverage}x, "
            f"fees {float(maker) * 1e4:g} bp maker, {float(taker) * 1e4:g} bp taker"
        )
        return Finding("account", "ok", f"{told}; clock {clock.offset_ms:+d} ms")

    yield _caught("account", lambda: asyncio.run(asked()))


def _strategy(loaded: LoadedSettings) -> Finding:
    from tradebot.settings import engine_config
    from tradebot.trading.loading import load_strategy
    from tradebot.trading.strategy import configure

    settings = loaded.settings
    strategy, digest = load_strategy(settings.strategies_dir, settings.strategy.name)
    configure(strategy, engine_config(settings))
    return Finding("strategy", "ok", f"{settings.strategy.name} {digest[:12]} in {settings.strategies_dir}")


def _existing(path: Path) -> Path:
    """``path`` or the closest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disk(state: Path) -> Finding:
    free = shutil.disk_usage(_existing(state)).free
    return Finding("disk", "ok" if free >= _NEEDED_BYTES else "warning", f"{free / (1 << 30):.1f} GiB free for {state}")


def _state(state: Path) -> Finding:
    if not os.access(_existing(state), os.W_OK):
        return Finding("state", "failed", f"{state} cannot be written")
    if state.is_dir() and state.stat().st_mode & 0o077:
        return Finding("state", "warning", f"{state} can be read by others (chmod 700 {state})")
    return Finding("state", "ok", f"{state}{'' if state.exists() else ' (will be made)'}")


def _store(root: Path) -> Iterator[Finding]:
    from tradebot.registry import ModelStore

    if not root.is_dir():
        yield Finding("models", "ok", f"{root}: no model store yet ('tradebot retrain' makes the first model)")
        return
    store = ModelStore(root)
    versions = 0
    for key in store.keys():  # noqa: SIM118 (not a dict)
        try:
            store.verify_pointer(key)
        except TradebotError as error:
            yield Finding("models", "failed", str(error))
        for name in store.versions(key):
            versions += 1
            try:
                store.verify(key, name)
            except TradebotError as error:
                yield Finding("models", "failed", str(error))
    yield Finding("models", "ok", f"{root}: {versions} versions checked against their SHA-256")
