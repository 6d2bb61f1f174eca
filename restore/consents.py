"""What a workspace's consents say about photos that are restored; most of them it never saw."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from curation.identity import PURPOSE as EMBEDDING
from data_manifests.consent import refusal
from data_manifests.ledger import read_view
from data_manifests.records import Photo
from data_manifests.store import Store
from data_manifests.tombstones import REASON, erased_in

__all__ = ["against_embedding", "against_looking"]

LOOKING = "annotation"


def against_looking(photo_ids: Collection[str], store: Store) -> dict[str, str]:
    """Of which of the photos no picture may be shown to people, and why.

    Those that were erased, and those whose consent does not cover annotation now. A photo without a
    consent may be looked at: who made it decides with their own people.
    """
    return _refusals(photo_ids, store, LOOKING, needs_consent=False)


def against_embedding(photo_ids: Collection[str], store: Store) -> dict[str, str]:
    """Of which of the photos no face vector may be made, not even in memory, and why.

    Those that were erased, and those of the workspace without a consent for identity_embedding. Of
    a photo that was never ingested the workspace knows nothing: the setting alone decides.
    """
    return _refusals(photo_ids, store, EMBEDDING, needs_consent=True)


def _refusals(
    photo_ids: Collection[str], store: Store, purpose: str, *, needs_consent: bool
) -> dict[str, str]:
    if not photo_ids:
        return {}
    erased, consents, now = erased_in(store), read_view(store), datetime.now(UTC)
    against = {photo_id: REASON for photo_id in photo_ids if erased.has(photo_id)}
    for photo in store.read(Photo):
        if photo.photo_id in photo_ids and (photo.consent_id or needs_consent):
            why = refusal(consents.get(photo.consent_id or ""), purpose, now)
            if why is not None:
                against.setdefault(photo.photo_id, why)
    return against
