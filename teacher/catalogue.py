"""The teachers by name, by folder, by file, by hub id: what each says of itself, and how it is opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

from distill.annotation import Annotator, LoadedTeacher, TeacherCard
from distill.errors import DistillError
from distill.licences import UNKNOWN
from distill.plugins import is_plugin, plugin
from teacher.claiming import PROSODY_CARD
from teacher.ensemble import FUSION, MEAN, mean_card, mean_of, members_of, read_fusion
from teacher.published import folder as published
from teacher.published import hub
from teacher.published.cards import FAMILIES, Family
from teacher.ratings import RATINGS, is_ratings, ratings_of
from teacher.tuning.folder import card_in, is_tuned

#: Name -> "module:class" of the teachers that are no checkpoints of a hub; the class has `load()`.
TEACHERS = {"prosody": "teacher.prosody:Prosody"}

#: What a name begins with that is a language model's; the file of its configuration follows.
LANGUAGE_MODEL = "llm:"

#: What `distill label` takes if nobody says otherwise.
DEFAULT = "odyssey"

#: The precision that every teacher computes in, unless another is asked for.
EXACT = "float32"


def open_teacher(name: str, device: str = "auto", precision: str = EXACT) -> Annotator:
    """Load a teacher: a name of the catalogue, "mean:" of several, "llm:" and a language model's configuration,
    "ratings" of people, a folder, an ONNX file, a class of one's own ("package.module:Class"), or
    owner/name on the hub.

    device: where a teacher of torch computes; the others use the CPU. precision: "bfloat16" for the products of the
    large encoders, which is to be checked (`teacher.precision`); the others know float32 alone.

    >>> open_teacher("prosody").card.name
    'prosody'

    Raises:
        DistillError: no such teacher, a hub out of reach, weights that do not fit, or a precision that it lacks.
    """
    if name.startswith(MEAN):
        return mean_of([open_teacher(member, device, precision) for member in members_of(name)])
    if name.startswith(LANGUAGE_MODEL):
        _require_exact(name, precision)
        return _language_model(name)
    if is_ratings(name):
        _require_exact(name, precision)
        return ratings_of(name)
    if name in TEACHERS or is_plugin(name):
        _require_exact(name, precision)
        return _loaded(name)
    if name not in FAMILIES and Path(name).exists():
        return _from_path(Path(name), device, precision)
    return _from_hub(name, device, precision)


def absolute(name: str) -> str:
    """The same teacher for a process in another folder: paths among what is named become absolute.

    >>> absolute("prosody"), absolute("mean:prosody,owner/name")
    ('prosody', 'mean:prosody,owner/name')
    """
    if name.startswith(MEAN):
        return MEAN + ",".join(map(absolute, members_of(name)))
    if name.startswith(LANGUAGE_MODEL):
        return LANGUAGE_MODEL + Path(name.removeprefix(LANGUAGE_MODEL)).resolve().as_posix()
    is_path = name not in TEACHERS and name not in FAMILIES and Path(name).exists()
    return Path(name).resolve().as_posix() if is_path else name


def card_of(name: str) -> TeacherCard | None:
    """What is known of a teacher before its weights are read; None where only the hub could tell.

    >>> card_of("prosody").bundled
    True

    Raises:
        DistillError: no such teacher.
    """
    if name.startswith(MEAN):
        cards = [card_of(member) for member in members_of(name)]
        known = [card for card in cards if card is not None]
        return mean_card(known) if len(known) == len(cards) else None
    if name.startswith(LANGUAGE_MODEL):
        return _language_model_card(name)
    if is_ratings(name):
        return ratings_of(name).card
    if name in TEACHERS or is_plugin(name):
        return _loaded(name).card
    if name in FAMILIES:
        return FAMILIES[name].card
    path = Path(name)
    if is_tuned(path):
        return card_in(path)
    if (path / FUSION).is_file():
        cards = [card_of(member.name) for member in read_fusion(path).members]
        known = [card for card in cards if card is not None]
        return replace(mean_card(known), name=path.resolve().name) if len(known) == len(cards) else None
    if (path / published.CONFIG).is_file():
        return _local_card(path, _recognised(path))
    if path.exists():
        return _from_path(path, "cpu", EXACT).card
    family = _published_as(name)
    if family is None and not hub.is_hub_id(name):
        raise _no_such_teacher(name)
    return family.card if family else None


def cards() -> list[TeacherCard]:
    """The card of every teacher that has a name.

    >>> "prosody" in [card.name for card in cards()]
    True
    """
    return [_loaded(name).card for name in TEACHERS] + [family.card for family in FAMILIES.values()]


def _loaded(name: str) -> Annotator:
    annotator: Annotator = plugin(TEACHERS.get(name, name), LoadedTeacher).load()
    return annotator


def _language_model(name: str) -> Annotator:
    from teacher.llm.annotator import LanguageModel

    return LanguageModel.load(Path(name.removeprefix(LANGUAGE_MODEL)))


def _language_model_card(name: str) -> TeacherCard:
    from teacher.llm.annotator import LanguageModel

    return LanguageModel.card_of(Path(name.removeprefix(LANGUAGE_MODEL)))


def _require_exact(name: str, precision: str) -> None:
    if precision != EXACT:
        raise DistillError(f"--precision {precision}: {name} computes in {EXACT} alone; label without it")


def _from_path(path: Path, device: str, precision: str) -> Annotator:
    if not (path / published.CONFIG).is_file():
        _require_exact(str(path), precision)
    if path.suffix == ".onnx":
        from teacher.published.onnx import OnnxTeacher

        return OnnxTeacher.load(path)
    if (path / PROSODY_CARD).is_file():
        return _trained_here(path)
    if (path / FUSION).is_file():
        return _fused(path, device)
    if is_tuned(path):
        from teacher.tuning.saving import open_tuned

        return open_tuned(path, device)
    if (path / published.CONFIG).is_file():
        family = _recognised(path)
        card = replace(_local_card(path, family), revision=published.revision_of(path))
        return _checkpoint(path, card, family, device, precision)
    raise DistillError(
        f"{path}: no teacher; a folder of `distill train-teacher`, one with {published.CONFIG} and weights, or an .onnx"
    )


def _from_hub(name: str, device: str, precision: str) -> Annotator:
    family = FAMILIES.get(name) or _published_as(name)
    if family is None and not hub.is_hub_id(name):
        raise _no_such_teacher(name)
    folder, revision = hub.fetch(family.card.source if family and name in FAMILIES else name)
    # A name that nobody has written a card for says no more than a folder does.
    known = family or _recognised(folder)
    card = known.card if family else replace(_local_card(folder, known), name=name, source=name)
    return _checkpoint(folder, replace(card, revision=revision), known, device, precision)


def _no_such_teacher(name: str) -> DistillError:
    return DistillError(
        f"{name}: no such teacher; there are {', '.join([*TEACHERS, *FAMILIES])}, mean: of several, "
        f"llm: and a configuration, {RATINGS} of people, a folder, an .onnx file, or a hub's owner/name"
    )


def _trained_here(folder: Path) -> Annotator:
    from teacher.prosody import Prosody

    try:
        return Prosody.load(folder)
    except (ValueError, KeyError, TypeError, OSError, BadZipFile) as error:
        raise DistillError(f"{folder}: not a teacher made by train-teacher ({error})") from None


def _fused(folder: Path, device: str) -> Annotator:
    said = read_fusion(folder)
    members = [open_teacher(member.name, device) for member in said.members]
    for member, annotator in zip(said.members, members, strict=True):
        if annotator.card.revision != member.revision:
            raise DistillError(f"{folder}: {member.name} is another teacher now than it was fused with; fuse again")
    made = mean_of(members, said.weights)
    made.card = replace(made.card, name=folder.resolve().name)
    return made


def _checkpoint(folder: Path, card: TeacherCard, family: Family, device: str, precision: str) -> Annotator:
    from teacher.published.annotating import open_checkpoint

    return open_checkpoint(folder, card, family=family, device=device, precision=precision)


def _published_as(hub_id: str) -> Family | None:
    """The family whose published checkpoint a hub id, with or without a revision, is."""
    repository = hub_id.partition("@")[0]
    return next((family for family in FAMILIES.values() if family.card.source == repository), None)


def _recognised(folder: Path) -> Family:
    config = published.read_config(folder)
    family = next((family for family in FAMILIES.values() if family.recognises(config)), None)
    if family is None:
        raise DistillError(f"{folder / published.CONFIG}: is of none of the architectures {', '.join(FAMILIES)}")
    return family


def _local_card(folder: Path, family: Family) -> TeacherCard:
    """Of a folder only the architecture is known, and the licence that its model card names."""
    return replace(
        family.card, name=folder.resolve().name, source=folder.as_posix(), licence=published.licence_of(folder),
        data_licence=UNKNOWN, trained_on=f"not known; the architecture is that of {family.card.name}",
    )  # fmt: skip
