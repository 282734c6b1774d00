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

    Returns {corpora: {corpus: {truth, n, failed}}, teachers: {name: {corpus: {axis: {value, low, high}, uar}}}};
    an axis that one side lacks is left out.

    Raises:
        DistillError: as `compare_teachers`, of any of the truths, or neither as many `audio` as truths nor one.
    """
    output = Path(output)
    rated = [read_rated(Path(truth), where, or_column=CATEGORY) for truth in truths]
    recordings = [Recordings(one.path, root) for one, root in zip(rated, roots(audio, len(truths)), strict=True)]
    opened = open_all(teachers, device)
    found = {
        name: compare(opened, one, heard, output / name, seed=seed, describe=describe)
        for name, one, heard in zip(corpus_names(truths), rated, recordings, strict=True)
    }
    result = {
        "corpora": {name: {key: of[key] for key in ("truth", "n", "failed")} for name, of in found.items()},
        "teachers": {
            teacher: {name: _scores(of["teachers"][teacher]) for name, of in found.items()} for teacher in opened
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


def corpus_names(truths: Sequence[str | Path]) -> list[str]:
    """What the truths are called: by their files; where these are alike, by their folders; else with numbers.

    >>> corpus_names(["emodb.csv", "one/ratings.csv", "two/ratings.csv", "two/ratings.jsonl"])
    ['emodb', 'one', 'ratings-3', 'ratings-4']
    """
    places = [Path(truth).resolve() for truth in truths]
    stems, folders = [place.name if place.is_dir() else place.stem for place in places], [p.parent.name for p in places]
    by_stem, by_folder = Counter(stems), Counter([*stems, *folders])
    return [
        stem if by_stem[stem] == 1 else folder if by_folder[folder] == 1 else f"{stem}-{number}"
        for number, (stem, folder) in enumerate(zip(stems, folders, strict=True), 1)
    ]


def _scores(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one["ccc"], "uar": one["uar"]}
