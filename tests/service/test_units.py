"""The units are accepted by systemd, shut in, and agree with the program they start."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tradebot.errors import AuthRefused, BusyError, ConfigError, DataError, GateNotPassed
from tradebot.settings import Settings
from tradebot.settings.credentials import CREDENTIAL_ENV

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = ("tradebot.service", "tradebot-retrain.service", "tradebot-alert@.service")
PROGRAM = "/opt/tradebot/.venv/bin/tradebot"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: systemd)")
    return found


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that exists, because ``verify`` looks for it."""
    for unit in UNITS.iterdir():
        if unit.suffix in (".service", ".path", ".slice"):
            (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    return tmp_path


@pytest.mark.parametrize("gpu", [False, True])
def test_systemd_accepts_every_unit_without_a_remark(installed: Path, gpu: bool) -> None:
    analyze = tool("systemd-analyze")
    units = sorted(path.name for path in installed.iterdir())
    assert len(units) == 5
    if gpu:
        for service in ("tradebot.service", "tradebot-retrain.service"):
            (installed / f"{service}.d").mkdir()
            shutil.copy(UNITS / "gpu.conf", installed / f"{service}.d")
    paths = [str(installed / unit).replace("alert@.", "alert@tradebot.service.") for unit in units]
    done = run(analyze, "verify", "--man=no", "--recursive-errors=no", *paths, cwd=installed)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "tradebot" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("service", SERVICES)
def test_the_exposure_of_every_service_is_low(installed: Path, service: str) -> None:
    analyze = tool("systemd-analyze")
    done = run(
        analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(installed / service), cwd=installed
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) < 2.0


def test_a_unit_that_is_not_shut_in_fails_that_check(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    (tmp_path / "bare.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = run(
        analyze,
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        str(tmp_path / "bare.service"),
        cwd=tmp_path,
    )
    assert done.returncode != 0


def test_what_can_not_be_mended_by_a_restart_is_not_restarted() -> None:
    (prevented,) = values("tradebot.service", "RestartPreventExitStatus")
    assert {int(code) for code in prevented.split()} == {
        error.exit_code for error in (DataError, AuthRefused, ConfigError)
    }
    assert BusyError.exit_code not in map(int, prevented.split())
    assert values("tradebot-retrain.service", "SuccessExitStatus") == [str(GateNotPassed.exit_code)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("WatchdogSec", "30s"),
        ("Restart", "on-failure"),
        ("RestartSec", "5s"),
        ("StartLimitIntervalSec", "10min"),
        ("StartLimitBurst", "5"),
        ("TimeoutStopSec", "60s"),
        ("UMask", "0077"),
        ("User", "tradebot"),
        ("StateDirectory", "tradebot"),
        ("RuntimeDirectory", "tradebot"),
        ("CacheDirectory", "tradebot"),
        ("ConfigurationDirectory", "tradebot"),
        ("OnFailure", "tradebot-alert@%n.service"),
    ],
)
def test_the_daemon_runs_as_the_design_says(key: str, value: str) -> None:
    assert values("tradebot.service", key) == [value]


def test_numba_torch_and_onnxruntime_can_work_under_the_hardening() -> None:
    for service in ("tradebot.service", "tradebot-retrain.service"):
        assert values(service, "MemoryDenyWriteExecute") == []
        assert values(service, "ProcSubset") == []
        assert not any("@resources" in entry for entry in values(service, "SystemCallFilter"))


@pytest.mark.parametrize("service", SERVICES[:2])
def test_the_commands_and_options_that_the_units_start_exist(service: str) -> None:
    (command,) = values(service, "ExecStart")
    program, *arguments = command.split()
    assert program == PROGRAM
    words = [word for word in arguments if not word.startswith(("-", "/"))]
    options = [word for word in arguments if word.startswith("--")]
    done = run(sys.executable, "-m", "tradebot", *words, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in options:
        assert option in done.stdout


def test_the_credentials_have_the_names_that_the_program_reads() -> None:
    loaded = {entry.split(":")[0] for entry in values("tradebot.service", "LoadCredential")}
    assert loaded == {f"bitget_{name}" for name in CREDENTIAL_ENV}


def test_the_path_unit_watches_the_folder_that_jobs_are_left_in() -> None:
    settings = Settings(state_dir=Path("/var/lib/tradebot"))
    (watched,) = values("tradebot-retrain.path", "DirectoryNotEmpty")
    assert Path(watched) == settings.jobs_dir / "pending"
    assert f"d {watched} " in re.sub(" +", " ", (UNITS / "tradebot.tmpfiles.conf").read_text())


def test_user_and_folders_are_made_from_the_snippets(tmp_path: Path) -> None:
    sysusers, tmpfiles = tool("systemd-sysusers"), tool("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    made = run(sysusers, f"--root={tmp_path}", str(UNITS / "tradebot.sysusers.conf"), cwd=tmp_path)
    if made.returncode and "Permission denied" in made.stderr:
        pytest.skip("making users in another root needs root")
    assert made.returncode == 0, made.stderr
    assert "tradebot:" in (tmp_path / "etc/passwd").read_text()
    checked = run(tmpfiles, "--create", f"--root={tmp_path}", str(UNITS / "tradebot.tmpfiles.conf"), cwd=tmp_path)
    if checked.returncode and "not permitted" in checked.stderr:
        pytest.skip("giving folders to another user needs root")
    assert checked.returncode == 0, checked.stderr
    assert (tmp_path / "var/lib/tradebot/jobs/pending").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def send_conf() -> str:
    """The drop-in that the guide has its reader write for the alert unit."""
    guide = (ROOT / "docs/service.md").read_text()
    found = re.search(r"send\.conf <<'END'\n(.*?)^    END$", guide, re.DOTALL | re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[1])


def test_the_guides_alert_drop_in_gives_a_network_and_sends_after_logging(send_conf: str) -> None:
    assert send_conf.startswith("[Service]\n")
    given = dict(line.split("=", 1) for line in send_conf.splitlines()[1:])
    # each of these three alone keeps a message from leaving
    assert given["PrivateNetwork"] == "no"
    assert given["IPAddressDeny"] == ""
    assert set(given["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}
    assert "%i" in given["ExecStart"]
    for key in ("PrivateNetwork", "IPAddressDeny", "RestrictAddressFamilies"):
        assert values("tradebot-alert@.service", key), f"{key}: nothing to be undone any more"
    assert values("tradebot-alert@.service", "Type") == ["oneshot"], "only a oneshot may have two commands"


def test_systemd_accepts_the_guides_alert_drop_in(installed: Path, send_conf: str) -> None:
    analyze = tool("systemd-analyze")
    folder = installed / "tradebot-alert@.service.d"
    folder.mkdir()
    (folder / "send.conf").write_text(send_conf.replace("/usr/bin/curl", "/bin/true"))
    unit = str(installed / "tradebot-alert@test.service")
    done = run(analyze, "verify", "--man=no", "--recursive-errors=no", unit, cwd=installed)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    # and it is read: a mistake in it is found
    (folder / "send.conf").write_text(send_conf.replace("PrivateNetwork=no", "PrivateNetwork=perhaps"))
    done = run(analyze, "verify", "--man=no", "--recursive-errors=no", unit, cwd=installed)
    assert "send.conf:2: Failed to parse boolean" in done.stdout + done.stderr


def test_the_installation_guide_names_every_file_and_path() -> None:
    guide = (ROOT / "docs/service.md").read_text()
    for unit in UNITS.iterdir():
        assert unit.name in guide, unit.name
    for path in ("/opt/tradebot", "/etc/tradebot/config.yaml", "/var/lib/tradebot", "/etc/credstore/"):
        assert path in guide
