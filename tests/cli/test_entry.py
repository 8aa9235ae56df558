"""Exit codes, one line for each failure, and arguments as people type them."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Tradebot
from tradebot import errors
from tradebot.cli import app as commands
from tradebot.cli import entry
from tradebot.cli.argv import expand
from tradebot.daemon import demo

ROOT = Path(__file__).resolve().parents[2]
TRADEBOT = [sys.executable, "-c", "from tradebot.cli import main; main()"]


def spawn(*argv: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRADEBOT_")}
    return subprocess.run(
        [*TRADEBOT, *argv], cwd=cwd, env=clean | environ, capture_output=True, text=True, timeout=60, check=False
    )


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ("demo --replay a b --json", "demo --replay=a --replay=b --json"),
        ("demo --replay a --replay b", "demo --replay=a --replay=b"),
        ("demo --replay=a b", "demo --replay=a b"),
        ("sim --market a b --symbols X Y", "sim --market=a --market=b --symbols=X --symbols=Y"),
        ("sim --symbols X,Y --seed 3", "sim --symbols=X --symbols=Y --seed 3"),
        ("run --symbol X Y --paper", "run --symbol=X --symbol=Y --paper"),
        ("demo --replay a,b", "demo --replay=a,b"),
        ("demo --replay", "demo --replay"),
        ("demo --replay --json", "demo --replay --json"),
        ("signals show 1-2", "signals show 1-2"),
        ("x -- --replay a b", "x -- --replay a b"),
    ],
)
def test_several_values_after_one_flag_are_repeated_flags(given_: str, meant: str) -> None:
    assert expand(given_.split()) == meant.split()


@given(st.lists(st.sampled_from(["demo", "--replay", "--symbols", "-f", "a", "b,c", "--", "--x=1", "--symbol=q"])))
def test_expansion_loses_nothing_and_does_it_once(argv: list[str]) -> None:
    once = expand(argv)
    assert expand(once) == once
    # a flag may be repeated, and a list of symbols taken apart; every other word stays, in order
    flags = {"--replay", "--symbols"}

    def words(tokens: list[str]) -> list[str]:
        cut = tokens.index("--") if "--" in tokens else len(tokens)
        bare = [t.rpartition("=")[2] if t.partition("=")[0] in {*flags, "--symbol"} else t for t in tokens[:cut]]
        return [w for t in bare for w in t.split(",") if w not in flags] + tokens[cut:]

    assert words(once) == words(argv)


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (errors.ConfigError("config.yaml:1:1: x: unknown key"), 78, "tradebot: config.yaml:1:1: x: unknown key\n"),
        (errors.DataError("a.parquet: 2 gaps"), 65, "tradebot: a.parquet: 2 gaps\n"),
        (errors.BusyError("port 80 is taken"), 75, "tradebot: port 80 is taken\n"),
        (errors.AuthRefused("key refused"), 77, "tradebot: key refused\n"),
        (errors.Unavailable("no answer"), 69, "tradebot: no answer\n"),
        (errors.GateNotPassed("no better"), 3, "tradebot: no better\n"),
        (errors.UsageError("what?"), 2, "tradebot: what?\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            78,
            f"tradebot: this needs the package 'torch': {sys.executable} -m pip install "
            f"-c {ROOT}/constraints.txt -e '{ROOT}[deep]'\n",
        ),
        (OSError(28, "No space left on device", "x/y"), 75, "tradebot: cannot use x/y: no space left on the device; "
         "free some space and start again\n"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 75, "tradebot: out of memory; ask for less at once (fewer days or symbols, a smaller "
         "--batch-size) and try again\n"),
        (ZeroDivisionError("division by zero"), 1, "tradebot: unexpected ZeroDivisionError: division by zero (a "
         "defect; run again with --debug to see where)\n"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    line: str,
) -> None:
    broken = typer.Typer(rich_markup_mode=None)

    @broken.command()
    def fail() -> None:
        raise raised

    @broken.command()
    def other() -> None: ...

    monkeypatch.setattr(commands, "app", broken)
    assert entry.run(["fail"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", line)


def test_debug_shows_the_traceback_anywhere_on_the_line(home: Path) -> None:
    for argv in (["--debug", "signals", "tail"], ["signals", "tail", "--debug"]):
        done = spawn(*argv, cwd=home)
        assert "Traceback" in done.stderr
        assert "DataError" in done.stderr
    assert "Traceback" not in spawn("signals", "tail", cwd=home).stderr


def test_usage_mistakes_exit_2_and_point_to_the_help(tradebot: Tradebot) -> None:
    for argv, part in (
        (["nope"], "'tradebot --help'"),
        (["demo", "--sped", "1"], "'tradebot demo --help'"),
        (["signals", "tail", "--verdict", "maybe"], "'tradebot signals tail --help'"),
        (["demo", "--for", "soon"], "--for: expected a duration"),
        (["demo", "--for", "3651d"], "--for: must be at most 3650d"),
        (["sim", "--for", f"1{'0' * 400}d"], "--for: must be at most 3650d"),
        (["demo", "--seed", "4294967296"], "4294967295"),
        (["sim", "--seed", "4294967296"], "4294967295"),
        (["retrain", "--seed", "4294967296"], "4294967295"),
        (["demo", "--speed", "-1"], "--speed -1"),
        (["demo", "--speed", "inf"], "--speed inf"),
        (["sim", "--cash", "nan"], "--cash nan"),
        (["run", "--paper", "--live"], "choose one of"),
        (["jobs", "run"], "--drain"),
        (["signals", "replay"], "ID"),
        (["retrain", "--symbol"], "--symbol"),
    ):
        done = tradebot(*argv)
        assert (done.code, done.out) == (2, ""), argv
        assert done.err.startswith("tradebot: "), argv
        assert done.err.count("\n") == 1, argv
        assert part in done.err, argv


def test_a_missing_recording_is_named_before_anything_starts(tradebot: Tradebot, home: Path) -> None:
    (home / "there.parquet").write_bytes(b"")
    done = tradebot("demo", "--replay", "there.parquet", "gone.parquet", "SOLUSDT=lost.parquet")
    assert done.code == 65
    assert done.err.splitlines() == [
        "tradebot: --replay gone.parquet: no such file; check the path",
        "tradebot: --replay SOLUSDT=lost.parquet: no such file; check the path",
    ]
    assert [path.name for path in home.iterdir()] == ["there.parquet"]


def test_a_broken_strategy_is_named_before_anything_starts(tradebot: Tradebot, home: Path) -> None:
    (home / "strategies").mkdir()
    (home / "strategies" / "threshold.py").write_text("def\n")
    done = tradebot("demo")
    assert done.code == 78
    assert f"{home}/strategies/threshold.py:1: " in done.err
    assert [path.name for path in home.iterdir()] == ["strategies"]


def test_the_demo_says_that_it_reads_no_configuration(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.yaml").write_text("mood: paper\n")
    monkeypatch.setattr(demo, "run_demo", lambda **arguments: 0)
    done = tradebot("demo")
    assert (done.code, done.err) == (0, "demo: built-in settings; config.yaml is not read\n")
    assert "config.yaml and TRADEBOT_* are" in " ".join(tradebot("demo", "--help").out.split())


def test_the_demo_is_asked_for_what_was_typed(tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def run_demo(**arguments: object) -> int:
        asked.update(arguments)
        return 1

    monkeypatch.setattr(demo, "run_demo", run_demo)
    for name in ("a.parquet", "b.parquet"):
        (home / name).write_bytes(b"")
    line = "demo --replay a.parquet SOLUSDT=b.parquet --for 1d12h --symbol SOLUSDT BTCUSDT --speed 300 --seed 3 --json"
    assert tradebot(*line.split()).code == 1, "the run's own exit code"
    assert {name: asked[name] for name in asked if name not in ("view", "finish")} == {
        "for_ms": 129_600_000,
        "seconds": None,
        "speed": "300",
        "replay": ["a.parquet", "SOLUSDT=b.parquet"],
        "symbols": ["SOLUSDT", "BTCUSDT"],
        "seed": 3,
        "json_output": True,
        "state_dir": demo.STATE,
        "faults": None,
        "steady": False,
    }
    assert tradebot("demo", "--steady").code == 1
    assert (asked["steady"], asked["replay"]) == (True, [])
    refused = tradebot("demo", "--steady", "--replay", "a.parquet")
    assert (refused.code, refused.err) == (2, "tradebot: --steady is for generated markets: leave out --replay\n")


@pytest.mark.parametrize("command", ["signals tail -n 0 --json", "signals tail -n 0"])
def test_a_closed_pipe_is_no_failure(home: Path, command: str) -> None:
    row = {"decision_id": "1-1", "ts_ms": 1, "symbol": "X", "action": "hold", "verdict": "pass"}
    (home / "state" / "audit").mkdir(parents=True)
    # far more than a pipe holds, so that the writer meets its closed end
    (home / "state" / "audit" / "signals.jsonl").write_text((json.dumps(row) + "\n") * 20_000)
    program = " ".join(map(shlex.quote, TRADEBOT))
    script = f"{program} {command} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=home, capture_output=True, text=True, timeout=60, check=True)
    line, code = done.stdout.splitlines()
    assert "1-1" in line
    assert (code, done.stderr) == ("0", "")


def test_ctrl_c_ends_quietly_with_130(home: Path) -> None:
    (home / "audit").mkdir()
    (home / "audit" / "signals.jsonl").write_text("")
    with subprocess.Popen(
        [*TRADEBOT, "signals", "tail", "-f", "--json", "--state", "."],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with (home / "audit" / "signals.jsonl").open("a") as audit:
            audit.write('{"decision_id":"1-1","ts_ms":1,"symbol":"X","action":"hold","verdict":"pass"}\n')
        assert "1-1" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""


def test_colour_is_for_terminals_without_no_color(home: Path) -> None:
    def on_terminal(**environ: str) -> str:
        master, slave = pty.openpty()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TRADEBOT_") and k != "NO_COLOR"}
        try:
            subprocess.run(
                [*TRADEBOT, "config", "show"],
                cwd=home, env=clean | {"TERM": "xterm"} | environ, stdout=slave, stderr=slave, timeout=60, check=True,
            )  # fmt: skip
            os.close(slave)
            text = b""
            while True:
                try:
                    part = os.read(master, 65_536)
                except OSError:
                    break
                if not part:
                    break
                text += part
        finally:
            os.close(master)
        return text.decode()

    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in on_terminal(NO_COLOR="1")
    assert "\x1b[" not in spawn("config", "show", cwd=home).stdout


def test_help_of_every_command_needs_no_heavy_import(home: Path) -> None:
    code = (
        "import sys; from tradebot.cli.entry import run; code = run(sys.argv[1:]); "
        "heavy = {'torch','lightgbm','optuna','ccxt','pandas','numpy','pyarrow','onnxruntime','rich',"
        "'aiohttp','sqlalchemy'} & set(sys.modules); sys.exit(str(heavy) if heavy or code else 0)"
    )
    for argv in ([], ["demo"], ["run"], ["retrain"], ["signals", "tail"], ["models", "list"], ["config", "check"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv, "--help"],
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (argv, done.stderr)
        assert "Usage: " in done.stdout
