"""Several stages from one file: each goes through the command table, as if it had been typed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from distill.cli import door
from distill.errors import DistillError
from distill.progress import say

#: Commands that run others, and are no stages themselves.
CHAINS = ("run", "ablate", "sweep", "demo")


def run_recipe(path: str | Path, *, quiet: bool = False) -> list[dict[str, Any]]:
    """Run the stages of a YAML file: {command: {option: value}}, or {command: [{...}, {...}]} to run one repeatedly.

    Every stage is checked before the first one runs. quiet: what the stages print goes to standard error.

    Returns {command, result} of every stage.

    Raises:
        DistillError: no YAML, an unknown stage or key, or a value that the command refuses.
    """
    path = Path(path)
    typed = typed_stages(read_recipe(path, "a recipe maps commands to their options"), path)
    return [run_command(arguments, quiet=quiet) for arguments in typed]


def run_command(arguments: list[str], *, quiet: bool = False) -> dict[str, Any]:
    """Print a command as one would type it, and run it; returns {command, result}."""
    typed = f"distill {shlex.join(arguments)}"
    say(f"$ {typed}")
    try:
        with redirect_stdout(sys.stderr) if quiet else nullcontext():
            result = door.main(args=arguments, prog_name="distill", standalone_mode=False)
    except SystemExit as error:
        raise DistillError(f"`{typed}` failed (exit code {error.code})") from None
    return {"command": typed, "result": result}


def read_recipe(path: Path, shape: str) -> dict[str, Any]:
    """What a YAML file maps, read strictly: a key that stands twice is refused. shape: what the file should have been.

    Raises:
        DistillError: no such file, no YAML, or no mapping.
    """
    import yaml

    try:
        recipe = yaml.load(path.read_text(encoding="utf-8"), _unique_keys(yaml))
    except FileNotFoundError:
        raise DistillError(f"{path}: no such recipe") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: no YAML ({error})") from None
    if not isinstance(recipe, dict) or not recipe:
        raise DistillError(f"{path}: {shape}")
    return {str(key): value for key, value in recipe.items()}


def typed_stages(recipe: Mapping[str, Any], path: Path) -> list[list[str]]:
    """The stages of {command: {option: value}} or {command: [{...}, {...}]} as typed, in order, each checked.

    >>> typed_stages({"evaluate": {"truth": "t.csv", "predictions": "p.csv"}}, Path("recipe.yaml"))
    [['evaluate', '--truth', 't.csv', '--predictions', 'p.csv']]

    Raises:
        DistillError: an unknown stage or key, or a value that the command refuses.
    """
    return [typed_stage(stage, options, path) for stage, options in _stages(recipe, path)]


def typed_stage(stage: str, options: Mapping[str, Any], path: Path) -> list[str]:
    """A stage as the command line that it means, checked; path: the file that says so.

    >>> typed_stage("evaluate", {"truth": "t.csv", "predictions": "p.csv"}, Path("recipe.yaml"))
    ['evaluate', '--truth', 't.csv', '--predictions', 'p.csv']

    Raises:
        DistillError: an unknown stage or key, or a value that the command refuses.
    """
    arguments = _typed(stage, options, path)
    _check(arguments, path)
    return arguments


def _stages(recipe: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for stage, given in recipe.items():
        for options in given if isinstance(given, list) else [given or {}]:
            if not isinstance(options, dict):
                raise DistillError(f"{path}: {stage} needs its options as key: value")
            yield stage, options


def _unique_keys(yaml: Any) -> Any:
    """YAML's safe loader, but of two stages (or options) of one name it does not silently drop the first."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise yaml.YAMLError(
                    f"{twice[0]} stands twice; write a list of options: {twice[0]}: [{{...}}, {{...}}]"
                )
            return super().construct_mapping(node, deep)

    return Loader


def _typed(stage: str, options: Mapping[str, Any], path: Path) -> list[str]:
    command = door.get_command(click.Context(door), stage)
    if command is None or isinstance(command, click.Group) or stage in CHAINS:
        raise DistillError(f"{path}: no stage {stage!r}")
    known = {_key(parameter): parameter for parameter in command.params}
    unknown = [key for key in options if key not in known]
    if unknown:
        raise DistillError(f"{path}: {stage} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
    arguments = [stage]
    for key, value in options.items():
        arguments += [] if value is None else _words(known[key], value)
    return arguments


def _key(parameter: click.Parameter) -> str:
    """The name an option goes by in a recipe: its long form without dashes."""
    longest = max(parameter.opts, key=len)
    return longest.lstrip("-") if isinstance(parameter, click.Option) else str(parameter.name)


def _words(parameter: click.Parameter, value: Any) -> list[str]:
    if not isinstance(parameter, click.Option):
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    flag = max(parameter.opts, key=len)
    if parameter.is_flag:
        return [flag] if value else []
    return [word for item in (value if isinstance(value, list) else [value]) for word in (flag, str(item))]


def _check(arguments: list[str], path: Path) -> None:
    command = door.get_command(click.Context(door), arguments[0])
    assert command is not None
    try:
        command.make_context(arguments[0], list(arguments[1:]))
    except click.ClickException as error:
        raise DistillError(f"{path}: {arguments[0]}: {error.format_message()}") from None
