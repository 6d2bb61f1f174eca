"""What answers move in the tables: questions that are answered by now, and where photos stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from annotation.answered import FROM_FILES, Wanted, needless, reconciled
from annotation.standing import standings
from data_manifests.records import Annotation, Consensus, Photo, Retouch, Standing, Task
from data_manifests.store import Commit, Store

__all__ = ["answered_in_files", "moved_tasks", "write_standings"]


def answered_in_files(
    store: Store, ledger: Mapping[str, Task], wanted: Wanted
) -> tuple[list[Task], frozenset[str]]:
    """Rows of the ledger that answers from files have moved, and keys that nobody need be asked."""
    photos = {a.photo_id for a in store.rows_with(Annotation, "source", FROM_FILES)}
    if not photos:
        return [], frozenset()
    answers = store.rows_with(Annotation, "photo_id", sorted(photos))
    asked = [t for t in ledger.values() if t.photo_id in photos]
    changed = {t.task_key: t for t in reconciled(asked, answers, wanted)}
    now = [changed.get(t.task_key, t) for t in asked]
    return list(changed.values()), needless(now, answers, wanted)


def moved_tasks(
    store: Store,
    photos: Collection[str],
    answers: Iterable[Annotation],
    wanted: Wanted,
    *,
    newer: Sequence[Task] = (),
) -> list[Task]:
    """The rows to write of all questions about these photos; `newer` are among them.

    `answers` are all about these photos, `newer` rows that take the place of those in the tables.
    """
    rows = {t.task_key: t for t in store.rows_with(Task, "photo_id", sorted(photos))}
    rows |= {t.task_key: t for t in newer}
    changed = {t.task_key: t for t in reconciled(rows.values(), answers, wanted)}
    return list(({t.task_key: t for t in newer} | changed).values())


def write_standings(
    store: Store,
    photos: Collection[str],
    why: str,
    *,
    tasks: Iterable[Task] = (),
    retouches: Sequence[Retouch] | None = None,
) -> Commit:
    """Where these photos stand now; `tasks` and `retouches` are newer than those in the tables.

    The first time every photo gets its row: a table with some of them would hide the others.
    """
    if store.version(Standing) is None:
        photos = [p.photo_id for p in store.read(Photo)]
        retouches = None
    ids = sorted(photos)
    asked = {t.task_key: t for t in store.rows_with(Task, "photo_id", ids)}
    asked |= {t.task_key: t for t in tasks}
    stands = standings(
        store.rows_with(Photo, "photo_id", ids),
        store.rows_with(Consensus, "photo_id", ids),
        store.rows_with(Retouch, "photo_id", ids) if retouches is None else retouches,
        asked.values(),
        earlier=store.rows_with(Standing, "photo_id", ids),
        now=datetime.now(UTC),
    )
    return store.upsert(Standing, stands, why=why)
