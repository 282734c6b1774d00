"""A chat endpoint in OpenAI's form, over the standard library: one request, one reply or one named reason.

https://platform.openai.com/docs/api-reference/chat: POST {url}/chat/completions, GET {url}/models. Ollama, vLLM,
llama.cpp and most services answer the same.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from distill.errors import DistillError
from teacher.patience import in_time

#: A server that is asked whether it is there answers within this time, or is not (seconds).
PROBE_SECONDS = 10.0

#: A body beyond this is no reply to what we ask (bytes).
LARGEST = 1 << 20

#: The longest pause that a server may ask for (seconds).
LONGEST_PAUSE = 60.0


class Outage(DistillError):
    """Nobody is asked further: no server, no such model, or a key that is not accepted."""


class Failed(Exception):
    """A request in vain. kind: what the cost log counts it as."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Declined(Failed):
    """The server takes everything but this; asking again would not help."""


class TryAgain(Failed):
    """It may go well another time. pause: seconds that the server asks for; gone: there is no server at all."""

    def __init__(self, kind: str, reason: str, *, pause: float | None = None, gone: bool = False) -> None:
        super().__init__(kind, reason)
        self.pause, self.gone = pause, gone


@dataclass(frozen=True)
class Reply:
    """text: what the model wrote; whole: it came to an end by itself; usage: the server's own count of tokens."""

    text: str
    whole: bool
    usage: Any


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would take the key along to wherever a redirect points."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Endpoint:
    """A server. url: up to and without /chat/completions; timeout: seconds for a whole request."""

    def __init__(self, url: str, api_key_env: str | None, timeout: float) -> None:
        self.url, self.timeout = url, timeout
        self._key = _key(api_key_env)
        self._opener = urllib.request.build_opener(_NoRedirects)

    def probe(self) -> None:
        """Whether there is a server that knows us. One that does not list its models is as good.

        Raises:
            Outage: there is none, or it does not accept the key.
        """
        try:
            status, _, body = self._request("models", None, min(self.timeout, PROBE_SECONDS))
        except TryAgain as error:
            raise Outage(f"{shown(self.url)}: {error}; is the server running, and the url right?") from None
        if status in (401, 403):
            raise self._refused(status, body)

    def chat(self, body: dict[str, Any]) -> Reply:
        """Ask once.

        Raises:
            TryAgain: no reply in time, a server that is busy or broken, or no chat completion.
            Declined: the server does not take this very request.
            Outage: a key, a url or a model that will never do.
        """
        status, headers, answered = self._request("chat/completions", body, self.timeout)
        if status == 200:
            return _reply(answered)
        if status in (408, 409, 425, 429) or status >= 500:
            kind = "busy" if status == 429 else "server error"
            raise TryAgain(kind, f"the server answered {status}{self._said(answered)}", pause=_pause(headers))
        if status in (400, 413, 422):
            raise Declined("declined", f"the server declined it ({status}{self._said(answered)})")
        raise self._refused(status, answered)

    def _refused(self, status: int, body: bytes) -> Outage:
        why = {401: "the key is not accepted", 403: "the key is not accepted", 404: "no such url, or no such model"}
        reason = why.get(status, "this is no chat endpoint")
        return Outage(f"{shown(self.url)}: the server answered {status}{self._said(body)}: {reason}")

    def _said(self, body: bytes) -> str:
        """What the server says of an error, in brief, and never with the key in it."""
        try:
            error = json.loads(body)["error"]
            message = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        message = message.replace(self._key, "***") if self._key else message
        return f", {' '.join(message.split())[:160]}"

    def _request(self, path: str, body: dict[str, Any] | None, seconds: float) -> tuple[int, Message, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "distill"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(_joined(self.url, path), data, headers)
        try:
            return in_time(lambda: self._sent(request, seconds), seconds)
        except TimeoutError:
            raise TryAgain("timeout", f"no answer within {seconds:g} s") from None
        except urllib.error.URLError as error:
            raise _unreached(error.reason, seconds) from None
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain("broken off", f"the answer broke off ({type(error).__name__})") from None

    def _sent(self, request: urllib.request.Request, seconds: float) -> tuple[int, Message, bytes]:
        try:
            with self._opener.open(request, timeout=seconds) as response:
                return response.status, response.headers, response.read(LARGEST)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read(LARGEST)


def shown(url: str) -> str:
    """A url as it may stand in files and messages: some services take a key behind the question mark.

    >>> shown("https://models.example/v1?key=secret")
    'https://models.example/v1'
    """
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _joined(url: str, path: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{path}").geturl()


def _key(variable: str | None) -> str | None:
    """The key in an environment variable, where one is named. It is never shown, not even a bad one.

    Raises:
        DistillError: the variable is not set, or holds what no header can.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise DistillError(f"{variable}: the environment variable that api_key_env names is not set")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise DistillError(f"{variable}: holds characters that no key has")
    return key


def _unreached(reason: Any, seconds: float) -> TryAgain:
    if isinstance(reason, TimeoutError):
        return TryAgain("timeout", f"no answer within {seconds:g} s")
    gone = isinstance(reason, (ConnectionRefusedError, socket.gaierror))
    said = getattr(reason, "strerror", None) or reason
    return TryAgain("unreachable", f"cannot be reached ({said})", gone=gone)


def _pause(headers: Message) -> float | None:
    """Seconds that the server asks to wait; its other form, a date, is left to our own pauses."""
    given = headers.get("Retry-After", "")
    return min(float(given), LONGEST_PAUSE) if given.strip().isdecimal() else None


def _reply(body: bytes) -> Reply:
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        text, finish, usage = choice["message"]["content"], choice.get("finish_reason"), found.get("usage")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise TryAgain("no completion", "the server's answer is no chat completion") from None
    return Reply(text if isinstance(text, str) else "", finish in (None, "stop"), usage)
