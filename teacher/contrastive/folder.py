"""The folder of pre-trained views, which is a backbone of `distill train-teacher`.

config.json             model_type distill-views, the encoders' shape, the speech backbone they stand on, if any
model.safetensors       the encoders, and the means and deviations by which views are standardised
README.md               the model card
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.files import whole, write_json, write_text
from teacher.contrastive.backbone import SPEECH, ViewsBackbone
from teacher.published.folder import CONFIG, MODEL_CARD
from teacher.tuning.options import VIEWS

_WEIGHTS = "model.safetensors"


def write_views(folder: Path, views: ViewsBackbone, said: Mapping[str, Any]) -> None:
    """Write the encoders, and last what makes a backbone of them. said: trained_on, licence, data_licence, and whatever
    else is to stand in `config.json`."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in views.encoders.state_dict().items()}
    with whole(folder / _WEIGHTS) as beside:
        save_file(tensors, beside)
    write_text(folder / MODEL_CARD, model_card(folder.resolve().name, views, said))
    write_json(folder / CONFIG, {
        "model_type": VIEWS, **asdict(views.config), SPEECH: views.encoders.stands_on, **said,
    })  # fmt: skip


def model_card(name: str, views: ViewsBackbone, said: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that model hubs read."""
    under = views.encoders.stands_on
    below = f" The backbone is {under['name']}." if under else ""
    return "\n".join([
        "---", f'license: "{_quotable(said["licence"])}"', "tags: [speech-emotion-recognition]", "---", f"# {name}", "",
        f"Encoders of {', '.join(views.config.views)}: one vector of {views.config.width} each a clip of speech. "
        f"{said['trained_on']}.{below}",
        "", f"Weights: {said['licence']}; what they learned from: {said['data_licence']}.", "",
        f"    distill train-teacher --backbone {name}/ --method full --labels few.csv -o teachers/few", "",
    ])  # fmt: skip


def _quotable(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")
