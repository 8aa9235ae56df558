"""Settings: layers, where a mistake stands, and what may never be written down."""

from __future__ import annotations

import dataclasses
import sysconfig
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tradebot.cli import options
from tradebot.cli.template import default_config
from tradebot.cli.training_options import set_of
from tradebot.daemon.retraining import RetrainPlan
from tradebot.duration import Duration
from tradebot.errors import ConfigError
from tradebot.events import EngineConfig, RiskLimits, split_model
from tradebot.forecasters.base import FAMILIES, family
from tradebot.settings import (
    LoadedSettings,
    Settings,
    credential_origins,
    engine_config,
    load_credentials,
    load_settings,
    mask,
    served_models,
    trained_models,
)
from tradebot.settings.layers import installed_strategies, leaves
from tradebot.settings.values import MAX_SEED, MODEL_FAMILIES

ROOT = Path(__file__).resolve().parent.parent


def config_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str, overrides: dict[str, object] | None = None, **environ: str) -> LoadedSettings:
    return load_settings(config_file(tmp_path, text), overrides, environ)


def problems(tmp_path: Path, text: str, overrides: dict[str, object] | None = None, **environ: str) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, overrides, **environ)
    assert caught.value.exit_code == 78
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


# --- defaults -------------------------------------------------------------------------------------------------------


def test_the_repository_file_names_every_key_at_its_default() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert text == default_config(), "regenerate it: rm config.yaml && tradebot config init"
    tree = yaml.safe_load(text)
    named = {f"{a}.{b}" if isinstance(tree[a], dict) else a for a in tree for b in (tree[a] if isinstance(tree[a], dict) else [""])}  # fmt: skip  # noqa: E501
    assert named == {key for key, _ in leaves()}
    assert Settings.model_validate(tree) == Settings()


def test_every_key_has_a_text() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Settings.__base__):  # type: ignore[arg-type]
            assert section.__doc__, name
            assert all(inner.description for inner in section.model_fields.values()), name
        else:
            assert field.description, name


def test_settings_carry_the_engines_own_defaults() -> None:
    config = engine_config(Settings())
    limits = RiskLimits(max_account_age_ms=180_000)
    assert config == EngineConfig(
        mode="paper",
        symbols=("SOLUSDT",),
        strategy="threshold",
        models=("lightgbm",),
        references=("BTCUSDT", "ETHUSDT"),
        risk=limits,
    )


def test_the_command_line_takes_the_same_seeds_as_the_file() -> None:
    assert options.MAX_SEED == MAX_SEED == 4_294_967_295


def test_an_empty_file_and_empty_sections_keep_the_defaults(tmp_path: Path) -> None:
    default = load_settings(None, None, {}).settings
    for text in ("", "# nothing\n", "risk:\n  # max_leverage: 2\npaper:\n"):
        assert load(tmp_path, text).settings.risk == default.risk


# --- layers ---------------------------------------------------------------------------------------------------------


def test_each_layer_overrides_the_one_below(tmp_path: Path) -> None:
    text = "risk:\n  max_leverage: 4\n  cooldown: 5m\n  max_daily_loss: 0.05\n"
    loaded = load(
        tmp_path,
        text,
        {"risk.cooldown": "1m"},
        TRADEBOT_RISK__MAX_LEVERAGE="5",
        TRADEBOT_RISK__COOLDOWN="2m",
    )
    risk = loaded.settings.risk
    assert (risk.max_leverage, risk.cooldown, risk.max_daily_loss) == (5, Duration(60_000), Decimal("0.05"))
    layers = {key: loaded.origins[f"risk.{key}"].layer for key in ("max_leverage", "cooldown", "max_daily_loss", "capital")}  # fmt: skip  # noqa: E501
    assert layers == {
        "max_leverage": "environment",
        "cooldown": "command line",
        "max_daily_loss": "file",
        "capital": "default",
    }
    assert loaded.origins["risk.max_leverage"].where == "TRADEBOT_RISK__MAX_LEVERAGE"
    assert loaded.origins["risk.max_daily_loss"].where.endswith("config.yaml:4:19")


def test_lists_flags_and_parameters_come_from_the_environment(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "strategy:\n  params:\n    min_p: 0.4\n    size: {kind: fixed, part: 0.5}\n",
        TRADEBOT_SYMBOLS="SOLUSDT,BTCUSDT",
        TRADEBOT_RETRAIN__ENABLED="false",
        TRADEBOT_STRATEGY__PARAMS__MIN_P="0.5",
        TRADEBOT_STRATEGY__PARAMS__EXITS="[{kind: time, candles: 3}]",
        TRADEBOT_PAPER__LATENCY_MS="[5, 9]",
    )
    settings = loaded.settings
    assert settings.symbols == ("SOLUSDT", "BTCUSDT")
    assert settings.retrain.enabled is False
    assert settings.paper.latency_ms == (5, 9)
    assert settings.strategy.params == {
        "min_p": 0.5,
        "size": {"kind": "fixed", "part": 0.5},
        "exits": [{"kind": "time", "candles": 3}],
    }
    assert loaded.origins["strategy.params.min_p"].layer == "environment"


def test_paths_count_from_the_file_and_from_the_working_directory_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = load(tmp_path, "state_dir: mine\n", {"model_store": "store"}).settings
    assert settings.state_dir == tmp_path / "mine"
    assert settings.model_store == elsewhere / "store"
    assert settings.control_socket == tmp_path / "mine" / "control.sock"


def test_strategies_come_from_where_the_named_one_is(tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    assert load(tmp_path, "").settings.strategies_dir == ROOT / "strategies"
    folder.mkdir()
    assert load(tmp_path, "").settings.strategies_dir == ROOT / "strategies", "a folder without that strategy"
    assert load(tmp_path, "strategy:\n  name: nowhere\n").settings.strategies_dir == folder
    (folder / "threshold.py").write_text("")
    assert load(tmp_path, "").settings.strategies_dir == folder
    assert load(tmp_path, "strategies_dir: mine\n").settings.strategies_dir == tmp_path / "mine"


def test_an_installation_has_its_strategies_among_its_data_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ((target, sources),) = project["tool"]["setuptools"]["data-files"].items()
    (pattern,) = sources
    assert {path.name for path in ROOT.glob(pattern)} >= {"threshold.py"}
    assert Path(sysconfig.get_path("data")) / target == installed_strategies()


def test_the_file_is_found_by_name_then_variable_then_folder_then_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRADEBOT_CONFIG", raising=False)
    service = tmp_path / "etc"
    service.mkdir()
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(service))
    assert load_settings(environ={}).path is None
    (service / "config.yaml").write_text("mode: demo\n")
    assert load_settings(environ={}).settings.mode == "demo"
    config_file(tmp_path, "mode: exchange-demo\n")
    assert load_settings(environ={}).settings.mode == "exchange-demo"
    (tmp_path / "other.yaml").write_text("mode: live\n")
    monkeypatch.setenv("TRADEBOT_CONFIG", str(tmp_path / "other.yaml"))
    assert load_settings(environ={}).settings.mode == "live"
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such configuration file"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("risk:\n  max_levrage: 3\n", "config.yaml:2:3: risk.max_levrage: unknown key, did you mean 'max_leverage'?"),
        ("max_leverage: 3\n", "config.yaml:1:1: max_leverage: unknown key, did you mean 'risk.max_leverage'?"),
        ("colour: red\n", "config.yaml:1:1: colour: unknown key"),
        ("trading:\n  leverage: 2.5\n", "config.yaml:2:13: trading.leverage: expected a whole number, got 2.5"),
        ("trading:\n  leverage: '2'\n", "config.yaml:2:13: trading.leverage: expected a whole number, got '2'"),
        ("trading:\n  leverage: 0\n", "config.yaml:2:13: trading.leverage: must be at least 1, is 0"),
        ("retrain:\n  enabled: 1\n", "config.yaml:2:12: retrain.enabled: expected true or false, got 1"),
        ("risk:\n  max_leverage: many\n", "config.yaml:2:17: risk.max_leverage: expected a number, got 'many'"),
        ("risk:\n  max_leverage: .nan\n", "config.yaml:2:17: risk.max_leverage: expected a finite number, got nan"),
        ("risk:\n  max_daily_loss: 3\n", "config.yaml:2:19: risk.max_daily_loss: must be less than 1, is 3"),
        ("risk:\n  max_leverage:\n", "config.yaml:2:16: risk.max_leverage: expected a number, got nothing"),
        (
            "risk:\n  cooldown: 10\n",
            "config.yaml:2:13: risk.cooldown: expected a duration with its unit, like 10s, 20m, 36h or 7d, got 10",
        ),
        (
            "mode: live-ish\n",
            "config.yaml:1:7: mode: expected one of demo, paper, exchange-demo, live, got 'live-ish', "
            "did you mean 'live'?",
        ),
        (
            "symbols: SOLUSDT\n",
            "config.yaml:1:10: symbols: expected a list of symbols, like [SOLUSDT, BTCUSDT], got 'SOLUSDT'",
        ),
        (
            "symbols: [sol/usdt]\n",
            "config.yaml:1:10: symbols: 'sol/usdt' is not a symbol; write it as the exchange does, like SOLUSDT",
        ),
        ("symbols: []\n", "config.yaml:1:10: symbols: at least one symbol is needed, got []"),
        ("risk: 5\n", "config.yaml:1:7: risk: expected a section of keys"),
        ("- a\n", "config.yaml:1:1: expected keys with values, like 'mode: paper'"),
        ("risk:\n  capital: 1\n  capital: 2\n", "config.yaml:3:3: risk.capital: given twice"),
        ("mode: [paper\n", "config.yaml:2:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("paper:\n\tcash: 1\n", "config.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"),
        (
            "paper:\n  latency_ms: [80, 20]\n",
            "config.yaml:2:15: paper.latency_ms: expected two whole numbers of milliseconds, least and most, "
            "like [20, 80], got [80, 20]",
        ),
        (
            "paper:\n  latency_lognormal_ms: [200, 30]\n",
            "config.yaml:2:25: paper.latency_lognormal_ms: expected two whole numbers of milliseconds, median and 99th "
            "percentile, like [30, 200], got [200, 30]",
        ),
        (
            "paper:\n  taker_fee: 0.06\n",
            "config.yaml:2:14: paper.taker_fee: expected a fraction of notional from -0.01 to 0.01, like 0.0006 for "
            "6 bp, got 0.06",
        ),
        (
            "strategy:\n  params:\n    a: [{b: 2026-01-01}]\n",
            "config.yaml:3:8: strategy.params.a: expected a number, text, true, false or null, or a list or section of "
            "them, got [{'b': datetime.date(2026, 1, 1)}]",
        ),
        (
            "trading:\n  leverage: 5\n",
            "config.yaml:2:13: trading.leverage: 5 is above risk.max_leverage (3)",
        ),
        ("strategy:\n  max_hook: 0s\n", "config.yaml:2:13: strategy.max_hook: must be at least 10ms, is 0s"),
        ("journal:\n  snapshot: 59s\n", "config.yaml:2:13: journal.snapshot: must be at least 1m, is 59s"),
        ("journal:\n  keep: 23h\n", "config.yaml:2:9: journal.keep: must be at least 1d, is 23h"),
        ("universe:\n  top: 501\n", "config.yaml:2:8: universe.top: must be at most 500, is 501"),
        (
            "symbols: [BTCUSDT]\nuniverse:\n  top: 20\n",
            "config.yaml:3:8: universe.top: chooses the symbols itself; leave symbols out, or top null",
        ),
        (
            "risk:\n  min_liquidation_distance: 0.5\n",
            "config.yaml:2:29: risk.min_liquidation_distance: 0.5 cannot be met: liquidation is less than 0.5 away "
            "at trading.leverage 2",
        ),
        (
            "retrain:\n  model: lightbgm\n",
            "config.yaml:2:10: retrain.model: expected one of lightgbm, lorentzian, lorentzian-net, bilstm, "
            "like bilstm-15m on other candles than its own (did you mean lightgbm?), got 'lightbgm'",
        ),
        ("retrain:\n  seed: 4294967296\n", "config.yaml:2:9: retrain.seed: must be at most 4294967295, is 4294967296"),
        (
            f"risk:\n  cooldown: 1{'0' * 400}d\n",
            f"config.yaml:2:13: risk.cooldown: longer than any duration can be, got '1{'0' * 55}...",
        ),
        (
            "exchange:\n  rest_url: http://api.bitget.com\n",
            "config.yaml:2:13: exchange.rest_url: http:// is for an exchange on this machine only; write https://, "
            "got 'http://api.bitget.com'",
        ),
        (
            "exchange:\n  public_ws: ws://10.0.0.7:80/v2\n",
            "config.yaml:2:14: exchange.public_ws: ws:// is for an exchange on this machine only; write wss://, "
            "got 'ws://10.0.0.7:80/v2'",
        ),
        (
            "exchange:\n  demo_private_ws: https://wspap.bitget.com\n",
            "config.yaml:2:20: exchange.demo_private_ws: expected an address like wss://..., "
            "got 'https://wspap.bitget.com'",
        ),
        (
            "exchange:\n  rest_url: https://[::1\n",
            "config.yaml:2:13: exchange.rest_url: not an address, got 'https://[::1'",
        ),
        (
            "exchange:\n  rest_url: https://api.bitget.com:port\n",
            "config.yaml:2:13: exchange.rest_url: not an address, got 'https://api.bitget.com:port'",
        ),
        (
            "mode: live\nexchange:\n  public_ws: ws://127.0.0.1/\n",
            "config.yaml:3:14: exchange.public_ws: mode live needs an encrypted address, not 'ws://127.0.0.1/'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_limits_are_accepted_at_their_bounds(tmp_path: Path) -> None:
    load(
        tmp_path,
        "symbols: [SOLUSDT]\nuniverse:\n  top: 500\nstrategy:\n  max_hook: 10ms\n"
        "journal:\n  snapshot: 1m\n  keep: null\nrisk:\n  min_liquidation_distance: 0.49\n",
    )
    load(tmp_path, "journal:\n  keep: 1d\ntrading:\n  margin_mode: crossed\nrisk:\n  min_liquidation_distance: 0.5\n")


def test_all_mistakes_of_all_layers_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "mode: papre\nrisk:\n  max_levrage: 3\n  cooldown: soon\ntrading:\n  leverage: true\n"
    found = problems(tmp_path, text, {"log.level": "loud"}, TRADEBOT_RISK__CAPITAL="lots", TRADEBOT_RISKY__CAPITAL="1")
    assert [line.split(": ")[:2] for line in found] == [
        ["config.yaml:1:7", "mode"],
        ["config.yaml:3:3", "risk.max_levrage"],
        ["config.yaml:4:13", "risk.cooldown"],
        ["config.yaml:6:13", "trading.leverage"],
        ["environment TRADEBOT_RISKY__CAPITAL", "risky.capital"],
        ["environment TRADEBOT_RISK__CAPITAL", "risk.capital"],
        ["command line", "log.level"],
    ]


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
_KEYS = st.sampled_from(sorted({part for key, _ in leaves() for part in key.split(".")})) | st.text(max_size=8)
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(st.text(max_size=100) | _TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)))
def test_no_file_brings_the_loader_down(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    lines: list[str] = []
    try:
        load_settings(path, environ={})
    except ConfigError as error:
        lines = str(error).split("\n")
    assert all(line.startswith(f"{path}") for line in lines), lines


@pytest.mark.parametrize("host", ["127.0.0.1:8899", "127.8.0.1", "localhost", "[::1]:80"])
def test_an_exchange_on_this_machine_needs_no_encryption(tmp_path: Path, host: str) -> None:
    text = f"exchange:\n  rest_url: http://{host}\n  private_ws: ws://{host}/v2/ws/private\n"
    settings = load(tmp_path, text).settings
    assert (settings.exchange.rest_url, settings.private_ws) == (f"http://{host}", f"ws://{host}/v2/ws/private")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_that_is_named_alone_reads_the_same_candles_in_the_settings_as_in_a_training(
    tmp_path: Path, name: str
) -> None:
    interval = family(name).interval
    settings = load(tmp_path, f"strategy: {{models: [{name}]}}\nretrain: {{model: {name}}}").settings
    (served,), (trained,) = served_models(settings), trained_models(settings)
    assert (split_model(served, "5m"), served) == ((name, interval), trained)
    assert RetrainPlan.of(settings).job("SOLUSDT", 0).interval == interval


def test_other_candles_than_a_familys_own_are_named(tmp_path: Path) -> None:
    text = "strategy: {models: [bilstm, bilstm-5m, bilstm-1h, lightgbm-5m, lightgbm]}"
    assert served_models(load(tmp_path, text).settings) == ("bilstm-1h", "bilstm-5m", "lightgbm")


def test_options_are_of_a_model_by_its_candles_or_of_its_family(tmp_path: Path) -> None:
    text = (
        "retrain: {models: [lightgbm, bilstm, bilstm-15m, lorentzian], "
        "options: {lightgbm-5m: {horizon: 3}, bilstm: {size: small}, bilstm-1h: {size: full}}}"
    )
    settings = load(tmp_path, text).settings
    plan = RetrainPlan.of(settings)
    jobs = [plan.job("SOLUSDT", 0, model=model) for model in plan.train]
    assert [job.options for job in jobs] == [{"horizon": 3}, {"size": "full"}, {"size": "small"}, {}]
    more = set_of(settings, plan.options, {"epochs": 2})
    changed = [dataclasses.replace(plan, options=more).job("SOLUSDT", 0, model=model) for model in plan.train]
    assert [job.options for job in changed] == [job.options | {"epochs": 2} for job in jobs]
    with pytest.raises(ConfigError, match=r"'bilstm-5m' is none of the models that are trained"):
        load(tmp_path, text.replace("bilstm-1h:", "bilstm-5m:"))


def test_the_families_that_settings_know_are_those_that_can_be_trained() -> None:
    assert set(FAMILIES) == set(MODEL_FAMILIES)
    with pytest.raises(ConfigError) as caught:
        family("none of them")
    assert str(caught.value).endswith(f"known: {', '.join(sorted(FAMILIES))}")


def test_a_configuration_that_is_there_and_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRADEBOT_CONFIG", raising=False)
    monkeypatch.delenv("CONFIGURATION_DIRECTORY", raising=False)
    config = tmp_path / "config.yaml"
    config.mkdir()
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read \(Is a directory\)"):
        load_settings(environ={})
    with pytest.raises(ConfigError, match="is a directory; name the configuration file in it"):
        load_settings(tmp_path, environ={})
    config.rmdir()
    config.symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read \(No such file or directory\)"):
        load_settings(environ={})
    config.unlink()
    assert load_settings(environ={}).path is None
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", f"{tmp_path}/absent:{tmp_path}")
    assert load_settings(environ={}).path is None


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("exchange:\n  secret: hunter2hunter2\n", "config.yaml:2:3: exchange.secret"),
        ("exchange:\n  api_key: hunter2hunter2\n", "config.yaml:2:3: exchange.api_key"),
        ("passphrase: hunter2hunter2\n", "config.yaml:1:1: passphrase"),
        ("ledger:\n  url: postgresql://bot:hunter2hunter2@db/l\n", "config.yaml:2:3: ledger.url"),
    ],
)
def test_a_secret_in_the_file_is_refused_without_being_shown(tmp_path: Path, text: str, place: str) -> None:
    (line,) = problems(tmp_path, text)
    assert line.startswith(place)
    assert "TRADEBOT_" in line
    assert "hunter2" not in line


def test_the_key_comes_from_systemd_before_the_environment(tmp_path: Path) -> None:
    environ = {f"TRADEBOT_EXCHANGE__{name}": f"env-{name}" for name in ("KEY", "SECRET", "PASSPHRASE")}
    assert load_settings(None, None, environ).settings.mode == "paper", "the key's variables are no settings"
    for name in ("bitget_key", "bitget_secret"):
        (tmp_path / name).write_text(f"file-{name}\n")
    found = load_credentials(environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found is not None
    assert (found.key, found.secret, found.passphrase) == ("file-bitget_key", "file-bitget_secret", "env-PASSPHRASE")
    assert "file" not in repr(found)
    assert "env" not in str(found)
    origins = credential_origins(environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert origins["passphrase"] == "TRADEBOT_EXCHANGE__PASSPHRASE"


def test_half_a_key_is_an_error_and_none_is_none() -> None:
    assert load_credentials({}) is None
    with pytest.raises(ConfigError, match=r"missing: TRADEBOT_EXCHANGE__SECRET .*PASSPHRASE"):
        load_credentials({"TRADEBOT_EXCHANGE__KEY": "abc"})


def test_a_password_in_an_address_is_masked() -> None:
    assert mask("postgresql://bot:hunter2@db/x") == "postgresql://bot:***@db/x"
    assert mask("sqlite:///state/ledger.sqlite") == "sqlite:///state/ledger.sqlite"


# --- the hash -------------------------------------------------------------------------------------------------------


def test_the_hash_follows_what_can_change_a_decision_and_nothing_else(tmp_path: Path) -> None:
    base = load(tmp_path, "").settings.settings_hash()
    same = load(
        tmp_path, "state_dir: other\nlog:\n  level: debug\nexchange:\n  rest_url: http://127.0.0.1:1\n", {}
    ).settings
    assert same.settings_hash() == base
    assert load(tmp_path, "risk:\n  max_leverage: 3.0\n").settings.settings_hash() == base, "3.0 is 3"
    for text in ("mode: demo\n", "risk:\n  stop_distance: 0.01\n", "strategy:\n  params:\n    min_p: 0.5\n"):
        assert load(tmp_path, text).settings.settings_hash() != base, text


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_reads_back_what_it_wrote(ms: int) -> None:
    assert Duration.parse(str(Duration(ms))) == Duration(ms)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1 fortnight", "1d 2", "１d x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)
