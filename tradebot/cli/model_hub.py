"""Models to and from the HuggingFace Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from tradebot.cli.model_changes import ListOnlyOption
from tradebot.cli.models import ModelArgument, StateOption, chosen, model_of, named_store, named_version, store_root
from tradebot.cli.options import ConfigOption, JsonOption, StoreOption
from tradebot.cli.output import json_line, line, progress
from tradebot.cli.times import wall_ms
from tradebot.errors import TradebotError, Unavailable, UsageError

RepoOption = Annotated[str, typer.Option("--repo", metavar="OWNER/NAME[@REVISION]", help="Repository on the Hub.")]


def push(
    repo: RepoOption,
    model: ModelArgument = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Default: the champion.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model of the store.")] = False,
    public: Annotated[bool, typer.Option("--public", help="For everybody to see; private is the default.")] = False,
    list_only: ListOnlyOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Upload versions, their model cards and the summaries of training. What is there already is not sent again.

    Needs the hub extra and a token: $CREDENTIALS_DIRECTORY/hub_token, TRADEBOT_HUB__TOKEN or HF_TOKEN. Of each model
    its champion is sent, or the newest version where none serves.
    """
    found = named_store(store, state, config)
    if everything and model is not None:
        raise UsageError("--all sends every model; name one or say --all, not both")
    keys = found.keys() if everything else [model_of(found, model)]
    name = named_version(found, keys[0], version) if version is not None else None
    if list_only:
        for key in keys:
            line(f"would push {key} {name or chosen(found, str(key), None)[1]} to hf:{repo}")
        return
    from tradebot.registry.hub import push as upload
    from tradebot.settings import load_hub_token

    done = upload(found, keys, repo, token=load_hub_token(), private=not public, version=name, on_line=progress)
    for item in done:
        if as_json:
            json_line(item)
    _end([item.problem for item in done], f"hf:{repo}", as_json, "sent", [item.state == "pushed" for item in done])


def pull(
    repo: RepoOption,
    models: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL/NAME-INTERVAL]…")] = None,
    every: Annotated[bool, typer.Option("--every", help="Every version, not the newest of each model.")] = False,
    list_only: ListOnlyOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Download versions and check every byte before they are stored. None serves until it is promoted.

    Needs the hub extra; a private repository also a token, as for push. What is here already stays as it is.
    """
    from tradebot.registry import ModelStore
    from tradebot.registry.hub import listed
    from tradebot.registry.hub import pull as download
    from tradebot.settings import load_hub_token

    token = load_hub_token()
    if list_only:
        for key, versions in listed(repo, token=token).items():
            if not models or str(key) in models:
                line(f"{key} {', '.join(versions)}")
        return
    found = ModelStore(store_root(store, state, config))
    done = download(repo, found, token=token, models=models or (), every=every, at_ms=wall_ms(), on_line=progress)
    for item in done:
        if as_json:
            json_line(item)
    _end([item.problem for item in done], str(found.root), as_json, "new", [item.state == "pulled" for item in done])


def _end(problems: list[str], where: str, as_json: bool, word: str, new: list[bool]) -> None:
    failed = [problem for problem in problems if problem]
    if not as_json:
        line(f"{where}: {sum(new)} {word}, {len(new) - sum(new) - len(failed)} there already, {len(failed)} failed")
    if failed:
        kind: type[TradebotError] = Unavailable if any("the Hub" in problem for problem in failed) else TradebotError
        raise kind(f"{len(failed)} of {len(problems)} versions failed: {failed[0]}")
