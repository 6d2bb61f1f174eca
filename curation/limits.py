"""A figure and its limit to a verdict; every gate ends here, so that all of them speak alike."""

from __future__ import annotations

from data_manifests.records import Verdict

__all__ = ["at_least", "at_most", "verdict"]


def at_least(gate: str, value: float, least: float, reason: str) -> Verdict:
    """Kept if `value` reaches `least`; `reason` is said only if it does not."""
    return verdict(gate, value, least, keep=value >= least, reason=reason)


def at_most(gate: str, value: float, most: float, reason: str) -> Verdict:
    """Kept if `value` does not exceed `most`; `reason` is said only if it does."""
    return verdict(gate, value, most, keep=value <= most, reason=reason)


def verdict(
    gate: str, value: float | None, threshold: float | None, *, keep: bool, reason: str
) -> Verdict:
    """A verdict with its figure rounded for people; a gate that keeps gives no reason."""
    return Verdict(
        gate=gate,
        value=None if value is None else round(float(value), 4),
        threshold=None if threshold is None else float(threshold),
        keep=keep,
        reason="" if keep else reason,
    )
