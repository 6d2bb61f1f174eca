"""How a check says what it found."""

from __future__ import annotations

from data_manifests.records import Verdict

__all__ = ["judged", "verdict"]


def judged(gate: str, value: float, most: float, why: str) -> Verdict:
    """Fails, and says `why`, where the value is over what is allowed at most."""
    return verdict(gate, value, most, value <= most, "" if value <= most else why)


def verdict(gate: str, value: float | None, threshold: float, keep: bool, why: str) -> Verdict:
    """The value rounded to four places; a `why` beside `keep` is a warning."""
    shown = None if value is None else round(float(value), 4)
    return Verdict(gate=gate, value=shown, threshold=threshold, keep=bool(keep), reason=why)
