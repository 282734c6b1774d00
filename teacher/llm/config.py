"""The file that makes a language model a teacher: YAML, its keys checked one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distill.errors import DistillError
from distill.files import sha256_of
from distill.licences import UNKNOWN
from teacher.llm.cost import Price
from teacher.llm.prompt import PROMPTS

#: What we say ourselves in a request; `request` may add to it and not contradict it.
OURS = ("model", "messages", "temperature", "n", "stream")


@dataclass(frozen=True)
class Columns:
    """The manifest's columns that are read; of `codes` (discrete audio codes, as text) none unless it is named."""

    transcript: str | None = "transcript"
    speaker: str | None = "speaker"
    sex: str | None = "sex"
    codes: str | None = None


@dataclass(frozen=True)
class Config:
    """url: of the API, up to /v1; api_key_env: the environment variable with the key; temperature: null sends none.

    answers: asked for each clip, of which mean and spread are taken; timeout: seconds a request; retries: of an answer
    that was bad or did not come; backoff: seconds before the first of them, doubled each time; concurrency: requests
    at a time; range: the scale that the model is asked to use. examples: a table with file, speaker and the three
    ratings (0..1), its recordings below examples_audio; max_examples: shown with a clip; speakers_disjoint: none of
    their speakers is in the recordings, so that a clip may go without a speaker. request: more keys for the body of a
    request (max_tokens, response_format). price: of a million tokens; max_cost: what the cache's folder may cost in
    all; requests that are under way when it is reached come on top. calibration: a file of `distill calibrate`.
    licence, data_licence: of the model, and of what it learnt from.
    """

    url: str
    model: str
    api_key_env: str | None = None
    temperature: float | None = 0.0
    answers: int = 1
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    concurrency: int = 4
    range: tuple[float, float] = (0.0, 1.0)
    prompt: str = max(PROMPTS, key=int)
    columns: Columns = field(default_factory=Columns)
    examples: Path | None = None
    examples_audio: Path | None = None
    max_examples: int = 8
    speakers_disjoint: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    max_cost: float | None = None
    cache: Path = Path("llm-cache")
    calibration: Path | None = None
    licence: str = UNKNOWN
    data_licence: str = UNKNOWN

    def decides(self) -> dict[str, Any]:
        """What decides the answers: by this a label table and a calibration are known to belong to a configuration.

        Where the server stands is none of it: a table is continued on another port.
        """
        columns = {"transcript": self.columns.transcript, "sex": self.columns.sex, "codes": self.columns.codes}
        return {
            "model": self.model, "prompt": self.prompt, "temperature": self.temperature, "answers": self.answers,
            "range": list(self.range), "columns": columns, "request": dict(self.request),
            "examples": sha256_of(self.examples) if self.examples else None,
            "max_examples": self.max_examples if self.examples else None,
        }  # fmt: skip


def read_config(path: Path) -> Config:
    """Read a configuration; its paths are relative to its own folder.

    Raises:
        DistillError: it is missing or no YAML, or a key is unknown, missing, or has a value that cannot be.
    """
    given = _mapping(path)
    known = {one.name: one for one in fields(Config)}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise DistillError(f"{path}: no key {unknown[0]!r}; there are {', '.join(known)}")
    lacking = [name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    lacking = [name for name in lacking if name not in given]
    if lacking:
        raise DistillError(f"{path}: the key {lacking[0]!r} is missing")
    values = {key: _checked(key, value, path) for key, value in given.items()}
    return _consistent(Config(**{"cache": path.parent / "llm-cache", **values}), path)


def _mapping(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        node, given = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except FileNotFoundError:
        raise DistillError(f"{path}: no such configuration of a language model") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise DistillError(f"{path}: a configuration is a list of key: value")
    names = [key.value for key, _ in node.value]  # YAML itself silently drops the first of two
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DistillError(f"{path}: {twice[0]} stands twice")
    return given


def _checked(key: str, value: Any, path: Path) -> Any:
    wanted, check = _CHECKS[key]
    try:
        return check(value, path.parent)
    except (TypeError, ValueError, AttributeError):
        found = "cannot be taken" if key in _NEVER_SHOWN else f"is {value!r}"
        raise DistillError(f"{path}: {key} {found}; it must be {wanted}") from None


def _consistent(config: Config, path: Path) -> Config:
    if config.answers > 1 and config.temperature == 0:
        raise DistillError(f"{path}: {config.answers} answers at temperature 0 would be one; set a temperature above 0")
    if config.examples is not None and not config.examples.is_file():
        raise DistillError(f"{path}: examples: there is no {config.examples}")
    if config.max_cost is not None and config.price is None:
        raise DistillError(f"{path}: max_cost needs the price of a million tokens: price: {{prompt: , completion: }}")
    return config


# --- one check a kind of value: (value, folder of the file) -> value, ValueError or TypeError if it cannot be ---------

Check = Callable[[Any, Path], Any]


def _text(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _url(value: Any, folder: Path) -> str:
    url = _text(value, folder)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not url.isprintable():
        raise ValueError
    if any(character.isspace() for character in url) or (parts.port is not None and not parts.port):
        raise ValueError
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/chat/completions")).geturl()


def _variable(value: Any, folder: Path) -> str:
    name = _text(value, folder)
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):  # a key that was written here by mistake is none
        raise ValueError
    return name


def _path(value: Any, folder: Path) -> Path:
    return folder / _text(value, folder)


def _number(low: float, *, above: bool = False) -> Check:
    def check(value: Any, _: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise ValueError
        if value < low or (above and value == low):
            raise ValueError
        return float(value)

    return check


def _count(low: int, high: int) -> Check:
    def check(value: Any, _: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _flag(value: Any, _: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _range(value: Any, folder: Path) -> tuple[float, float]:
    low, high = (_number(-1e6)(one, folder) for one in value)
    if isinstance(value, str) or low >= high:
        raise ValueError
    return low, high


def _prompt(value: Any, _: Path) -> str:
    if isinstance(value, bool) or str(value) not in PROMPTS:
        raise ValueError
    return str(value)


def _columns(value: Any, folder: Path) -> Columns:
    return Columns(**{key: None if name is None else _text(name, folder) for key, name in value.items()})


def _price(value: Any, folder: Path) -> Price:
    return Price(**{key: _number(0)(one, folder) for key, one in value.items()})


def _request(value: Any, _: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or any(not isinstance(key, str) or key in OURS for key in value):
        raise ValueError
    json.dumps(value, allow_nan=False, sort_keys=True)  # a date, say, or keys of two types have no place in a request
    return value


def _or_none(check: Check) -> Check:
    return lambda value, folder: None if value is None else check(value, folder)


#: A key or a password may have been written here by mistake.
_NEVER_SHOWN = ("url", "api_key_env")

_CHECKS: dict[str, tuple[str, Check]] = {
    "url": ("http://host:port/v1 or https://..., without a name and password in it", _url),
    "model": ("the server's name of a model", _text),
    "api_key_env": ("the name of an environment variable, in capitals", _or_none(_variable)),
    "temperature": ("a number from 0, or null", _or_none(_number(0))),
    "answers": ("a whole number from 1 to 100", _count(1, 100)),
    "timeout": ("seconds, above 0", _number(0, above=True)),
    "retries": ("a whole number from 0 to 20", _count(0, 20)),
    "backoff": ("seconds, from 0", _number(0)),
    "concurrency": ("a whole number from 1 to 256", _count(1, 256)),
    "range": ("two numbers, the lower first: [0, 1]", _range),
    "prompt": (f"one of the versions {', '.join(PROMPTS)}", _prompt),
    "columns": (f"names of columns for {', '.join(one.name for one in fields(Columns))}", _columns),
    "examples": ("a table with file, speaker, arousal, dominance, valence", _or_none(_path)),
    "examples_audio": ("a folder", _or_none(_path)),
    "max_examples": ("a whole number from 1 to 100", _count(1, 100)),
    "speakers_disjoint": ("true or false", _flag),
    "request": (f"more keys for a request's body, none of {', '.join(OURS)}", _request),
    "price": ("{prompt: , completion: }, of a million tokens", _or_none(_price)),
    "max_cost": ("a number from 0", _or_none(_number(0))),
    "cache": ("a folder", _path),
    "calibration": ("a file of `distill calibrate`", _or_none(_path)),
    "licence": ("the licence of the model", _text),
    "data_licence": ("the licence of what the model learnt from", _text),
}
