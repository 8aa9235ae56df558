"""The tree of commands."""

from __future__ import annotations

import typer

from tradebot.cli import (
    backtest,
    bot,
    check,
    compare,
    config,
    control,
    data,
    differences,
    doctor,
    evaluate,
    features,
    jobs,
    ledger,
    model_changes,
    model_hub,
    models,
    optimise,
    pipeline,
    record,
    report,
    signals,
    sim,
    strategy,
    train,
    walkforward,
)

app = typer.Typer(
    name="tradebot",
    help="A trading bot for Bitget USDT perpetuals with its own forecasters and embedded retraining.\n\n"
    "Start with: tradebot demo (offline, no key).",
    epilog="--debug with any command shows the traceback of a failure. "
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 gate not passed, 4 halted, 65 bad data or nothing there yet, "
    "69 not reachable, 75 busy, 77 key refused, 78 bad configuration.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        doctor.version()
        raise typer.Exit


@app.callback()
def _root(
    show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None: ...


app.command()(bot.demo)
app.command()(backtest.backtest)
app.command()(compare.compare)
app.command()(walkforward.walkforward)
app.command()(optimise.optimise)
app.command()(sim.sim)
app.command("run")(bot.run_command)
app.command()(record.record)
app.command()(control.status)
app.command()(control.halt)
app.command()(control.pause)
app.command()(control.resume)
app.command()(control.flatten)
app.command()(control.close)
app.command()(control.adopt)
app.command()(control.ignore)
app.command()(jobs.retrain)
app.add_typer(pipeline.app, name="pipeline")
app.command()(train.train)
app.command()(evaluate.evaluate)
app.add_typer(jobs.app, name="jobs")
models.app.command("diff")(model_changes.diff)
models.app.command("promote")(model_changes.promote)
models.app.command("rollback")(model_changes.rollback)
models.app.command("history")(model_changes.history)
models.app.command("export")(model_changes.export)
models.app.command("push")(model_hub.push)
models.app.command("pull")(model_hub.pull)
app.add_typer(models.app, name="models")
app.add_typer(features.app, name="features")
app.add_typer(signals.app, name="signals")
strategy.app.command("check")(check.check)
app.add_typer(strategy.app, name="strategy")
app.command()(differences.differences)
app.command()(report.report)
app.add_typer(ledger.app, name="ledger")
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.command("doctor")(doctor.doctor)
app.command()(doctor.version)
