"""Remove a person everywhere: planned in one look, written down, then done step by step.

Every step may be done twice. What is to be done is written to a private file before the first step,
so that a kill at any moment is ended by the next run, in the same state.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_manifests.errors import AuthFaceError, InputError
from data_manifests.fsck import STATE
from data_manifests.journal import Journal, Sent
from data_manifests.ledger import enter_erasure
from data_manifests.media import Workspace
from data_manifests.person import Person, doom_of, find_person, media_named
from data_manifests.receipt import write_receipt
from data_manifests.records import ConsentEntry, Export, Tombstone
from data_manifests.rewrite import refuse_gaps, rewrite_table
from data_manifests.seen import SeenBy, held_by_version, mark_runs, runs_that_saw
from data_manifests.store import TABLES, Store
from data_manifests.tombstones import Erased, erased_in, marks_held, marks_of, open_key
from data_manifests.traces import Traces, delete_media, delete_traces, find_traces

__all__ = [
    "Answers",
    "Erased",
    "Forget",
    "Outcome",
    "Plan",
    "carry_out",
    "erased_in",
    "finish",
    "pending",
    "plan_erasure",
]

# Deletes tasks on a Label Studio: (server, project, task) triples in, those still there out.
Forget = Callable[[tuple[Sent, ...]], tuple[Sent, ...]]
# Deletes media files by name where they were uploaded to; raises RemoteError if it can't.
ForgetMedia = Callable[[tuple[str, ...]], None]


def _nowhere(names: tuple[str, ...]) -> None:
    """Media that was uploaded nowhere."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would do, found before anything is changed."""

    person: Person
    traces: Traces = field(default_factory=Traces)
    exports: tuple[str, ...] = ()  # export ids that held the person
    runs: tuple[SeenBy, ...] = ()
    unreadable_runs: tuple[str, ...] = ()
    reason: str = "subject_request"
    receipt_id: str = ""
    begun_at: str = ""
    left: Mapping[str, str] = field(default_factory=dict)  # export id -> why it was not done


@dataclass(frozen=True, slots=True)
class Answers:
    """What the exports answered, and why by export id where it was not done."""

    said: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)  # tried again by the next run
    missing: Mapping[str, str] = field(default_factory=dict)  # no folder: nothing to try again


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an erasure did: its receipt, and what it could not do."""

    plan: Plan
    receipt: Path
    facts: Mapping[str, Any]
    said: tuple[str, ...] = ()  # what the exports answered
    open_tasks: int = 0
    came_in: int = 0  # rows of the person that somebody added meanwhile

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do for this workspace."""
        return not (self.open_tasks or self.came_in or self.plan.left)


def plan_erasure(
    store: Store, place: Workspace, subject: str, *, reason: str = "subject_request"
) -> Plan:
    """Find everything about a subject; changes nothing. InputError if nothing is held."""
    person = find_person(store, subject, media=place.media)
    if not person.found:
        raise InputError(
            f"Nothing is held about a subject {subject!r}.",
            "See the subject_id column of `authface manifest show photos`.",
        )
    for name in person.copies:
        refuse_gaps(store.folder / name)
    doom = doom_of(person)
    held = held_by_version(store, doom)
    rows = store.read(Export)
    exports = [e.export_id for e in rows if held.get(e.samples_version)]
    seen, unreadable = runs_that_saw(held, place.runs)
    folders = tuple(Path(e.path) for e in rows)
    return Plan(
        person=person,
        traces=find_traces(place, person, exports=folders),
        exports=tuple(exports),
        runs=tuple(seen),
        unreadable_runs=tuple(unreadable),
        reason=reason,
        receipt_id=secrets.token_hex(8),
        begun_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def carry_out(
    store: Store,
    place: Workspace,
    plan: Plan,
    forget: Forget,
    *,
    forget_media: ForgetMedia = _nowhere,
) -> Outcome:
    """Write the plan down and do it; everything that can be done is done when this returns.

    Where it raises, the plan stands, and `finish` goes on from there.
    """
    Journal(place.root).begin(plan)
    return _do(store, place, plan, forget, forget_media)


def pending(place: Workspace) -> str:
    """One sentence on what an earlier erasure left undone, empty if nothing."""
    journal = Journal(place.root)
    if journal.file.exists():
        return "an earlier erasure was stopped before its end"
    tasks, exports = len(journal.open_tasks()), len(journal.open_exports())
    waiting = [
        *([f"{tasks} tasks of earlier erasures are still on Label Studio"] if tasks else []),
        *([f"{exports} exports of earlier erasures are still to be done"] if exports else []),
    ]
    return "; ".join(waiting)


def finish(
    store: Store, place: Workspace, forget: Forget, *, forget_media: ForgetMedia = _nowhere
) -> Iterator[Outcome | Answers | int]:
    """End what earlier runs left: yields the Outcome of one that was killed, what exports that
    were open answered, and of tasks that were open the number that still are.
    """
    journal = Journal(place.root)
    plan = journal.read(Plan)
    if plan is not None:
        yield _do(store, place, plan, forget, forget_media)
        return
    if journal.open_exports():
        yield _forget_exports(store, place, frozenset(), None)
    if journal.open_tasks():
        yield _forget_tasks(journal, (), forget)


def _do(
    store: Store, place: Workspace, plan: Plan, forget: Forget, forget_media: ForgetMedia
) -> Outcome:
    person, doom, journal = plan.person, doom_of(plan.person), Journal(place.root)
    key = open_key(store)
    _bury(store, plan, key)
    enter_erasure(store, person.of("consent"), receipt_id=plan.receipt_id)
    # The ledger before its view, or a rerun would mend the view with the consent that is to go.
    for noun in sorted(TABLES, key=lambda n: n is not ConsentEntry):
        rewrite_table(store, noun, doom, receipt_id=plan.receipt_id)
    still = media_named(store, doom)[1]
    media = tuple(m for m in person.media if m not in still)
    delete_media(place.media, media)
    (place.tables / STATE).unlink(missing_ok=True)  # a check that was stopped lists files by name
    delete_traces(plan.traces)
    mark_runs(place.runs, plan.runs, receipt_id=plan.receipt_id, erased_at=plan.begun_at)
    # What may fail comes late. The exports' cards are made from the rows that stay.
    answers = _forget_exports(store, place, person.of("sample"), plan.exports)
    forget_media(media)
    open_tasks = _forget_tasks(journal, person.sent, forget)
    came_in = sum(find_person(store, person.subject, media=place.media).rows.values())
    facts = _facts(plan, answers, open_tasks)
    receipt = write_receipt(place.root, facts, key)
    journal.end()
    done = replace(plan, left={**answers.failed, **answers.missing})
    return Outcome(done, receipt, facts, answers.said, open_tasks, came_in)


def _bury(store: Store, plan: Plan, key: bytes) -> None:
    """Tombstones before anything else: from now on the photos can't come back."""
    kinds = ("photo", "pixels", "consent", "subject")
    found = marks_of(key, ((k, v) for k in kinds for v in plan.person.of(k)))
    standing = {t.mark for t in store.read(Tombstone)}
    when = datetime.fromisoformat(plan.begun_at)
    rows = [
        Tombstone(
            mark=mark, kind=kind, reason=plan.reason, erased_at=when, receipt_id=plan.receipt_id
        )
        for mark, kind in sorted(found.items())
        if mark not in standing
    ]
    with marks_held(store):
        store.append(Tombstone, rows, why=f"tombstones of receipt {plan.receipt_id}")


def _forget_exports(
    store: Store, place: Workspace, samples: frozenset[str], known: tuple[str, ...] | None
) -> Answers:
    """Take samples, and those that earlier runs owe, out of every export; what fails stays owed.

    `known` are the exports that held the samples, none for all that owe any. Every other one is
    asked too: a killed --overwrite leaves a row that names another version than the folder holds,
    and hidden folders beside it.
    """
    journal, rows = Journal(place.root), store.read(Export)
    owed = journal.owe_exports({e.export_id: samples for e in rows})
    said: list[str] = []
    failed: dict[str, str] = {}
    missing: dict[str, str] = {}
    for export in (e for e in rows if e.export_id in owed):
        held = known is None or export.export_id in known
        answer, why = _forget_export(store, place, export, owed[export.export_id])
        if why:
            failed[export.export_id] = why
        elif held:
            said.append(answer)
            if not Path(export.path).exists():
                missing[export.export_id] = f"{export.path} is not there"
    journal.owe_only_exports({i: owed[i] for i in failed})
    return Answers(tuple(said), failed, missing)


def _forget_export(
    store: Store, place: Workspace, export: Export, samples: frozenset[str]
) -> tuple[str, str]:
    """(what the export answered, why it was not done); one of them is empty."""
    from data_manifests.export import forget as forget_export

    try:
        return forget_export(export, samples, store, place.media), ""
    except (AuthFaceError, OSError) as error:
        return "", f"{export.path}: {error}"
    except Exception as error:  # a damaged file: Arrow, tarfile and JSON raise what they like
        return "", f"{export.path}: {type(error).__name__}: {error}"


def _forget_tasks(journal: Journal, sent: tuple[Sent, ...], forget: Forget) -> int:
    """Delete tasks on their server; how many are still there, kept for the next run."""
    journal.owe(sent)
    owed = journal.open_tasks()
    still = forget(owed) if owed else ()
    journal.owe_only(still)
    return len(still)


def _facts(plan: Plan, answers: Answers, open_tasks: int) -> dict[str, Any]:
    """The receipt's words: counts and runs, and nothing that tells of the person."""
    person, traces = plan.person, plan.traces
    failed, missing = answers.failed, answers.missing
    not_done = [
        *([f"{open_tasks} tasks on Label Studio wait for their server"] if open_tasks else []),
        *([f"{len(failed)} exports could not be done and wait for the next run"] if failed else []),
        *([f"{len(missing)} exports are not where they were written"] if missing else []),
        *([f"{len(traces.named)} files of other making name the person"] if traces.named else []),
        *([f"{len(traces.busy)} files were being written"] if traces.busy else []),
        *([f"{len(plan.unreadable_runs)} runs could not be read"] if plan.unreadable_runs else []),
        *([f"{person.groups_left} identity groups show others too"] if person.groups_left else []),
    ]
    return {
        "receipt_id": plan.receipt_id,
        "begun_at": plan.begun_at,
        "reason": plan.reason,
        "photos": len(person.of("photo")),
        "rows_newest": dict(sorted(person.rows.items())),
        "rows_all_versions": dict(sorted(person.copies.items())),
        "media_files": len(person.media),
        "media_files_shared_and_kept": person.shared_media,
        "restored_files": len(traces.restored),
        "retouched_files": len(traces.returned),
        "pages": len(traces.pages),
        "caches": len(traces.caches),
        "half_written_files": len(traces.parts),
        "label_studio_tasks": len(person.sent),
        "exports": len([e for e in plan.exports if e not in failed and e not in missing]),
        "co_subjects": len(person.beside),
        "originals_untouched": len(person.originals),
        "runs": [
            {"run": r.run, "samples": r.samples, "descends_from": r.descends_from}
            for r in plan.runs
        ],
        "not_done": not_done,
    }
