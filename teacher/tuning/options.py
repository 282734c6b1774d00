"""What there is to choose from when a teacher is trained, by name. Imports nothing: the commands stand on it."""

from __future__ import annotations

from typing import NamedTuple

#: The method that needs no backbone: functionals of prosody and a regressor, in minutes, without torch.
PROSODY = "prosody"


class Method(NamedTuple):
    """What learns, and how: the sizes and rates of the papers. layers, head: where nobody says otherwise. longest:
    seconds that are heard of a clip in training."""

    what: str
    learning_rate: float
    weight_decay: float
    epochs: int
    longest: float
    layers: str
    head: str


#: PEFT-SER (Feng and Narayanan 2023) trains what is small at 5e-4; whole backbones learn at 1e-5, as the Odyssey 2024
#: baseline does.
METHODS = {
    "full": Method("the whole backbone but its convolutions", 1e-5, 1e-2, 20, 12.0, "last", "tanh"),
    "partial": Method("the backbone's top layers", 1e-5, 1e-2, 20, 12.0, "last", "tanh"),
    "head": Method("the head alone", 5e-4, 1e-4, 30, 6.0, "weighted", "pointwise"),
    "lora": Method("low-rank updates of the feed-forward layers", 5e-4, 1e-4, 30, 6.0, "weighted", "pointwise"),
    "adapter": Method("bottlenecks beside the feed-forward layers", 5e-4, 1e-4, 30, 6.0, "weighted", "pointwise"),
    "adapter-sequential": Method(
        "bottlenecks behind the feed-forward layers", 5e-4, 1e-4, 30, 6.0, "weighted", "pointwise"
    ),
    "prompt": Method("vectors in front of every layer", 5e-4, 1e-4, 30, 6.0, "weighted", "pointwise"),
}

#: The family of backbones that is pre-trained here, on one of the others or on none.
VIEWS = "distill-views"

#: What views take: small encoders, all of which learn at the rate of what is small.
VIEWS_METHODS = {
    "full": METHODS["full"]._replace(what="the encoders of all views", learning_rate=1e-3, epochs=50),
    "head": METHODS["head"],
}


def method_of(name: str, *, views: bool) -> Method:
    """A method by its name, as views take it or any other backbone.

    >>> method_of("full", views=True).learning_rate
    0.001
    """
    return (VIEWS_METHODS if views else METHODS)[name]


#: How layers are merged; `NAME:N` goes without those behind the first N. `first:N` is `last:N`.
LAYERS = ("last", "weighted", "attentive-merge", "first")

POOLINGS = ("mean", "std", "attention", "attentive-stats")

#: What stands around the pooling. pointwise: PEFT-SER's, three convolutions of one frame before it; tanh: of Wagner et
#: al. (2023); normed: of the Odyssey 2024 baseline, layer norm and ReLU.
HEADS = ("pointwise", "tanh", "normed")

#: Layers that `partial` trains unless told otherwise.
TOP = 4

#: What is said of a clip beside its sound.
CONDITIONS = ("none", "gender", "text", "gender+text")

#: Over how many clips CCC is taken in training: the whole batch, or what goes through the network at once.
CCC_OVER = ("batch", "micro-batch")

#: What may be learned by one: the axes, the category, or both. Several tasks, each with an adapter of its own, are
#: named: the axes, and columns whose values are told apart.
ADV, CATEGORY = "adv", "category"
TASKS = {"adv": (ADV,), "categories": (CATEGORY,), "both": (ADV, CATEGORY)}

#: How the adapters of several tasks work together: each hears what those before it made, or a frame attends to all.
COMPOSITIONS = ("none", "stack", "fuse")

#: Methods whose adapters may be several.
COMPOSED = ("adapter", "adapter-sequential")
