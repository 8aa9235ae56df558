"""Settings: the tree, its layers and the credentials. Only the command line and the daemon's root import it."""

from __future__ import annotations

from tradebot.settings.credentials import (
    Credentials,
    credential_origins,
    load_credentials,
    load_hub_token,
    load_tardis_key,
    mask,
)
from tradebot.settings.layers import (
    Layer,
    LoadedSettings,
    Origin,
    default_settings,
    find_config,
    load_settings,
    shipped_strategies,
    strategies_folder,
)
from tradebot.settings.sections import (
    AuditSettings,
    ExchangeSettings,
    LedgerSettings,
    LogSettings,
    PaperSettings,
    RetrainSettings,
    RiskSettings,
    StrategySettings,
    TradingSettings,
)
from tradebot.settings.tree import Settings, engine_config, served_models, trained_models

__all__ = [
    "AuditSettings",
    "Credentials",
    "ExchangeSettings",
    "Layer",
    "LedgerSettings",
    "LoadedSettings",
    "LogSettings",
    "Origin",
    "PaperSettings",
    "RetrainSettings",
    "RiskSettings",
    "Settings",
    "StrategySettings",
    "TradingSettings",
    "credential_origins",
    "default_settings",
    "engine_config",
    "find_config",
    "load_credentials",
    "load_hub_token",
    "load_settings",
    "load_tardis_key",
    "mask",
    "served_models",
    "shipped_strategies",
    "strategies_folder",
    "trained_models",
]
