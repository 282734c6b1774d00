"""The commands of multi-view pre-training: what the recordings teach, and what it brings where labels are few."""

from __future__ import annotations

from typing import Any

import click

from distill.licences import KINDS, UNKNOWN
from distill.options import (
    audio_option,
    device_option,
    existing,
    json_option,
    output_option,
    seed_option,
    show,
    where_option,
)
from distill.progress import duration
from teacher.tuning.options import TASKS

_above_0 = click.FloatRange(0, min_open=True)
_precision_option = click.option(
    "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True,
    help="Of products.",
)  # fmt: skip


@click.command("pretrain-views")
@click.option("--audio", required=True, help="Recordings without labels: a folder, a file, tars, or a manifest.")
@output_option("Folder for the views, a backbone of `distill train-teacher`.")
@where_option
@click.option(
    "--backbone", metavar="NAME", help="Whose last hidden state is a view, too: a folder, or a hub's owner/name."
)
@click.option(
    "--functionals", type=click.Choice(["own", "egemaps"]), default="own", show_default=True,
    help="The view that is one vector a clip; egemaps needs openSMILE, which is not for commercial use.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="At most.")
@click.option("--patience", type=click.IntRange(1), default=10, show_default=True,
              help="Epochs without a better score until it ends.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(2), default=128, show_default=True,
              help="Clips among which each has to be found.")  # fmt: skip
@click.option("--micro-batch", type=click.IntRange(1), default=32, show_default=True,
              help="Clips in the network at once; the loss is over the whole batch all the same.")  # fmt: skip
@click.option("--learning-rate", type=_above_0, default=1e-3, show_default=True, help="Its peak.")
@click.option("--longest", type=_above_0, default=4.0, show_default=True, help="Seconds of the clips that are cut.")
@click.option("--temperature", type=_above_0, default=0.1, show_default=True, help="By which cosines are divided.")
@click.option("--speaker-from", metavar="REGEX", help="Finds the speaker in a path; else whole files are held out.")
@click.option("--licence", help="Of the weights, beside that of backbone and functionals.")
@click.option("--data-licence", default="unknown", help="The licence of the recordings.")
@click.option("--backbone-data-licence", help="The licence of what the backbone was trained on [default: unknown].")
@click.option("--require-licence", type=click.Choice(KINDS), help="Refuse what is under a stricter licence.")
@click.option("--trained-on", help="A sentence for the card [default: the folder's name and counts].")
@device_option
@_precision_option
@seed_option
@json_option
def pretrain_views(as_json: bool, **options: Any) -> Any:
    """Teach encoders of several views of speech to agree, without labels: backbone, log-mel spectrum, functionals.

    What comes out is a backbone of `distill train-teacher`. Interrupted, the same command goes on.

    \b
    Example:
      distill pretrain-views --audio corpus/ -o views/
      distill train-teacher --backbone views/ --method full --labels few.csv -o teachers/few
    """
    from teacher.contrastive.pretraining import pretrain_views as run

    options["backbone_data_licence"] = options["backbone_data_licence"] or UNKNOWN
    return show(run(**options), as_json, _pretrained)


def _pretrained(result: dict[str, Any]) -> str:
    pairs = [f"{pair}: {share:.3f}" for pair, share in result["retrieval"].items()]
    return "\n  ".join([
        f"{result['output']}: {', '.join(result['views'])}, {result['parameters']:,} parameters, "
        f"{result['epochs']} epochs in {duration(result['seconds'])}; weights {result['licence']}",
        f"of {result['n']} clips held out, found again in another view (by chance {result['chance']:.4f}):", *pairs,
    ])  # fmt: skip


@click.command("few-labels")
@click.option("--views", type=existing, required=True, help="Folder that `distill pretrain-views` wrote.")
@click.option(
    "--labels", type=existing, required=True,
    help="CSV with file, speaker, category and any of arousal, dominance, valence (0..1).",
)  # fmt: skip
@audio_option
@output_option("Folder for few_labels.json and few_labels.md, and for what was tuned.")
@where_option
@click.option("-k", "k", type=click.IntRange(2), multiple=True, default=(50, 100, 200), show_default=True,
              help="Clips that are learned from; may be given several times.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(2), default=5, show_default=True, help="How many.")
@click.option("--method", type=click.Choice(["full", "head"]), default="full", show_default=True, help="What learns.")
@click.option("--task", type=click.Choice(TASKS), default="both", show_default=True, help="What is learned.")
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="At most.")
@click.option("--patience", type=click.IntRange(1), default=20, show_default=True,
              help="Epochs without a better score until it ends.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Clips an update.")
@click.option("--learning-rate", type=_above_0, default=1e-3, show_default=True, help="Its peak.")
@click.option("--speaker-from", metavar="REGEX", help="Finds the speaker in a path, where there is no such column.")
@device_option
@json_option
def few_labels(as_json: bool, **options: Any) -> Any:
    """Measure what pre-trained views gain over the same encoders untrained, where labels are few.

    For each seed speakers are drawn to test on and K clips of the others to learn from; told is the mean over the seeds
    with its 95 % interval, whichever way it comes out. Cells that are done are skipped.

    \b
    Example:
      distill few-labels --views views/ --labels ratings.csv --audio recordings/ -k 50 -k 100 --seeds 5 -o report/
    """
    from teacher.contrastive.few_labels import few_labels as run
    from teacher.contrastive.report import as_table

    return show(run(**options), as_json, as_table)
