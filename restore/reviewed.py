"""What people said of restored faces, read back from the answers that a pull brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from data_manifests.records import Annotation, Photo, Task
from data_manifests.store import Store

__all__ = ["RESTORED_FACE", "Reviewed", "reviewed", "reviews_text"]

RESTORED_FACE = "restored face"  # begins a question, or follows the name of a file not ingested


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One person's answer about a photo's doubtful restored face."""

    photo_id: str
    round: int
    decision: str  # approve, fix or reject
    reasons: tuple[str, ...] = ()
    note: str = ""
    name: str = ""  # of the photo's file, where that is known


def reviewed(store: Store) -> list[Reviewed]:
    """The counted answers about restored faces, by photo and round.

    They are about the picture that was shown, and change neither a photo's standing nor what it was
    agreed to be: a restored face is no retouch and never becomes a sample.
    """
    tasks = store.read(Task)
    about = {t.task_key: t for t in tasks if t.kind == "review" and t.retouch_id is None}
    names = {photo.photo_id: PurePath(photo.path).name for photo in store.read(Photo)}
    said = [
        Reviewed(
            photo_id=about[a.task_key].photo_id,
            round=about[a.task_key].round,
            decision=a.decision or "",
            reasons=tuple(a.reasons),
            note=a.note or "",
            name=names.get(a.photo_id) or _named(about[a.task_key].note or ""),
        )
        for a in store.read(Annotation)
        if a.task_key in about and a.state == "counted" and not a.ground_truth and a.decision
    ]
    return sorted(said, key=lambda one: (one.photo_id, one.round))


def _named(question: str) -> str:
    """The file's name in a question about a photo that was not ingested; see `ask_about`."""
    name, found, _ = question.partition(f", {RESTORED_FACE}: ")
    return name if found else ""


def reviews_text(answers: Iterable[Reviewed]) -> str:
    """One line for people, empty if nobody answered."""
    listed = list(answers)
    decisions = Counter(one.decision for one in listed)
    reasons = Counter(reason for one in listed for reason in one.reasons)
    words = {"approve": "approved", "fix": "to be done again", "reject": "rejected"}
    said = ", ".join(f"{decisions[d]} {word}" for d, word in words.items() if decisions[d])
    why = ", ".join(f"{reason} {count}x" for reason, count in reasons.most_common(3))
    return said + (f" ({why})" if why else "")
