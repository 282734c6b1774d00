"""The front door: a table from command name to function. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from distill.errors import DistillError
from distill.launched import launched

#: Each stage keeps its commands beside it; they parse, call the stage's public function, and print.
COMMANDS = {
    "label": "teacher.commands:label",
    "check-precision": "teacher.commands:check_precision",
    "benchmark-labelling": "teacher.commands:benchmark_labelling",
    "train-teacher": "teacher.commands:train_teacher",
    "pretrain-views": "teacher.contrastive.commands:pretrain_views",
    "few-labels": "teacher.contrastive.commands:few_labels",
    "compare-teachers": "teacher.commands:compare_teachers",
    "fuse-teachers": "teacher.commands:fuse_teachers",
    "calibrate": "teacher.commands:calibrate",
    "teachers": "teacher.commands:teachers",
    "labels": "distill.labels.commands:labels",
    "train-student": "students.commands:train_student",
    "students": "students.commands:students",
    "benchmark-training": "students.commands:benchmark_training",
    "export": "export.commands:export",
    "card": "export.commands:card",
    "benchmark": "benchmarks.commands:benchmark",
    "benchmark-quantisation": "benchmarks.commands:benchmark_quantisation",
    "benchmark-engine": "benchmarks.commands:benchmark_engine",
    "benchmark-peers": "benchmarks.commands:benchmark_peers",
    "sweep": "benchmarks.commands:sweep",
    "predict": "distill.commands:predict",
    "check": "distill.commands:check",
    "evaluate": "distill.commands:evaluate",
    "run": "distill.commands:run",
    "ablate": "distill.commands:ablate",
    "demo": "distill.commands:demo",
}

#: Those that several processes of torchrun do together.
_TOGETHER = ("train-student", "train-teacher")

#: Those that go on where they were; of the others nothing is kept.
_GO_ON = ("label", "train-teacher", "calibrate", "train-student", "sweep", "run", "ablate", "demo")

#: Which extra brings a package that is missing.
_EXTRAS = {"pyarrow": "label", "yaml": "label", "ray": "ray", "audformat": "dev",
           "torch": "train", "onnx": "train", "safetensors": "train",
           "transformers": "train", "huggingface_hub": "train", "timm": "train", "torchvision": "train",
           "peft": "train", "opensmile": "opensmile", "fsspec": "remote", "silero_vad": "vad",
           "litert_torch": "tflite", "ai_edge_litert": "tflite", "ai_edge_quantizer": "tflite"}  # fmt: skip


def find(where: str) -> Any:
    """What stands at "module:name". The front door knows the rooms by such strings alone.

    >>> find("distill.machine:cores").__name__
    'cores'
    """
    module, name = where.split(":")
    return getattr(import_module(module), name)


class FrontDoor(click.Group):
    """Commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if launched().count > 1 and cmd_name not in _TOGETHER:
            ctx.fail(f"torchrun starts several processes, and each would do the whole of {cmd_name}; call it without")
        command: click.Command = find(COMMANDS[cmd_name])
        return command


@click.command(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="distill")
def door() -> None:
    """Distil a large speech-emotion teacher into a student that fits a hearing aid.

    \b
    audio --label--> label table --train-student--> run --export--> student.onnx --benchmark--> report
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what the user can mend is one line on standard error and exit code 1."""
    try:
        door.main(args=arguments, prog_name="distill", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "distill"
        _leave_all(f"{error.format_message()} (`{where} --help` says more)", error.exit_code)
    except click.ClickException as error:
        _leave_all(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _leave_all(_interrupted(sys.argv[1:] if arguments is None else arguments), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except DistillError as error:
        _leave(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        _leave(f"this command needs {package}; from the checkout: pip install '.[{_EXTRAS[package]}]'")
    except OSError as error:
        if error.errno is None:
            raise
        _leave(f"{error.filename or 'writing'}: {error.strerror}")


def _interrupted(arguments: list[str]) -> str:
    goes_on = next((word for word in arguments if not word.startswith("-")), "") in _GO_ON
    return f"interrupted{'; what was finished is kept, and the same command goes on from there' if goes_on else ''}"


def _leave_all(reason: str, code: int) -> None:
    """For a reason that several processes have alike; the first tells it."""
    if not launched().first:
        sys.exit(code)
    _leave(reason, code)


def _leave(reason: str, code: int = 1) -> None:
    rank = launched().rank
    who = f"distill (process {rank})" if rank else "distill"
    print(f"{who}: " + " ".join(reason.split()), file=sys.stderr)
    sys.exit(code)
