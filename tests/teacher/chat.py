"""A real chat server of a thread of its own, which answers as a test asks it to: well, badly, slowly, or not at all."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What the body of a request makes the server say: text, or a status and a body, or None to say nothing for a while.
Says = Callable[[dict[str, Any]], "str | Raw | None"]

USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


@dataclass(frozen=True)
class Raw:
    """A response as it is. body: JSON, or bytes."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


def completion(text: Any, finish: str = "stop", usage: Any = USAGE) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}], "usage": usage}


def described(body: dict[str, Any]) -> str:
    """What a request tells of the clip that is asked about."""
    return str([one["content"] for one in body["messages"] if one["content"].startswith("Transcript")][-1])


def numbers(text: str) -> dict[str, float]:
    """A good answer, which follows from what is told: from level, pitch and length of the transcript."""
    level = -float(re.search(r"Mean energy: (-?\d+) dB", text)[1])  # type: ignore[index]
    pitch = float(re.search(r"median (\d+) Hz", text)[1])  # type: ignore[index]
    return {
        "arousal": round(max(0.0, 1 - level / 50), 3), "dominance": round(min(pitch / 1000, 1.0), 3),
        "valence": round(min(len(re.search("Transcript: (.*)", text)[1]) / 50, 1.0), 3),  # type: ignore[index]
    }  # fmt: skip


def well(body: dict[str, Any]) -> str:
    """Answer well."""
    return json.dumps(numbers(described(body)))


class Chat:
    """A server. says: may be exchanged while it runs; asked: the bodies of all chat requests; keys: their keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.says: Says = well
        self.models = Raw(200, {"data": []})
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.probed = 0
        self.released = threading.Event()


@contextmanager
def serving(port: int = 0) -> Iterator[Chat]:
    """A server at a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    server.chat = chat = Chat(f"http://127.0.0.1:{server.server_address[1]}/v1")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        chat.released.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        self.server.chat.probed += 1
        self._send(self.server.chat.models)

    def do_POST(self) -> None:
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions", self.path
        chat.asked.append(body)
        chat.keys.append(self.headers["Authorization"])
        said = chat.says(body)
        if said is None:
            chat.released.wait(30)
            return
        self._send(said if isinstance(said, Raw) else Raw(200, completion(said)))

    def _send(self, raw: Raw) -> None:
        body = raw.body if isinstance(raw.body, bytes) else json.dumps(raw.body).encode()
        self.send_response(raw.status)
        for name, value in {"Content-Length": str(len(body)), **raw.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
