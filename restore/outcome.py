"""What was done to a photo and each face in it, and the JSON file that says so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_manifests.records import Box, Point
from restore.config import RestoreConfig
from restore.model import ModelFacts
from restore.provenance import creator_tool

__all__ = ["GOOD", "NOT_ASKED", "FaceReport", "Outcome", "read_sidecar", "sidecar_of"]

FORMAT = "authface-restoration/1"
_ABOUT = "Faces in the output were made by a model: they are guesses, not evidence."
_ABOUT_NONE = "No face was restored, so that no picture was written."
NOT_ASKED = "it was not asked for"
GOOD = "good already"  # how the reason begins of a face that is left because it needs nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceReport:
    """One face: where it is and what became of it."""

    index: int
    box: Box
    landmarks: tuple[Point, ...]
    score: float | None
    status: str  # restored, skipped or failed
    reason: str = ""
    scale: float | None = None  # model pixels per photo pixel
    seed: int | None = None
    steps: int | None = None
    matrix: tuple[float, ...] = ()  # 2x3, row by row, from photo to model pixels
    fidelity: float | None = None  # the one it was restored with; the guard may have raised it
    blend: float | None = None  # share of the restored face; the rest is the input
    identity: float | None = None  # cosine of face vectors before and after, where measured
    landmark_shift: float | None = None  # mean, in eye distances
    drift: float | None = None  # disagreement with the input at the input's own resolution
    spread: float | None = None  # how far several seeds lie apart, CIELAB
    note: str = ""  # what was done beyond a plain restoration
    doubt: str = ""  # why a person should look at it

    @property
    def good(self) -> bool:
        """True if it was left because it needs no restoration."""
        return self.reason.startswith(GOOD)

    @property
    def as_wished(self) -> bool:
        """True if it was restored, needs nothing, or was not asked for."""
        return self.status == "restored" or self.reason == NOT_ASKED or self.good


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One photo: restored, partly (some faces were not), good (none needs it), nothing, failed."""

    source: Path
    target: Path
    status: str
    problem: str = ""
    faces: tuple[FaceReport, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    input_sha256: str = ""
    output_sha256: str | None = None
    finder: str = ""
    model: ModelFacts | None = None
    key: str = ""  # what decided the output besides the input; see resume.py
    not_measured: tuple[str, ...] = ()  # of likeness, and why
    resumed: bool = False  # an earlier run made it

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.status == "failed":
            return self.problem
        if not self.faces:
            return f"no face found by {self.finder}; no picture was written"
        done = sum(f.status == "restored" for f in self.faces)
        if self.status == "good":
            return "every face is good already; no picture was written"
        whys = [f"face {f.index} {f.status}: {f.reason}" for f in self.faces if not f.as_wished]
        whys += [f"face {f.index} {f.note}" for f in self.faces if f.note]
        return "; ".join([f"{done} of {len(self.faces)} faces restored", *whys])

    def to_json(self, config: RestoreConfig) -> bytes:
        """The sidecar's bytes."""
        return json.dumps(_sidecar(self, config), indent=2, ensure_ascii=False).encode() + b"\n"


def status_of(faces: Iterable[FaceReport]) -> str:
    """The status of a photo with these faces."""
    listed = list(faces)
    if not any(f.status == "restored" for f in listed):
        return (
            "good"
            if any(f.good for f in listed) and all(f.as_wished for f in listed)
            else "nothing"
        )
    return "restored" if all(f.as_wished for f in listed) else "partly"


def sidecar_of(target: Path) -> Path:
    """Where the JSON file of an output lies."""
    return target.with_name(target.name + ".authface.json")


def read_sidecar(target: Path) -> dict[str, Any] | None:
    """What the output's sidecar says; none if there is none, or it is not ours or damaged."""
    try:
        said = json.loads(sidecar_of(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None


def _sidecar(outcome: Outcome, config: RestoreConfig) -> dict[str, Any]:
    source = os.path.relpath(outcome.source, outcome.target.parent)
    return {
        "format": FORMAT,
        "software": creator_tool(),
        "about": _ABOUT if outcome.output_sha256 else _ABOUT_NONE,
        "status": outcome.status,
        "summary": outcome.summary,
        "warning": outcome.model.warning if outcome.model else "",
        "input": {"path": source, "sha256": outcome.input_sha256},
        "output": {"path": outcome.target.name, "sha256": outcome.output_sha256}
        if outcome.output_sha256
        else None,
        "model": _model(outcome.model),
        "finder": outcome.finder,
        "key": outcome.key,
        "settings": config.model_dump(mode="json", exclude={"doubt", "overwrite", "c2pa"}),
        "faces": [
            {k: v for k, v in asdict(f).items() if v not in (None, "")} for f in outcome.faces
        ],
        "notes": list(outcome.notes),
        "not_measured": list(outcome.not_measured),
        "seconds": {k: round(v, 3) for k, v in outcome.seconds.items()},
    }


def _model(facts: ModelFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "name": facts.name,
        "sha256": facts.sha256,
        "size": facts.size,
        "base": facts.base,
        "trained_steps": facts.trained_steps,
        "tiny": facts.tiny,
        "loras": list(facts.loras),
    }
