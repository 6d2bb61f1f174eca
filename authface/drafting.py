"""Command that lets a vision-language model draft captions and tags, for people to confirm."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from data_manifests.records import Photo
    from data_manifests.store import Store

__all__ = ["draft_captions"]

_AT_ONCE = 8  # photos a commit; a model of 7 billion weights takes seconds to minutes for each


def draft_captions(
    model: Annotated[
        str, typer.Option(help="Folder or hub id of a model, such as Qwen/Qwen2.5-VL-7B-Instruct.")
    ],
    revision: Annotated[
        str | None, typer.Option(help="Commit or tag of a hub id, so that it can't change.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Draft captions and tags of kept photos with a vision-language model.

    Drafts count for nothing until a person confirms them; gender and age are left to people.

    Example: authface draft-captions --model Qwen/Qwen2.5-VL-7B-Instruct
    """
    from annotation.team import forms
    from authface.prompts import draft_questions
    from curation.drafts import draft_photos, open_drafter
    from data_manifests.records import Photo
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    questions = draft_questions(forms(settings.annotate, place.root)["triage"])
    store = Store(place.tables)
    photos = sorted(store.read(Photo), key=lambda p: p.photo_id)
    drafter = open_drafter(model, revision=revision)
    drafted = draft_photos(photos, media=place.media, drafter=drafter, questions=questions)
    made = sum(1 for _ in console.track(_kept(store, drafted, drafter.origin), label="draft"))
    console.done(f"{made} photos have a draft of {drafter.origin}")


def _kept(store: Store, drafted: Iterable[Photo], origin: str) -> Iterator[Photo]:
    """The photos, each some committed before they are yielded."""
    from data_manifests.records import Photo

    stream = iter(drafted)
    while some := list(islice(stream, _AT_ONCE)):
        store.upsert(Photo, some, why=f"draft {len(some)} captions with {origin}")
        yield from some
