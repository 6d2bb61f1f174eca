"""Every version of the answers about a photo that was ever pulled, from the table's versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authface import console
from authface.cells import cell, moment, plain

if TYPE_CHECKING:
    from data_manifests.changes import RowChange
    from data_manifests.records import Annotation
    from data_manifests.store import Store

__all__ = ["Step", "show_history", "steps"]

SHORTEST = 6  # digits of a photo's id that are enough, if they are the only such
LINE = 90  # characters of a value
# What the server's JSON holds is told by the columns made from it.
_UNTOLD = {"raw", "updated_at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one answer: `kind` is added, changed or removed; fields are (path, old, new).

    `answered_at` is the server's time of the answer as it then was.
    """

    version: int
    at: datetime
    why: str
    kind: str
    annotation_id: str
    task_key: str
    annotator: str
    edited_by: str | None
    answered_at: datetime | None
    fields: tuple[tuple[str, Any, Any], ...] = ()


def steps(store: Store, name: str) -> Iterator[Step]:
    """Changes of the answers that are meant, the oldest first.

    `name` is an answer's id, or a photo's id (its first digits are enough), its path, or the end of
    that, such as the file's name. Versions that are gone, as after an erasure, are passed over.
    Raises InputError if nothing or more than one photo is meant, ManifestError if nobody has
    answered yet.
    """
    from data_manifests.changes import history
    from data_manifests.records import Annotation

    versions = history(store, Annotation)
    known = list(_all_steps(store, versions))
    meant = _meant(store, name, {s.annotation_id: s.task_key.split(":")[0] for s in known})
    yield from (
        s for s in known if meant in (s.annotation_id, s.task_key.split(":", maxsplit=1)[0])
    )


def show_history(store: Store, name: str, *, as_json: bool = False) -> None:
    """Print the steps, by version."""
    found = list(steps(store, name))
    if as_json:
        console.data([plain(asdict(step)) for step in found])
        return
    last = None
    for step in found:
        if step.version != last:
            when = moment(step.at.replace(microsecond=0))
            console.heading(f"annotations@{step.version}  {when}  {console.one_line(step.why)}")
            last = step.version
        _print_step(step)


def _all_steps(store: Store, versions: Any) -> Iterator[Step]:
    from data_manifests.changes import changes
    from data_manifests.errors import ManifestError
    from data_manifests.records import Annotation

    before: int | None = None
    for one in versions:
        try:
            if before is None:
                rows = store.read(Annotation, version=one.upto)
                yield from (_step(one, "added", a, ()) for a in rows)
            else:
                yield from (_changed(one, c) for c in changes(store, Annotation, before, one.upto))
        except ManifestError:  # vacuumed: what was in it shows in the next version that is left
            continue
        before = one.upto


def _changed(version: Any, change: RowChange) -> Step:
    told = tuple((f.path, f.old, f.new) for f in change.fields if f.path not in _UNTOLD)
    return _step(version, change.kind, change.record, told)


def _step(
    version: Any, kind: str, answer: Annotation, fields: tuple[tuple[str, Any, Any], ...]
) -> Step:
    if kind == "added":
        fields = tuple(_told(answer))
    return Step(
        version=version.version,
        at=version.at,
        why=version.why,
        kind=kind,
        annotation_id=answer.annotation_id,
        task_key=answer.task_key,
        annotator=answer.annotator,
        edited_by=answer.edited_by,
        answered_at=answer.updated_at,
        fields=fields,
    )


def _told(answer: Annotation) -> Iterator[tuple[str, Any, Any]]:
    """What a new answer says, and whether it counts."""
    names = ("state", "flags", "decision", "reasons", "rating", "caption", "note")
    for name in (*names, "semantic_tags", "photographic_tags"):
        if value := getattr(answer, name):
            yield name, None, value
    if answer.regions:
        yield "regions", None, tuple(r.label for r in answer.regions)


def _meant(store: Store, name: str, photo_of: dict[str, str]) -> str:
    """The answer's or photo's id that a name stands for."""
    from data_manifests.errors import InputError
    from data_manifests.records import Photo

    if name in photo_of:
        return name
    file = str(Path(name).absolute())
    photos = store.read(Photo)
    found = {p.photo_id for p in photos if {name, file} & {p.path, *p.copies}}
    if not found:  # every list and form shows the plain file name
        ends = f"/{name}"
        found = {p.photo_id for p in photos if any(f.endswith(ends) for f in (p.path, *p.copies))}
    digits = {p for p in photo_of.values() if len(name) >= SHORTEST and p.startswith(name)}
    meant = sorted(found | digits)
    if len(meant) == 1:
        return meant[0]
    if meant:
        listed = ", ".join(photo[:16] for photo in meant[:5])
        raise InputError(
            f"{name!r} may be any of {len(meant)}: {listed}.", "Give more of the path or the id."
        )
    raise InputError(
        f"No answered photo and no answer is called {name!r}.",
        f"Give a photo's id (its first {SHORTEST} digits or more), path or name, or an answer's id"
        " as the history prints it.",
    )


def _print_step(step: Step) -> None:
    from annotation.agreement import asked_in_round
    from annotation.roles import asked_as

    signs = {"added": "+", "changed": "~", "removed": "-"}
    kind, *where = step.task_key.split(":")[1:]
    kind = asked_as(kind, asked_in_round(step.task_key))
    round_ = f" round {where[0]}" if where else ""
    desk = f" at {where[1]}" if len(where) > 1 and where[1] else ""
    edited = f", last changed by {step.edited_by}" if step.edited_by else ""
    when = f", {moment(step.answered_at.replace(microsecond=0))}" if step.answered_at else ""
    console.say(
        f"{signs[step.kind]} {step.annotation_id} of {step.annotator}: {kind}{round_}{desk}"
        f"{edited}{when}"
    )
    for path, old, new in step.fields:
        value = cell(_plain(new), width=LINE) or "(nothing)"
        before = (
            "" if step.kind == "added" else f"{cell(_plain(old), width=LINE) or '(nothing)'} -> "
        )
        console.say(f"    {path}: {before}{value}")
    if step.kind == "changed" and not step.fields:
        console.say("    submitted again, the same")


def _plain(value: Any) -> Any:
    from dataclasses import is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
