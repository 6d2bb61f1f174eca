"""Who allowed what: the consent ledger and the gate that fails closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from data_manifests.errors import ConsentError, InputError
from data_manifests.records import Consent, Sample
from data_manifests.store import Store

__all__ = ["PURPOSES", "grant", "refusal", "require", "withdraw"]

PURPOSES = ("curation", "annotation", "training", "publish", "identity_embedding")


def grant(store: Store, consent: Consent) -> None:
    """Add a consent to the ledger; refuses to replace one that says something else."""
    unknown = [p for p in consent.purposes if p not in PURPOSES]
    if unknown or not consent.purposes:
        raise InputError(
            f"Unknown purpose {', '.join(unknown) or '(none)'}.",
            f"Known are: {', '.join(PURPOSES)}.",
        )
    standing = {c.consent_id: c for c in store.read(Consent)}.get(consent.consent_id)
    if standing is not None and not _same_terms(standing, consent):
        raise InputError(
            f"A consent {consent.consent_id!r} with other terms exists.",
            "Give the new one an id of its own.",
        )
    if standing is None:
        store.upsert(Consent, [consent], why=f"grant {consent.consent_id}")


def withdraw(store: Store, consent_id: str, when: datetime) -> Consent:
    """The consent, marked as withdrawn; the earlier row stays in the table's history."""
    standing = {c.consent_id: c for c in store.read(Consent)}.get(consent_id)
    if standing is None:
        raise InputError(f"There is no consent {consent_id!r}.", "See `authface consent list`.")
    withdrawn = replace(standing, withdrawn_at=standing.withdrawn_at or when)
    store.upsert(Consent, [withdrawn], why=f"withdraw {consent_id}")
    return withdrawn


def refusal(consent: Consent | None, purpose: str, now: datetime) -> str | None:
    """Why this consent does not cover the purpose now; none if it does. No consent is a refusal."""
    if consent is None:
        return "no_consent"
    if consent.withdrawn_at is not None and consent.withdrawn_at <= now:
        return "consent_withdrawn"
    if now < consent.valid_from:
        return "consent_not_yet_valid"
    if consent.valid_until is not None and consent.valid_until <= now:
        return "consent_expired"
    if purpose not in consent.purposes:
        return "consent_other_purpose"
    return None


def require(store: Store, samples: Iterable[Sample], purpose: str, now: datetime) -> None:
    """Raise ConsentError naming the first samples that no valid consent covers.

    Called at each start and resume.
    """
    ledger = {c.consent_id: c for c in store.read(Consent)}
    refused = [
        (s, why) for s in samples if (why := refusal(ledger.get(s.consent_id), purpose, now))
    ]
    if refused:
        named = ", ".join(f"{s.sample_id[:12]} ({why})" for s, why in refused[:5])
        raise ConsentError(
            f"{len(refused)} samples are not covered by a consent for {purpose}: {named}.",
            "Run `authface manifest build` again to leave them out, or renew the consent.",
        )


def _same_terms(one: Consent, other: Consent) -> bool:
    return (set(one.purposes), one.basis, one.valid_until) == (
        set(other.purposes),
        other.basis,
        other.valid_until,
    )
