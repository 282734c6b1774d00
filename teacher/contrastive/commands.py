"""The commands of multi-view pre-training: what the recordings teach, and what it brings where labels are few."""

from __future__ import annotations

from typing import Any

import click

from distill.licences import KINDS
from distill.options import (
    device_option,
    json_option,
    output_option,
    seed_option,
    show,
    where_option,
)
from distill.progress import duration

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

    return show(run(**options), as_json, _pretrained)


def _pretrained(result: dict[str, Any]) -> str:
    pairs = [f"{pair}: {share:.3f}" for pair, share in result["retrieval"].items()]
    return "\n  ".join([
        f"{result['output']}: {', '.join(result['views'])}, {result['parameters']:,} parameters, "
        f"{result['epochs']} epochs in {duration(result['seconds'])}; weights {result['licence']}",
        f"of {result['n']} clips held out, found again in another view (by chance {result['chance']:.4f}):", *pairs,
    ])  # fmt: skip
