"""Everything held about a person, as plain values: the answer to a request for access."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from data_manifests.erase import Plan
from data_manifests.media import Workspace
from data_manifests.person import doom_of
from data_manifests.scrub import doomed_rows
from data_manifests.store import TABLES, Store
from data_manifests.traces import path_text

__all__ = ["holdings"]


def holdings(store: Store, place: Workspace, plan: Plan) -> dict[str, Any]:
    """The person's newest rows by table, media files, originals and runs, ready for JSON."""
    person, doom = plan.person, doom_of(plan.person)
    rows: dict[str, Any] = {}
    for noun, name in TABLES.items():
        if person.rows.get(name) and name != "consent_ledger":
            table = store.table(noun)
            rows[name] = table.filter(doomed_rows(name, table, doom)).to_pylist()
    return {
        "subject": person.subject,
        "rows": _readable(rows),
        "rows_in_all_versions": dict(person.copies),
        "media": [str(place.media / m) for m in person.media],
        "originals": list(person.originals),
        "label_studio_tasks": [list(t) for t in person.sent],
        "exports": list(plan.exports),
        "runs": [asdict(r) for r in plan.runs],
        "other_files": [path_text(p) for p in (*plan.traces.doomed, *plan.traces.named)],
    }


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _readable(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_readable(v) for v in value]
    return value.isoformat() if isinstance(value, datetime) else value
