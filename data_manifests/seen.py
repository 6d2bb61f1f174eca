"""Which training runs saw a person: by the samples version that each is pinned to, and by descent.

Reads what a run wrote about itself (runs/<name>/config.json); makes no claim about models that left
the workspace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_manifests.log import commits
from data_manifests.media import write_atomic
from data_manifests.person import samples_by_file
from data_manifests.scrub import Doom
from data_manifests.store import Store

__all__ = ["MARK", "SeenBy", "held_by_version", "mark_runs", "runs_that_saw"]

MARK = "contains_erased.json"


@dataclass(frozen=True, slots=True)
class SeenBy:
    """A run that saw the person: how many samples its version held, or the run it descends from."""

    run: str
    kind: str
    samples_version: int | None
    samples: int
    descends_from: str | None = None
    checkpoints: tuple[str, ...] = ()


def runs_that_saw(held: Mapping[int, int], runs: Path) -> tuple[list[SeenBy], list[str]]:
    """(runs that saw the person, in the order of their names; runs that can't be read).

    `held` is what `held_by_version` says, asked before the rows are erased.
    """
    records: dict[str, dict[str, Any]] = {}
    unreadable: list[str] = []
    for file in sorted(runs.glob("*/config.json")):
        try:
            records[file.parent.name] = dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            unreadable.append(file.parent.name)
    found: dict[str, SeenBy] = {}
    for name, record in records.items():
        version = (record.get("tables") or {}).get("samples")
        count = held.get(version, 0) if isinstance(version, int) else 0
        if count:
            found[name] = _seen(runs, name, record, count, None)
    grown = True
    while grown:
        grown = False
        for name, record in records.items():
            parent = _parent(name, record, found, runs)
            if name not in found and parent is not None:
                found[name] = _seen(runs, name, record, 0, parent)
                grown = True
    return [found[name] for name in sorted(found)], unreadable


def mark_runs(runs: Path, seen: Iterable[SeenBy], *, receipt_id: str, erased_at: str) -> None:
    """Write into each run's folder that it saw something since erased; once for a receipt."""
    for one in seen:
        file = runs / one.run / MARK
        if not file.parent.is_dir():
            continue
        told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"erasures": []}
        if any(e["receipt_id"] == receipt_id for e in told["erasures"]):
            continue
        facts = asdict(one) | {"receipt_id": receipt_id, "erased_at": erased_at}
        told["erasures"].append(facts)
        write_atomic(file, (json.dumps(told, indent=2) + "\n").encode())


def held_by_version(store: Store, doom: Doom) -> dict[int, int]:
    """How many of the person's samples each version of the samples table held."""
    by_file = samples_by_file(store, doom)
    live: set[str] = set()
    held: dict[int, int] = {}
    for commit in commits(store.folder / "samples"):
        live = (live - set(commit.removed)) | set(commit.added)
        held[commit.version] = sum(by_file.get(name, 0) for name in live)
    return held


def _parent(
    name: str, record: Mapping[str, Any], found: Mapping[str, SeenBy], runs: Path
) -> str | None:
    """The run that this one was trained on top of, if it saw the person: by place or by bytes."""
    base = Path(str(record.get("base") or ""))
    for other in found:
        if other == name:
            continue
        if base.is_relative_to(runs / other) or base.resolve().is_relative_to(
            (runs / other).resolve()
        ):
            return other
        wanted = record.get("base_sha256")
        if wanted and wanted == _model_sha256(runs / other / "model"):
            return other
    return None


def _model_sha256(model: Path) -> str | None:
    try:
        facts = json.loads((model / "authface.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts.get("model_sha256") if isinstance(facts, dict) else None


def _seen(
    runs: Path, name: str, record: Mapping[str, Any], count: int, parent: str | None
) -> SeenBy:
    version = (record.get("tables") or {}).get("samples")
    steps = sorted(p.name for p in (runs / name / "checkpoints").glob("step-*"))
    model = ["model"] if (runs / name / "model").is_dir() else []
    model += sorted(f"exports/{p.name}" for p in (runs / name / "exports").glob("step-*"))
    return SeenBy(
        run=name,
        kind=str(record.get("kind", "")),
        samples_version=version if isinstance(version, int) else None,
        samples=count,
        descends_from=parent,
        checkpoints=(*steps, *model),
    )
