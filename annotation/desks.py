"""Who is asked about which photo where each photographer has a desk: a project of their own.

Label Studio shows everybody all answers of a project, so blind overlap needs a project a person.
Pure: a photo's desks come from hashes of its id and their names alone (highest random weight,
Thaler and Ravishankar, 1998): the same whenever new photos come, and evenly spread.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from annotation.tasks import task_key
from data_manifests.records import Photo, Task

__all__ = ["desk_key", "desk_tasks", "desks_of"]


def desks_of(photo_id: str, desks: Iterable[str], overlap: int) -> tuple[str, ...]:
    """The `overlap` desks that see a photo, the first choice first.

    A desk more takes its even share from all others; the rest stays where it is.
    """
    ranked = sorted(desks, key=lambda desk: _weight(photo_id, desk), reverse=True)
    return tuple(ranked[:overlap])


def desk_key(photo_id: str, desk: str, kind: str = "triage", round_: int = 1) -> str:
    """Key of a question at a desk; at none that of the question which all share."""
    return ":".join([task_key(photo_id, kind, round_), *([desk] if desk else [])])


def desk_tasks(
    photos: Iterable[Photo], asked: Mapping[str, Task], desks: Sequence[str], overlap: int
) -> Iterator[Task]:
    """Waiting Tasks until every kept photo was asked about at `overlap` desks, never twice at one.

    What was asked before counts, at a desk that is gone or in the shared project too: so a new desk
    gets new photos, and a larger overlap adds to the old.
    """
    standing: dict[str, set[str]] = defaultdict(set)
    for task in asked.values():
        if task.kind == "triage" and task.round == 1:
            standing[task.photo_id].add(task.desk)
    for photo in photos:
        if photo.state != "kept" or not photo.proxy_path:
            continue
        seen_at = standing[photo.photo_id]
        free = [desk for desk in desks if desk not in seen_at]
        for desk in desks_of(photo.photo_id, free, max(overlap - len(seen_at), 0)):
            yield _task(photo, desk)


def _weight(photo_id: str, desk: str) -> bytes:
    return hashlib.sha256(f"{photo_id}\0{desk}".encode()).digest()


def _task(photo: Photo, desk: str) -> Task:
    return Task(
        task_key=desk_key(photo.photo_id, desk),
        photo_id=photo.photo_id,
        kind="triage",
        state="waiting",
        image_path=photo.proxy_path or "",
        image_width=photo.proxy_width,
        image_height=photo.proxy_height,
        desk=desk,
    )
