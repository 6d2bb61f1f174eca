"""What was never asked before: triage of new photos, what people disagree on, what to retouch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from annotation.adjudicate import adjudication_tasks
from annotation.config import AnnotateConfig
from annotation.desks import desk_tasks
from annotation.form import Form
from annotation.tasks import retouch_tasks, triage_tasks
from data_manifests.consent import refusal
from data_manifests.ledger import read_view
from data_manifests.records import Annotation, Consensus, Face, Photo, Retouch, Task
from data_manifests.store import Store

__all__ = ["PURPOSE", "Asking", "new_questions"]

PURPOSE = "annotation"  # what a photo's consent must cover before people look at it


@dataclass(frozen=True, slots=True)
class Asking:
    """What finding new questions needs."""

    store: Store
    config: AnnotateConfig
    triage: Form
    photos: Mapping[str, Photo]
    faces: Mapping[str, list[Face]]

    def questions(self, ledger: Mapping[str, Task]) -> Iterator[Task]:
        """Questions never asked before: triage, conflicts, and what is to be retouched."""
        desks, photos = self.config.desks, self.photos.values()
        if desks:
            yield from desk_tasks(photos, ledger, desks, self.config.overlap)
        else:
            yield from triage_tasks(photos, ledger, self.faces)
        settled = self.store.read(Consensus)
        open_ = sorted(c.photo_id for c in settled if c.conflict)
        yield from adjudication_tasks(
            settled,
            ledger.values(),
            self.store.rows_with(Annotation, "photo_id", open_) if open_ else (),
            wanted=self.config.answers_wanted,
            form=self.triage,
            voters_may_settle=self.config.voters_may_settle,
        )
        yield from retouch_tasks(
            settled, self.photos, ledger, rounds=_rounds(self.store), faces=self.faces
        )


def new_questions(asking: Asking, ledger: Mapping[str, Task]) -> tuple[list[Task], dict[str, int]]:
    """New questions, and how many photos a consent keeps from being asked about.

    A photo without a consent may be looked at here: who made it decides with their own people. One
    whose consent says what it is good for is asked about only if annotation is among it.
    """
    consents, now = read_view(asking.store), datetime.now(UTC)
    fresh: list[Task] = []
    against: dict[str, set[str]] = defaultdict(set)
    for task in asking.questions(ledger):
        photo = asking.photos.get(task.photo_id)
        consent_id = photo.consent_id if photo else None
        why = refusal(consents.get(consent_id), PURPOSE, now) if consent_id else None
        if why is None:
            fresh.append(task)
        else:
            against[why].add(task.photo_id)
    return fresh, {why: len(against[why]) for why in sorted(against)}


def _rounds(store: Store) -> dict[str, int]:
    """The retouch round that each photo with a returned file is in: the next one after a fix."""
    last: dict[str, Retouch] = {}
    for one in store.read(Retouch):
        if one.photo_id not in last or one.round > last[one.photo_id].round:
            last[one.photo_id] = one
    return {p: r.round + (r.state == "fix") for p, r in last.items()}
