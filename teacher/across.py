"""Teachers side by side on several corpora: a comparison on each, and one table of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.evaluation.answering import Recordings
from distill.evaluation.truth import read_rated
from distill.files import write_json, write_text
from teacher.comparing import CATEGORY, compare, open_all
from teacher.comparison_table import across_as_table


def compare_across(
    teachers: Sequence[str],
    *,
    truths: Sequence[str | Path],
    output: str | Path,
    audio: Sequence[str | Path] = (),
    where: Mapping[str, str] | None = None,
    device: str = "auto",
    seed: int = 0,
    describe: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Compare teachers on several truths: into `output` a folder a truth, as `compare_teachers` writes it, and
    `corpora.json` and `corpora.md`.

    audio: where the recordings are, of each truth, or of all; where: of every truth. The rest: as `compare_teachers`.

    Returns {corpora: {corpus: {truth, audio, n, failed}}, teachers: {name: {corpus: {ccc: {axis: {value, low, high}},
    uar: {column: {value, low, high}}}}}}; an axis that one side lacks is left out.

    Raises:
        DistillError: as `compare_teachers`, of any of the truths, or neither as many `audio` as truths nor one.
    """
    output = Path(output)
    rated = [read_rated(Path(truth), where, or_column=CATEGORY) for truth in truths]
    below = roots(audio, len(truths))
    recordings = [Recordings(one.path, root) for one, root in zip(rated, below, strict=True)]
    opened = open_all(teachers, device)
    found = {
        name: compare(opened, one, heard, output / name, seed=seed, describe=describe)
        for name, one, heard in zip(corpus_names(truths, below), rated, recordings, strict=True)
    }
    result = {
        "corpora": {
            name: {"truth": of["truth"], "audio": str(heard.root), "n": of["n"], "failed": of["failed"]}
            for (name, of), heard in zip(found.items(), recordings, strict=True)
        },
        "teachers": {
            teacher: {
                name: {kind: of["teachers"][teacher][kind] for kind in ("ccc", "uar")} for name, of in found.items()
            }
            for teacher in opened
        },
    }
    write_text(output / "corpora.md", across_as_table(result))
    write_json(output / "corpora.json", result)
    return result


def roots(audio: Sequence[str | Path], truths: int) -> list[Path | None]:
    """The folder of the recordings of each truth.

    >>> roots(["recordings"], 2), roots([], 1)
    ([PosixPath('recordings'), PosixPath('recordings')], [None])

    Raises:
        DistillError: neither none, nor one, nor one a truth.
    """
    if not audio:
        return [None] * truths
    if len(audio) not in (1, truths):
        raise DistillError(f"{truths} times --truth and {len(audio)} times --audio: give one for all, or one for each")
    return [Path(root) for root in (audio if len(audio) == truths else [*audio] * truths)]


def corpus_names(truths: Sequence[str | Path], roots: Sequence[Path | None]) -> list[str]:
    """What the truths are called: by their files; where these are alike by their folders, by those of the recordings,
    or by numbers.

    >>> corpus_names(["emodb.csv", "one/ratings.csv", "two/ratings.csv"], [None, None, None])
    ['emodb', 'one', 'two']
    >>> corpus_names(["ratings.csv", "ratings.csv"], [Path("near"), Path("far")])
    ['near', 'far']
    """
    places = [Path(truth).resolve() for truth in truths]
    said = [
        (place.name if place.is_dir() else place.stem, place.parent.name, "" if root is None else root.name)
        for place, root in zip(places, roots, strict=True)
    ]
    often = [Counter(names) for names in zip(*said, strict=True)]
    chosen = [next((name for name, of in zip(own, often, strict=True) if of[name] == 1), "") for own in said]
    return [
        name if name and chosen.count(name) == 1 else f"{own[0]}-{number}"
        for number, (name, own) in enumerate(zip(chosen, said, strict=True), 1)
    ]
