"""The front door: every command explains itself, every refusal is one line, and nothing heavy is loaded to say so."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile

import distill as package
from distill import cli

ROOT = Path(__file__).parents[2]

Command = Callable[..., Any]
Make = Callable[..., Path]
Tone = Callable[..., np.ndarray]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, in this process."""
    code: Any = 0
    try:
        cli.main(list(arguments))
    except SystemExit as left:
        code = left.code
    return code, *capsys.readouterr()


def command_of(name: str) -> Any:
    """The command, or the command of a group, that goes by a name."""
    group, _, below = name.partition(" ")
    command = cli.find(cli.COMMANDS[group])
    return command.commands[below] if below else command


#: Every command as it is typed, those of the groups among them.
TYPED = [*cli.COMMANDS, *(f"{name} {below}" for name in cli.COMMANDS if isinstance(command_of(name), click.Group)
                          for below in command_of(name).commands)]  # fmt: skip


def test_the_commands_of_a_group_are_held_as_well() -> None:
    assert {"labels show", "labels merge", "labels to-audformat"} < set(TYPED)


@pytest.mark.parametrize("name", TYPED)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, *name.split(), "--help")
    lines = [line.strip() for line in out.splitlines()]
    assert code == 0 and not err
    assert lines[lines.index("Example:") + 1].startswith(f"distill {name}")
    assert all(len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize("name", TYPED)
def test_the_example_of_every_command_can_be_parsed(name: str) -> None:
    command = command_of(name)
    lines = [line.strip() for line in (command.help or "").splitlines()]
    words = lines[lines.index("Example:") + 1].split()
    command.make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize("name", TYPED)
def test_every_option_says_what_it_does(name: str) -> None:
    options = [option for option in command_of(name).params if isinstance(option, click.Option)]
    silent = {option.name for option in options if not option.help}
    assert silent <= {"loss", "precision"}  # whose choices say it


def test_the_list_of_commands_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, "--help")
    listed = [line.split()[0] for line in out.split("Commands:")[1].splitlines() if line.strip()]
    assert code == 0 and listed == list(cli.COMMANDS)


def test_help_and_refusals_load_nothing_heavy() -> None:
    code = "import sys\nfrom distill import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'numpy', 'torch', 'onnxruntime', 'rich', 'soundfile', 'pyarrow', 'librosa'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["predict", "evaluate", "benchmark", "label"])
def test_the_edge_needs_no_torch(name: str) -> None:
    modules = {
        "predict": "distill.prediction", "evaluate": "distill.evaluation", "benchmark": "benchmarks.benchmark",
        "label": "teacher.labelling",
    }  # fmt: skip
    code = f"import sys\nsys.modules['torch'] = None\nsys.modules['onnx'] = None\nimport {modules[name]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["lable"], "distill: No such command 'lable'"),
        (["predict"], "distill: Missing argument 'CLIP...'. (`distill predict --help` says more)"),
        (["label", "a", "-o", "b", "--job", "1"], "distill: No such option"),
        (["label", "a", "-o", "b", "--where", "speaker"], "distill: Invalid value for '--where'"),
        (["predict", "-", "--student", "s.onnx", "--rate", "0"], "distill: Invalid value for '--rate'"),
    ],
)
def test_what_was_mistyped_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, *arguments)
    assert (code, out) == (2, "") and err.startswith(line) and err.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys)
    assert code == 2 and "Commands:" in out + err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, "--version")
    assert code == 0 and out.startswith("distill, version 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "{tmp}/nowhere", "-o", "{tmp}/labels", "--teacher", "prosody"],
        ["label", "{tmp}", "-o", "{tmp}/labels", "--teacher", "prosody"],
        ["label", "{tmp}/text.wav", "-o", "{tmp}/labels", "--teacher", "prosody", "--jobs", "1"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/text.wav", "--teacher", "prosody"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/text.wav/labels", "--teacher", "prosody"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/labels", "--teacher", "nobody"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/labels", "--teacher", "{tmp}/broken"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/labels", "--teacher", "prosody", "--window", "nan"],
        ["label", "{tmp}/good.wav", "-o", "{tmp}/labels", "--teacher", "prosody", "--hop", "0"],
        ["predict", "{tmp}/nowhere.wav", "--student", "{tmp}/s.onnx"],
        ["predict", "{tmp}/folder.wav", "--student", "{tmp}/s.onnx"],
        ["predict", "{tmp}/good.wav", "--student", "{tmp}/text.wav"],
        ["predict", "{tmp}/good.wav", "--student", "{tmp}"],
        ["evaluate", "--truth", "{tmp}/nowhere.csv", "--student", "{tmp}/s.onnx"],
        ["evaluate", "--truth", "{tmp}/text.wav", "--student", "{tmp}/s.onnx"],
        ["evaluate", "--truth", "{tmp}/folder.wav", "--student", "{tmp}/s.onnx"],
        ["evaluate", "--truth", "{tmp}/truth.csv", "--student", "{tmp}/s.onnx", "-o", "{tmp}/text.wav/e.json"],
        ["evaluate", "--truth", "{tmp}/truth.csv", "--student", "nobody"],
        ["evaluate", "--truth", "{tmp}/truth.csv", "--teacher", "nobody"],
        ["evaluate", "--truth", "{tmp}/truth.csv", "--predictions", "{tmp}/truth.csv", "--robustness"],
        ["evaluate", "--truth", "{tmp}/truth.csv", "--student", "{tmp}/s.onnx", "--rir", "{tmp}"],
        [
            "evaluate",
            "--truth",
            "{tmp}/truth.csv",
            "--student",
            "{tmp}/s.onnx",
            "--robustness",
            "--rir",
            "{tmp}/broken",
        ],
        ["train-student", "--labels", "{tmp}/folder.wav", "-o", "{tmp}/run"],
        ["train-teacher", "--labels", "{tmp}/nowhere.csv", "-o", "{tmp}/teacher"],
        ["export", "{tmp}/folder.wav", "-o", "{tmp}/student.onnx"],
        ["benchmark", "{tmp}/nowhere.onnx", "-o", "{tmp}/report"],
        ["labels", "show", "{tmp}/folder.wav"],
        ["labels", "merge", "{tmp}/folder.wav", "{tmp}", "-o", "{tmp}/merged"],
        ["labels", "to-audformat", "{tmp}/folder.wav", "-o", "{tmp}/table.csv"],
        ["run", "{tmp}/nowhere.yaml"],
        ["run", "{tmp}/folder.wav"],
    ],
    ids=" ".join,
)
def test_every_refusal_is_one_line(
    arguments: list[str], tmp_path: Path, tone: Tone, make_student: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", tone(), 16000)
    (tmp_path / "text.wav").write_text("text")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "truth.csv").write_text("file,arousal\ngood.wav,0.5\n")
    (tmp_path / "broken").mkdir()
    shutil.copytree(ROOT / "teacher" / "prosody" / "weights", tmp_path / "broken", dirs_exist_ok=True)
    (tmp_path / "broken" / "prosody.npz").write_bytes(b"PK")
    make_student(tmp_path / "s.onnx")
    if arguments[1] == "{tmp}":
        (tmp_path / "good.wav").unlink(), (tmp_path / "text.wav").unlink()
    code, out, err = shown(capsys, *(word.format(tmp=tmp_path) for word in arguments))
    lines = err.splitlines()
    assert (code, out) == (1, "") and lines[-1].startswith("distill: ") and "Traceback" not in err
    assert len(lines) == 1 or lines[:-1] == [line for line in lines[:-1] if "failed.csv" in line]


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("pyarrow", "label", ["label", "{tmp}/good.wav", "-o", "{tmp}/labels", "--teacher", "prosody", "--jobs", "1"]),
        ("torch", "train", ["train-student", "--labels", "{tmp}/labels", "-o", "{tmp}/run"]),
        ("yaml", "label", ["run", "{tmp}/recipe.yaml"]),
    ],
)
def test_a_missing_package_names_its_extra(
    missing: str, extra: str, arguments: list[str], tmp_path: Path, tone: Tone
) -> None:
    soundfile.write(tmp_path / "good.wav", tone(), 16000)
    words = [word.format(tmp=tmp_path) for word in arguments]
    code = f"import sys; sys.modules[{missing!r}] = None; from distill.cli import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == f"distill: this command needs {missing}; from the checkout: pip install '.[{extra}]'\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [("export", "distill: interrupted"), ("evaluate", "distill: interrupted"),
     ("label", "distill: interrupted; what was finished is kept, and the same command goes on from there")],
)  # fmt: skip
def test_only_what_goes_on_says_so_where_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    def pressed(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find", pressed)
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "x"])
    assert ended.value.code == 130 and capsys.readouterr().err.strip() == said


def test_a_missing_module_of_our_own_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "predict", "distill.nowhere:predict")
    with pytest.raises(ModuleNotFoundError):
        cli.main(["predict"])


def test_a_name_of_other_bytes_is_one_line(tmp_path: Path, make_student: Make) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(path)).write_bytes(b"RIFF")
    command = [sys.executable, "-m", "distill", "predict", path, "--student", str(make_student(tmp_path / "s.onnx"))]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"not valid UTF-8" in done.stderr


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path, tone: Tone, make_student: Make) -> None:
    soundfile.write(tmp_path / "a.wav", tone(60), 16000)
    student = make_student(tmp_path / "s.onnx")
    command = [sys.executable, "-m", "distill", "predict", str(tmp_path / "a.wav"), "--student", str(student)]
    process = subprocess.Popen(
        [*command, "--window", "1", "--hop", "0.01", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None and process.stderr is not None
    assert json.loads(process.stdout.readline())["start"] == 0
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1


def test_the_stages_are_functions_of_the_package() -> None:
    for name in package.__all__:
        module, function = package._STAGES[name].split(":")
        importlib.import_module(module)  # which must not put the module in its place
        assert getattr(package, name).__name__ == function
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_the_front_door_knows_only_what_is_there() -> None:
    for where in cli.COMMANDS.values():
        module, name = where.split(":")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("arguments", [["--help"], ["label", "--help"], ["export", "--help"], ["teachers", "--json"]])
def test_folders_of_the_same_names_are_not_ours(tmp_path: Path, distill: Command, arguments: list[str]) -> None:
    for name in ("export", "teacher", "students", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    done = distill(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.long
def test_the_wheel_holds_the_rooms_and_their_data_and_no_tests(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("distill", "teacher", "students", "export", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("needs setuptools from a package index to build with")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("distill-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert rooms == {"distill", "teacher", "students", "export", "benchmarks"}
    data = ["teacher/prosody/weights/prosody.npz", "teacher/prosody/weights/prosody.json", "distill/page.css"]
    assert not set(data) - set(names)
    code = "import sys, distill.cli; assert sys.argv[1] in distill.cli.__file__; distill.cli.main(['label', '--help'])"
    run = [sys.executable, "-c", code, str(wheel)]
    assert subprocess.run(run, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(wheel)}).returncode == 0
