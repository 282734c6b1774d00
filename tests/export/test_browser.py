"""Students in a browser: onnxruntime-web (WASM) in a headless Chromium gives the answers of onnxruntime here.

The page reads the golden vectors as any other runtime would. Needs Chromium, and `npm install --prefix tests/browser`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from distill.golden import TOLERANCE, Clip, write_golden
from distill.synthesis import LICENCE
from export.golden import synthesised

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "browser" / "page.html"
RUNTIME = ROOT / "tests" / "browser" / "node_modules" / "onnxruntime-web" / "dist"
STUDENTS = ROOT / "students" / "pretrained"
SHIPPED = ("wav2small", "wav2small-int8")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

#: Longest clip (seconds), and how long the browser may take for all (seconds).
LONGEST, PATIENCE = 60, 200

#: Weights of few bits: their lowest value, and the operator set and the file format that brought them.
LOW_BITS = {"int4": (TensorProto.INT4, -8, 21, 10), "int2": (TensorProto.INT2, -2, 25, 13)}

QUIET = ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking")  # fmt: skip

Answered = dict[str, list[dict[str, Any]]]


class Server(ThreadingHTTPServer):
    """Hands out a folder to this machine alone, and takes what the page has to tell."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.told: Answered = {}
        self.heard = threading.Event()


class Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.server.told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.heard.set()

    def log_message(self, *_: Any) -> None:
        """The tests' output is the tests'."""


@pytest.fixture(scope="module")
def browser(lacking: Callable[[str, str], None]) -> str:
    """Path of the browser; skipped without one, unless DISTILL_REQUIRE names "browser"."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        lacking("browser", f"needs one of {', '.join(BROWSERS)}")
    if not RUNTIME.is_dir():
        lacking("browser", "needs `npm install --prefix tests/browser`")
    return str(found)


@pytest.fixture(scope="module")
def folder(browser: str, make_student: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page asks for: itself, the runtime, students, golden vectors."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(PAGE, folder / "page.html")
    (folder / "dist").symlink_to(RUNTIME)
    for name in SHIPPED:
        shutil.copy(STUDENTS / f"{name}.onnx", folder)
    for name in LOW_BITS:
        low_bit(make_student(folder / f"{name}.onnx"), name)
    clips = synthesised()
    long = np.resize(np.concatenate([clip.pcm for clip in clips]), LONGEST * 16_000)
    students = [write_golden(path, [*clips, Clip("long", long)], audio_licence=LICENCE).name.split(".")[0]
                for path in sorted(folder.glob("*.onnx"))]  # fmt: skip
    (folder / "students.json").write_text(json.dumps(students))
    return folder


@pytest.fixture(scope="module")
def told(browser: str, folder: Path) -> Answered:
    """What the page answered, in one visit."""
    server = Server(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with visiting(browser, f"http://127.0.0.1:{server.server_port}/page.html", folder):
            assert server.heard.wait(PATIENCE), (folder / "browser.log").read_text(errors="replace")[-2000:]
    finally:
        server.shutdown()
        server.server_close()
    assert "error" not in server.told, server.told
    return server.told


@contextmanager
def visiting(browser: str, address: str, folder: Path) -> Iterator[None]:
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox, and sees this machine's page alone
    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen(
            [browser, *QUIET, *as_root, f"--user-data-dir={folder / 'profile'}", address], stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def low_bit(path: Path, name: str) -> Path:
    """The tiny student with its last matrix in few bits, widened by a Cast, which runtimes do once when they load."""
    kind, lowest, opset, version = LOW_BITS[name]
    model = onnx.load(path)
    (outward,) = (tensor for tensor in model.graph.initializer if tensor.name == "outward")
    values = np.random.default_rng(1).integers(lowest, -lowest, outward.dims)
    model.graph.initializer.remove(outward)
    model.graph.initializer.append(helper.make_tensor("low", kind, outward.dims, values.flatten().tolist()))
    model.graph.node.insert(0, helper.make_node("Cast", ["low"], ["outward"], to=TensorProto.FLOAT))
    model.opset_import[0].version, model.ir_version = opset, version
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def vectors(folder: Path, student: str) -> list[dict[str, Any]]:
    clips: list[dict[str, Any]] = json.loads((folder / f"{student}.golden.json").read_text())["clips"]
    return clips


@pytest.mark.parametrize("student", [*SHIPPED, *LOW_BITS])
def test_the_browser_gives_the_same_answers(folder: Path, told: Answered, student: str) -> None:
    expected, found = vectors(folder, student), told[student]
    assert [clip["sha256"] for clip in found] == [clip["sha256"] for clip in expected]
    assert [clip["samples"] for clip in found][-1] == LONGEST * 16_000 and len(found) == 21
    off = np.abs(np.array([clip["adv"] for clip in found]) - np.array([clip["adv"] for clip in expected]))
    print(f"{student}: off by at most {off.max():.2g}")
    assert off.max() <= TOLERANCE


def test_the_answers_are_those_of_the_student_that_was_asked(told: Answered) -> None:
    assert len({json.dumps(answers) for answers in told.values()}) == len(SHIPPED) + len(LOW_BITS)
