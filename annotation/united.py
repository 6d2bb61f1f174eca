"""One person, one pseudonym: rows from before it was known who is who are given the name's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from annotation.answered import Wanted
from annotation.answers import pseudonym
from annotation.config import AnnotateConfig
from annotation.form import Form
from annotation.imported import settle_all
from annotation.ledger import person, secret_of
from annotation.mask_files import MaskFiles
from annotation.people import People
from annotation.rules import revived
from annotation.taken import Settling, take
from data_manifests.media import Workspace
from data_manifests.records import Annotation
from data_manifests.store import Store

__all__ = ["settling", "unite"]


def settling(
    store: Store, config: AnnotateConfig, forms: Mapping[str, Form], people: People
) -> Settling:
    """How photos of a workspace are settled after answers came in."""
    return Settling(
        partial(
            settle_all,
            majority=config.majority,
            form=forms["triage"],
            retouch=forms["retouch"],
            masks=MaskFiles(Workspace(store.folder.parent).media).voted,
        ),
        Wanted(config.answers_wanted, people.desk_of(store)),
        people.roles(store),
    )


def unite(
    store: Store, people: People, users: Mapping[int, str], *, server: str, how: Settling
) -> int:
    """Give each answer of a person whom the file names that person's pseudonym; how many changed.

    `users` are names by the number of the server's user. Who voted twice has one vote then.
    """
    secret = secret_of(store)
    now = {pseudonym(secret, server, u): person(store, name) for u, name in users.items()}
    now |= people.spellings(store)
    if not now:
        return 0
    found = store.rows_with(Annotation, "annotator", sorted(now))
    found += store.rows_with(Annotation, "edited_by", sorted(now))
    rows = {
        a.annotation_id: replace(
            revived(a),
            annotator=now.get(a.annotator, a.annotator),
            edited_by=now.get(a.edited_by or "", a.edited_by),
        )
        for a in found
    }
    if rows:
        take(store, list(rows.values()), how=how, why="one pseudonym for each person")
    return len(rows)
