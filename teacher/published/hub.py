"""A checkpoint's folder: as given, from the cache of the hub's library, or downloaded once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.progress import say
from teacher.patience import in_time
from teacher.published.folder import CONFIG, INDEX, MODEL_CARD, PREPROCESSOR, WEIGHTS, is_whole

#: owner/name, and after an @ a branch, tag or commit.
_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

#: What there is besides, where a teacher was asked for.
_INSTEAD = "the bundled teacher (--teacher prosody), or a folder with the checkpoint (--teacher FOLDER)"

#: Without an answer from the hub within this time there is none (seconds).
PATIENCE = 4.0


def is_hub_id(name: str) -> bool:
    """Whether `name` reads as a hub id.

    >>> is_hub_id("3loi/SER-Odyssey"), is_hub_id("owner/name@v1"), is_hub_id("odyssey"), is_hub_id("../folder/x")
    (True, True, False, False)
    """
    return _ID.fullmatch(name) is not None and not name.startswith(".")


def fetch(hub_id: str, *, beside: Sequence[str] = (), instead: str = _INSTEAD) -> tuple[Path, str]:
    """The folder of a hub id's checkpoint and the commit it was resolved to; offline once it was downloaded.

    beside: files that are wanted, too, where they are there. instead: what can be given where the hub is out of reach.

    Raises:
        DistillError: it is not in the cache and the hub cannot be reached, or knows no such thing.
    """
    given = _ID.fullmatch(hub_id)
    assert given is not None, hub_id
    cached = _cached(given["repository"], given["revision"])
    folder = cached or _downloaded(given["repository"], given["revision"], beside, instead)
    return folder, folder.name


def _cached(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True, allow_patterns=CONFIG))
    except Exception:  # each release has other types for "not there"
        return None
    return folder if is_whole(folder) else None  # an interrupted download leaves a part


def _downloaded(repository: str, revision: str | None, beside: Sequence[str], instead: str) -> Path:
    from huggingface_hub import snapshot_download

    found = _resolved(repository, revision, instead)  # first: what is recorded is a commit, and no hub is known at once
    names = {entry.rfilename for entry in found.siblings or ()}
    wanted = [*_wanted(repository, names), *(name for name in beside if name in names)]
    say(f"downloading {repository} at {found.sha} (once; it is kept for later)")
    try:
        return Path(snapshot_download(repository, revision=found.sha, allow_patterns=wanted))
    except Exception as error:  # the library's transport has types of its own
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise DistillError(f"{repository}: the download broke off ({reason}); run it again, it goes on") from None


def _resolved(repository: str, revision: str | None, instead: str) -> Any:
    """What the hub says of a model: the commit (`sha`) and its files (`siblings`)."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return in_time(lambda: HfApi().model_info(repository, revision=revision, timeout=PATIENCE), PATIENCE)
    except GatedRepoError:
        raise DistillError(
            f"{repository}: its licence has to be accepted on the hub's page first; then set HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise DistillError(f"{repository}{f'@{revision}' if revision else ''}: the hub knows no such model") from None
    except Exception:  # the library's transport has types of its own
        raise DistillError(
            f"{repository}: no folder of that name, not downloaded yet, and the hub cannot be reached; "
            f"there is {instead}"
        ) from None


def _wanted(repository: str, names: set[str]) -> list[str]:
    """What a checkpoint consists of. Code is never among it."""
    weights = next((name for name in WEIGHTS if name in names), None)
    if weights is None:
        raise DistillError(f"{repository}: has no weights to be read ({' or '.join(WEIGHTS)})")
    beside = [name for name in (PREPROCESSOR,) if name in names]
    return [CONFIG, MODEL_CARD, *beside, weights, *(["model-*.safetensors"] if weights == INDEX else [])]
