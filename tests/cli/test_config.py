"""The configuration commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tests.cli.test_entry import spawn
from tradebot.cli import checked
from tradebot.errors import BusyError
from tradebot.settings import Settings


def test_check_reports_every_mistake_on_a_line_of_its_own(tradebot: Tradebot, home: Path) -> None:
    (home / "config.yaml").write_text("mode: papre\nrisk:\n  max_levrage: 3\n")
    done = tradebot("config", "check")
    assert (done.code, done.out) == (78, "")
    assert done.err.splitlines() == [
        "tradebot: config.yaml:1:7: mode: expected one of demo, paper, exchange-demo, live, got 'papre', "
        "did you mean 'paper'?",
        "tradebot: config.yaml:3:3: risk.max_levrage: unknown key, did you mean 'max_leverage'?",
    ]


@pytest.mark.parametrize("command", [["run"], ["status"], ["models", "list"], ["signals", "tail"], ["jobs", "ls"]])
def test_every_command_refuses_a_bad_configuration_with_78(home: Path, command: list[str]) -> None:
    (home / "config.yaml").write_text("mood: paper\n")
    done = spawn(*command, cwd=home)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "tradebot: config.yaml:1:1: mood: unknown key, did you mean 'mode'?\n"


def test_check_looks_into_the_strategy(tradebot: Tradebot, home: Path) -> None:
    (home / "config.yaml").write_text("strategy:\n  params:\n    min_p: 3\n")
    done = tradebot("config", "check")
    assert done.code == 78
    assert "strategy.params.min_p: Expected `float` <= 1.0" in done.err
    (home / "config.yaml").write_text("strategy: {name: ensemble, params: {combine: mode}}\n")
    said = "strategy.params.combine: 'mode' is none of majority, mean, rank, stack, unanimous (strategy 'ensemble')"
    assert said in tradebot("config", "check").err
    (home / "config.yaml").write_text("strategy:\n  name: treshold\n")
    done = tradebot("config", "check")
    assert done.code == 78
    assert "no strategy 'treshold'" in done.err
    (home / "config.yaml").write_text("strategy:\n  params:\n    min_p: 0.5\n")
    assert tradebot("config", "check").code == 0


def test_parameters_may_be_lists_and_sections(tradebot: Tradebot, home: Path) -> None:
    (home / "config.yaml").write_text(
        "strategy:\n  params:\n    exits: [{kind: trailing, bp: 30}, {kind: time, candles: 3}]\n"
        "    size: {kind: kelly, fraction: 0.2}\n"
    )
    assert tradebot("config", "check").code == 0
    shown = tradebot("config", "show", "--json").out.splitlines()
    [exits, size] = [row["value"] for row in map(json.loads, shown) if row["key"].startswith("strategy.params")]
    assert exits == [{"kind": "trailing", "bp": 30}, {"kind": "time", "candles": 3}]
    assert size == {"kind": "kelly", "fraction": 0.2}
    (home / "config.yaml").write_text("strategy:\n  params:\n    exits: [{kind: trailing}]\n")
    done = tradebot("config", "check")
    assert (done.code, "strategy.params.exits[0]: give one of bp, atr; got none" in done.err) == (78, True)


def test_check_knows_the_families_without_importing_one(home: Path) -> None:
    (home / "config.yaml").write_text("retrain:\n  model: transformer\n")
    code = (
        "import sys; from tradebot.cli.entry import run; code = run(['config', 'check']); "
        "assert not {'lightgbm', 'torch', 'onnxruntime'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.startswith("tradebot: config.yaml:2:10: retrain.model: expected one of lightgbm, lorentzian, ")
    assert done.stderr.endswith(", got 'transformer'\n")


def test_a_directory_named_like_the_configuration_is_not_passed_over(tradebot: Tradebot, home: Path) -> None:
    (home / "config.yaml").mkdir()
    for command in (["config", "check"], ["run"], ["status"]):
        done = tradebot(*command)
        assert (done.code, done.err) == (78, "tradebot: config.yaml: cannot be read (Is a directory)\n")


def test_show_names_the_layer_of_each_value_and_masks_secrets(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.yaml").write_text("risk:\n  max_leverage: 4\n")
    monkeypatch.setenv("TRADEBOT_LEDGER__URL", "postgresql://bot:hunter2@db/ledger")
    for name in ("KEY", "SECRET", "PASSPHRASE"):
        monkeypatch.setenv(f"TRADEBOT_EXCHANGE__{name}", f"hunter2-{name}")
    done = tradebot("config", "show", "--origin", "--json")
    rows = {row["key"]: row for row in map(json.loads, done.out.splitlines())}
    assert rows["risk.max_leverage"] == {
        "key": "risk.max_leverage", "value": "4", "layer": "file", "where": "config.yaml:2:17",
    }  # fmt: skip
    assert rows["risk.capital"]["layer"] == "default"
    assert rows["ledger.url"]["value"] == "postgresql://bot:***@db/ledger"
    assert rows["exchange.secret"]["where"] == "TRADEBOT_EXCHANGE__SECRET"
    plain = tradebot("config", "show", "--origin")
    assert "hunter2" not in done.out + plain.out
    assert any(
        line.split() == ["risk.max_leverage", "4", "file", "config.yaml:2:17"] for line in plain.out.splitlines()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy: {models: [nope]}", "strategy.models: there is no model family 'nope'; known: bilstm, lightgbm"),
        ("strategy: {models: [bilstm-7m]}", "there is no model family 'bilstm-7m'"),
        ("retrain: {options: {lightgbm: {horizn: 3}}}", "lightgbm has no option 'horizn'; it has: horizon,"),
        ("retrain: {models: [lightgbm-1h]}", "lightgbm reads 5m candles"),
        ("strategy: {name: nobody}", "nobody"),
        ("strategy: {params: {entry_lng_bp: 3}}", "entry_lng_bp"),
    ],
)
def test_a_model_or_strategy_that_cannot_be_is_found_before_the_first_training(
    tradebot: Tradebot, home: Path, text: str, said: str
) -> None:
    (home / "config.yaml").write_text(text + "\n")
    done = tradebot("config", "check")
    assert done.code == 78
    assert said in done.err
    assert done.err.count("\n") == 1
    assert tradebot("run") == done
    assert not (home / "state").exists(), "refused before it had begun"


def test_init_writes_a_file_that_checks_and_never_overwrites_one(tradebot: Tradebot, home: Path) -> None:
    assert tradebot("config", "init").code == 0
    assert tradebot("config", "check").code == 0
    again = tradebot("config", "init")
    assert (again.code, again.out) == (0, "config.yaml: is there already; every key is at its default\n")
    (home / "config.yaml").write_text("mode: demo\n")
    done = tradebot("config", "init")
    assert done.code == 78
    assert "exists already" in done.err
    assert (home / "config.yaml").read_text() == "mode: demo\n"
    assert "\nmode: paper\n" in tradebot("config", "init", "-").out


def test_schema_describes_the_file(tradebot: Tradebot) -> None:
    schema = json.loads(tradebot("config", "schema").out)
    assert schema["properties"]["mode"]["enum"] == ["demo", "paper", "exchange-demo", "live"]
    assert schema["additionalProperties"] is False


def test_doctor_reports_the_provider_a_session_really_uses(tradebot: Tradebot) -> None:
    done = tradebot("doctor", "--json")
    findings = {row["check"]: row for row in map(json.loads, done.out.splitlines())}
    assert findings["onnx"]["result"] == "ok"
    assert "a session uses " in findings["onnx"]["detail"]
    assert findings["config"] == {"check": "config", "result": "ok", "detail": "defaults, mode paper"}
    assert done.code == 0


def test_doctor_goes_on_after_a_failure_and_exits_1(tradebot: Tradebot, home: Path) -> None:
    (home / "config.yaml").write_text("mode: live\nstrategy:\n  name: nothing\n")
    done = tradebot("doctor", "--json")
    findings = {row["check"]: row["result"] for row in map(json.loads, done.out.splitlines())}
    assert (done.code, findings["key"], findings["strategy"], findings["disk"]) == (1, "failed", "failed", "ok")


def test_doctor_checks_the_rest_with_defaults_when_the_configuration_is_wrong(tradebot: Tradebot) -> None:
    done = tradebot("doctor", "--json", "--config", "/nonexistent")
    findings = {row["check"]: row["result"] for row in map(json.loads, done.out.splitlines())}
    assert (done.code, findings["config"]) == (78, "failed")
    assert [findings[name] for name in ("strategy", "key", "disk", "state", "models")] == ["ok"] * 5


def test_version_is_the_packages(tradebot: Tradebot) -> None:
    done = tradebot("version")
    assert done.out == tradebot("--version").out
    code = "import tradebot; print('tradebot', tradebot.__version__)"
    assert done.out == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_run_has_its_models_checked_apart(home: Path) -> None:
    """The process that trades imports no library that trains."""
    (home / "config.yaml").write_text("retrain: {models: [lightgbm-1h]}\n")
    code = (
        "import sys; from tradebot.cli.entry import run; code = run(['run']); "
        "assert not {'lightgbm', 'torch', 'optuna'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, "lightgbm reads 5m candles" in done.stderr) == (78, True), done.stderr


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The settings of every daemon that ``run`` would have started; none is."""
    found: list[object] = []
    monkeypatch.setattr("tradebot.daemon.run.run_daemon", lambda settings, credentials: found.append(settings) or 0)
    return found


def interpreter(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The check of models is ``script`` (of a shell) from here on."""
    path = home / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "the check ended before it was done (code 1; memory?)"),
        ("kill -9 $$", "the check ended before it was done (code -9; memory?)"),
        ("cat >/dev/null; exec sleep 30", "the check took more than 0.5 s"),
        ("echo OSError: broken; exit 1", "OSError: broken"),
    ],
)
def test_a_check_of_the_models_that_died_is_a_line_and_no_verdict(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch, started: list[object], script: str, said: str
) -> None:
    interpreter(home, monkeypatch, script)
    monkeypatch.setattr(checked, "LONGEST_S", 0.5 if "sleep" in script else 30.0)
    done = tradebot("run")
    assert (done.code, len(started)) == (0, 1)
    assert done.err == f"models and their options were not all checked: {said}\n"


def test_a_check_of_the_models_that_cannot_begin_is_a_line_and_no_verdict(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch, started: list[object]
) -> None:
    monkeypatch.setattr(sys, "executable", str(home / "nowhere"))
    done = tradebot("run")
    assert (done.code, len(started), done.err.count("\n")) == (0, 1, 1)
    assert "No such file or directory" in done.err


def test_a_start_that_ends_does_not_wait_for_the_check_of_its_models(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(home, monkeypatch, "exec sleep 30")
    began = time.monotonic()
    with pytest.raises(BusyError), checked.models_checked(Settings()):
        raise BusyError("the account is taken")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("library", ["torch", "lightgbm"])
def test_a_bot_that_only_serves_needs_no_library_that_trains(
    tradebot: Tradebot, home: Path, started: list[object], library: str
) -> None:
    """The check runs in ``home``, where the library is found first."""
    missing = f"raise ModuleNotFoundError(\"No module named '{library}'\", name='{library}')\n"
    (home / f"{library}.py").write_text(missing)
    family = "bilstm" if library == "torch" else "lightgbm"
    (home / "config.yaml").write_text(f"retrain: {{model: {family}, executor: files}}\n")
    done = tradebot("run")
    assert (done.code, len(started), done.err.count("\n")) == (0, 1, 1), done.err
    assert library in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("executor", "code"), [("files", 0), ("process", 78)])
def test_check_wants_the_library_of_a_training_where_it_is_trained(home: Path, executor: str, code: int) -> None:
    (home / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    (home / "config.yaml").write_text(f"retrain: {{model: bilstm, executor: {executor}}}\n")
    done = spawn("config", "check", cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert "retrain: bilstm needs torch: pip install 'tradebot[deep]'" in done.stderr
