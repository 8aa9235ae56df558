"""``tradebot sim``: the embedded exchange alone."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

import typer

from tradebot.cli.bot import FaultsOption, SeedOption, SpeedOption, files_of, for_ms_of, speed_of
from tradebot.cli.log import quiet
from tradebot.cli.options import SymbolsOption
from tradebot.cli.output import progress
from tradebot.errors import UsageError

MOST_SYMBOLS = 1_000
MOST_CASH = Decimal("1e12")
MOST_HISTORY_DAYS = 3_650


def _interval_ms(option: str, text: str | None) -> int | None:
    """A positive length of time in ms. Raises UsageError."""
    from tradebot.duration import Duration

    if text is None:
        return None
    try:
        length = Duration.parse(text).ms
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option}: {error}") from None
    if length <= 0:
        raise UsageError(f"{option}: must be longer than nothing")
    return length


def _cash(text: str) -> Decimal:
    """An amount in USDT. Raises UsageError."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise UsageError(f"--cash {text}: expected a positive amount in USDT, like 10000")
    if amount > MOST_CASH:
        raise UsageError(f"--cash {text}: must be at most {MOST_CASH:f} USDT")
    return amount


def sim(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 0,
    market: Annotated[
        list[str] | None,
        typer.Option("--market", metavar="PATH…", help="Recorded candles or books: files, folders; none: generated."),
    ] = None,
    symbols: SymbolsOption = None,
    generated_symbols: Annotated[
        int | None,
        typer.Option("--generated-symbols", metavar="N", min=1, max=MOST_SYMBOLS, help="N generated markets, to load."),
    ] = None,
    book_interval: Annotated[
        str | None,
        typer.Option("--book-interval", metavar="100ms", help="Renew each generated book that often, to load."),
    ] = None,
    break_days: Annotated[
        int | None,
        typer.Option("--break-days", min=0, help="Days before the start when a generated market's signal turns round."),
    ] = None,
    speed: SpeedOption = "1",
    seed: SeedOption = 7,
    cash: Annotated[str, typer.Option("--cash", metavar="USDT", help="Equity of the account.")] = "10000",
    hold: Annotated[
        bool, typer.Option("--hold", help="Stand still unless a client with the paced clock is attached.")
    ] = False,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="14d", help="Exchange time to trade: the last of a recording.")
    ] = None,
    history_days: Annotated[
        int, typer.Option("--history-days", min=8, max=MOST_HISTORY_DAYS, help="Days of candles before the start.")
    ] = 200,
    rate_limits: Annotated[
        bool | None,
        typer.Option(
            "--rate-limits/--no-rate-limits", help="Count REST requests as the exchange does. Default: at speed 1."
        ),
    ] = None,
    disconnect_after: Annotated[
        str, typer.Option("--disconnect-after", metavar="24h", help="Wall time after which a connection is closed.")
    ] = "24h",
    book_frames: Annotated[
        Literal["both", "checksum", "sequence"],
        typer.Option("--book-frames", help="What book pushes carry: a checksum, sequence numbers, or both."),
    ] = "both",
    account: Annotated[
        Literal["classic", "unified"],
        typer.Option("--account", help="A unified account is refused by the classic (V2) interface."),
    ] = "classic",
    faults: FaultsOption = None,
) -> None:
    """The embedded Bitget-compatible exchange alone. Prints one JSON line with its addresses when it is ready."""
    factor = speed_of(speed)
    files = files_of("--market", market)
    equity = _cash(cash)
    interval_ms = _interval_ms("--book-interval", book_interval)
    session_ms = _interval_ms("--disconnect-after", disconnect_after) or 0
    if generated_symbols is not None and (files or symbols):
        raise UsageError("--generated-symbols makes its own market: leave out --market and --symbol")
    if break_days is not None and files:
        raise UsageError("--break-days is for generated markets: leave out --market")
    if interval_ms is not None and files:
        raise UsageError("--book-interval is for generated markets: leave out --market")
    from tradebot.sim.faults import load_schedule
    from tradebot.sim.limits import WireLimits
    from tradebot.sim.main import SimConfig, run_sim
    from tradebot.sim.market.generated import numbered_symbols

    names = list(symbols or []) if generated_symbols is None else numbered_symbols(generated_symbols)
    schedule = load_schedule(faults) if faults is not None else None
    quiet("sim")
    raise typer.Exit(
        run_sim(
            SimConfig(
                host=host,
                port=port,
                market=tuple(files),
                symbols=tuple(names),
                speed=None if factor == "max" else float(factor),
                seed=seed,
                cash=equity,
                hold=hold,
                for_ms=for_ms_of(for_),
                history_days=history_days,
                book_interval_ms=interval_ms,
                break_days=break_days,
                limits=WireLimits(session_s=session_ms / 1000),
                rate_limits=rate_limits,
                account=account,
                book_frames=book_frames,
                faults=schedule,
            ),
            conclude=progress,
        )
    )
