"""What a model's card is made of, counted from the tables and read from the run's folder.

It stands in authface.json beside the model, so it holds numbers, versions and settings and nothing
that names somebody: no path, no person, no photographer, no words of a consent or licence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from data_manifests.card import About, Card, describe
from data_manifests.card_page import KNOWN_LICENCES
from data_manifests.config import flat
from data_manifests.seen import MARK
from training.bases import base_model, folder_facts
from training.journal import read_journal

if TYPE_CHECKING:
    from training.run import Run

__all__ = ["EVALUATION", "base_licence", "card_facts"]

EVALUATION = "evaluation.json"  # in the run's folder, as `authface evaluate --out` writes it
_LAST = 100  # steps whose losses are averaged
_WHO = ("gender", "age", "age_group")  # questions whose answers are counted
# Where a base has no card beside it. Sources: the publishers' model cards.
_LICENCES = {"stabilityai/stable-diffusion-xl-base-1.0": "openrail++"}


def card_facts(run: Run[Any], step: int) -> dict[str, Any]:
    """The run's facts with all that its model's card says, after `step` steps; made of JSON."""
    under = folder_facts(run.base)
    found: dict[str, Any] = {
        **run.facts,
        "trained_steps": step,
        "of_steps": run.config.steps,
        "licence": base_licence(run.base),
        "data": _data(run),
        "settings": _settings(run.record["config"]),
        "losses": _losses(run.folder, step),
        "saw_erased": (run.folder / MARK).is_file(),
    }
    if under.get("kind") == "prior":
        kept = ("trained_steps", "samples", "table_versions", "data", "saw_erased")
        found["prior"] = {key: under[key] for key in kept if key in under}
    scores = _evaluation(run.folder / EVALUATION)
    return found | ({"evaluation": scores} if scores else {})


def base_licence(base: Path) -> dict[str, str]:
    """What a base's own card says of its licence: `license` and, where given, its name and link."""
    keys = ("license", "license_name", "license_link")
    path = base / "README.md"
    if path.is_file():
        from huggingface_hub import ModelCard

        text = path.read_text(encoding="utf-8", errors="replace")
        data = ModelCard(text, ignore_metadata_errors=True).data
        told = {key: str(value) for key in keys if (value := data.get(key))}
        if told.get("license", "unknown") != "unknown":
            return told
    known = _LICENCES.get(base_model(base) or "")
    return {"license": known} if known else {}


def _data(run: Run[Any]) -> dict[str, Any]:
    """The samples and what stands behind them, from the newest tables."""
    version = run.record["tables"]["samples"]
    card = describe(run.store, run.samples, About(run.kind, version))
    kept = (
        "samples photos people photographers consents minors reviewers answers voters_per_photo"
        " agreement native_px eyes_px versions erased"
    )
    samples = run.samples
    return {
        **{name: _plain(getattr(card, name)) for name in kept.split()},
        "retouched": sum(s.retouch_id is not None for s in samples),
        "described": sum(bool(s.annotation_ids) for s in samples),
        "licences": _licences(card),
        "bases": dict(card.counts.get("Consent: basis", {})),
        "purposes": dict(card.counts.get("Consent: purposes", {})),
        "who": {q: dict(card.counts[f"Tag: {q}"]) for q in _WHO if f"Tag: {q}" in card.counts},
        "gates": [asdict(gate) for gate in card.gates],
    }


def _licences(card: Card) -> dict[str, int]:
    """Licences known by name; any other is somebody's own words."""
    counts: Counter[str] = Counter()
    for name, count in card.counts.get("Licences", {}).items():
        known = name.lower() in KNOWN_LICENCES or name == "not stated"
        counts[name if known else "other terms"] += count
    return dict(counts.most_common())


def _losses(folder: Path, step: int) -> dict[str, Any]:
    """Means over the last steps: of the loss and of each part, where it had a say."""
    rows = [row for row in read_journal(folder) if row["step"] <= step][-_LAST:]
    if not rows:
        return {}
    parts = dict.fromkeys(name for row in rows for name in row["parts"])
    means = {name: fmean(_values(name, (r["parts"] for r in rows))) for name in parts}
    return {
        "first": rows[0]["step"],
        "last": rows[-1]["step"],
        "means": {"loss": fmean(row["loss"] for row in rows), **means},
    }


def _evaluation(path: Path) -> dict[str, Any]:
    """Means of what an evaluation of this run measured; empty if there is none that can be read."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        scores, metrics = report["scores"], list(report["metrics"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = {name: _values(name, scores) for name in metrics}
    means = {name: fmean(values) for name, values in found.items() if values}
    made_by = {name: str(report["metrics"][name]) for name in means}
    return {"pictures": len(scores), "means": means, "made_by": made_by} if means else {}


def _values(name: str, rows: Iterable[Mapping[str, Any]]) -> list[float]:
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names, but for the base, which may be a path of this machine."""
    return {name: value for name, value in flat(values) if name != "base"}


def _plain(value: Any) -> Any:
    """Mappings and tuples as JSON would give them back."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
