"""The nouns of permission: consents, their ledger, and marks of what was erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from data_manifests.shapes import column

__all__ = ["Consent", "ConsentEntry", "Tombstone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A permission that covers photos, as the ledger's entries add up to it."""

    consent_id: str = column("identity of the record", key=True)
    purposes: tuple[str, ...] = column(
        "curation, annotation, training, publish, identity_embedding"
    )
    basis: str = column("release, public_domain or own_photos, and where it is kept")
    valid_from: datetime = column("start")
    valid_until: datetime | None = column("end, none if open", default=None)
    withdrawn_at: datetime | None = column("when it was withdrawn", default=None)
    note: str = column("anything a reader should know", default="")
    subject_id: str | None = column("who gave it, as a pseudonym", default=None)
    is_minor: bool = column("the subject was a minor when it was given", default=False)
    guardian: str | None = column("reference to the guardian who gave it", default=None)
    jurisdiction: str | None = column("law it was given under, such as DE", default=None)
    text_sha256: str | None = column("SHA-256 of the text that was shown", default=None)
    evidence_sha256: str | None = column("SHA-256 of the signed release's scan", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEntry:
    """One line of the consent ledger: only ever added, each holding the hash of the one before."""

    entry_id: str = column("place in the ledger, 10 digits from 0000000000", key=True)
    kind: str = column("grant, withdraw or erase")
    consent_id: str = column("the consent it is about, empty once erased", default="")
    terms: str = column(
        "the Consent as canonical JSON with a random salt, empty once erased", default=""
    )
    at: datetime = column("when it was entered")
    terms_sha256: str = column("SHA-256 of kind, time and terms as they were entered")
    previous_sha256: str = column("entry_sha256 of the entry before, 64 zeros for the first")
    entry_sha256: str = column("SHA-256 over entry_id, previous_sha256 and terms_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A mark of something erased, so that it can't come back; it tells nothing about a person."""

    mark: str = column("HMAC-SHA256, under the workspace's key, of what was erased", key=True)
    kind: str = column("photo, pixels, consent, subject, or key for the marks themselves")
    reason: str = column("why, such as subject_request")
    erased_at: datetime = column("when")
    receipt_id: str = column("the receipt that counts it")
