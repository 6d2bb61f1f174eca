"""Who allowed what: the consent ledger and the gate that fails closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from data_manifests.errors import ConsentError, InputError
from data_manifests.ledger import enter_grant, enter_withdrawal, read_view
from data_manifests.records import Consent, Sample
from data_manifests.store import Store
from data_manifests.tombstones import erased_in

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
    if consent.is_minor and not consent.guardian:
        raise InputError(
            f"The consent {consent.consent_id!r} is a minor's and names no guardian.",
            "Say who gave it with --guardian.",
        )
    _refuse_erased(store, consent.consent_id)
    standing = read_view(store).get(consent.consent_id)
    if standing is not None and not _same_terms(standing, consent):
        raise InputError(
            f"A consent {consent.consent_id!r} with other terms exists.",
            "Give the new one an id of its own.",
        )
    enter_grant(store, standing or consent)


def withdraw(store: Store, consent_id: str, when: datetime) -> Consent:
    """The consent, marked as withdrawn; the ledger and the table's history keep what it was."""
    standing = read_view(store).get(consent_id)
    if standing is None:
        raise InputError(f"There is no consent {consent_id!r}.", "See `authface consent list`.")
    withdrawn = replace(standing, withdrawn_at=standing.withdrawn_at or when)
    enter_withdrawal(store, withdrawn)
    return withdrawn


def refusal(consent: Consent | None, purpose: str, now: datetime) -> str | None:
    """Why this consent does not cover the purpose now; none if it does. No consent is a refusal."""
    if consent is None:
        return "no_consent"
    ended, withdrawn = consent.valid_until, consent.withdrawn_at
    against = {
        "consent_withdrawn": withdrawn is not None and withdrawn <= now,
        "consent_minor_without_guardian": consent.is_minor and not consent.guardian,
        "consent_not_yet_valid": now < consent.valid_from,
        "consent_expired": ended is not None and ended <= now,
        "consent_other_purpose": purpose not in consent.purposes,
    }
    return next((why for why, holds in against.items() if holds), None)


def require(store: Store, samples: Iterable[Sample], purpose: str, now: datetime) -> None:
    """Raise ConsentError naming the first samples that no valid consent covers.

    Called at each start and resume.
    """
    ledger = read_view(store)
    refused = [
        (s, why) for s in samples if (why := refusal(ledger.get(s.consent_id), purpose, now))
    ]
    if refused:
        named = ", ".join(f"{s.sample_id[:12]} ({why})" for s, why in refused[:5])
        raise ConsentError(
            f"{len(refused)} samples are not covered by a consent for {purpose}: {named}.",
            "Run `authface manifest build` again to leave them out, or renew the consent.",
        )


def _refuse_erased(store: Store, consent_id: str) -> None:
    if erased_in(store).has_consent(consent_id):
        raise InputError(
            "A consent of that name was erased with its subject.",
            "Give the new one an id of its own.",
        )


def _same_terms(one: Consent, other: Consent) -> bool:
    return _terms(one) == _terms(other)


def _terms(consent: Consent) -> tuple[object, ...]:
    """What must not differ between a consent and the same one granted again."""
    who = (consent.subject_id, consent.is_minor, consent.guardian, consent.jurisdiction)
    proof = (consent.text_sha256, consent.evidence_sha256)
    return set(consent.purposes), consent.basis, consent.valid_until, who, proof
