"""The dataset card: what the tables say, counted, and nothing that breaks the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from data_manifests.card import Card, _basis
from data_manifests.card_page import render
from data_manifests.consent import grant
from data_manifests.export import card_of
from data_manifests.records import Annotation, Consensus, Consent, Photo, Sample
from data_manifests.store import Store


def page(gallery: Any) -> tuple[Card, str]:
    card = card_of(gallery.store, name="portraits")
    return card, render(card)


def test_it_counts_what_stands_in_the_tables(gallery: Any) -> None:
    card, text = page(gallery)
    assert (card.samples, card.people, card.photographers, card.photos) == (8, 4, 1, 8)
    assert card.splits == {"train": 6, "test": 1, "validation": 1}
    assert card.counts["Cameras"] == {"Canon EOS R5": 8}
    assert card.counts["Consent: basis"] == {"release": 8}
    assert card.counts["Consent: purposes"] == {"training": 8, "publish": 6}
    assert card.counts["Tag: gender"] == {"woman": 8}
    assert card.native_px == (2400, 2400, 2400)
    assert card.eyes_px == (200, 204, 207)
    assert (card.reviewers, card.answers, card.agreement) == (2, 8, 1.0)
    assert "| sharp | 4.5 | 8 | 8 |" in text
    assert f"samples@{gallery.store.version(Sample)}" in text
    assert "0 (0 %) show somebody who was a minor" in text


def test_the_header_is_yaml_that_hugging_face_reads(gallery: Any) -> None:
    header = yaml.safe_load(page(gallery)[1].split("---")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["pretty_name"] == "portraits"


def test_nothing_private_stands_on_it(gallery: Any) -> None:
    _, text = page(gallery)
    for private in ("cabinet 17", "reviewer 0", "person 0", "/originals", "p1"):
        assert private not in text


def _no_licence(store: Store, samples: list[Sample]) -> None:
    store.upsert(Photo, [replace(p, licence=None) for p in store.read(Photo)], why="test")


def _nobody_known(store: Store, samples: list[Sample]) -> None:
    store.upsert(Sample, [replace(s, person=None) for s in samples], why="test")


def _enlarged(store: Store, samples: list[Sample]) -> None:
    store.upsert(Sample, [replace(samples[0], native_width=20.0)], why="test")


def _no_validation(store: Store, samples: list[Sample]) -> None:
    gone = [s.sample_id for s in samples if s.split == "validation"]
    store.remove(Sample, gone, why="test")


def _unreviewed(store: Store, samples: list[Sample]) -> None:
    store.remove(Consensus, [samples[0].photo_id], why="test")


def _a_minor(store: Store, samples: list[Sample]) -> None:
    began = store.read(Consent)[0].valid_from
    terms: dict[str, Any] = {"is_minor": True, "guardian": "g1", "purposes": ("training",)}
    until = began + timedelta(days=900)
    row = Consent(consent_id="m", basis="release", valid_from=began, valid_until=until, **terms)
    grant(store, row)
    store.upsert(Sample, [replace(samples[0], consent_id="m")], why="test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_licence, "8 of 8 samples (100 %) come with no stated licence."),
        (_nobody_known, "8 of 8 samples (100 %) show nobody who is known by a name"),
        (_enlarged, "1 of 8 samples (12 %) show an area that has fewer pixels in the original."),
        (_no_validation, "There are no samples for validation."),
        (_unreviewed, "1 of 8 samples (12 %) were accepted by nobody."),
        (_a_minor, "1 (12 %) show somebody who was a minor"),
        (_a_minor, "1 of 8 samples (12 %) stand on a consent that ends, the first on 2028-11-"),
    ],
)
def test_a_gap_is_named(
    gallery: Any, change: Callable[[Store, list[Sample]], None], said: str
) -> None:
    assert said not in page(gallery)[1]
    change(gallery.store, list(gallery.samples))
    assert said in page(gallery)[1]


def test_names_from_files_of_others_cannot_break_the_page(gallery: Any) -> None:
    photo = gallery.store.read(Photo)[0]
    evil = 'a|b\n---\nlicense: mit\n<script>alert("x")</script>'
    capture = replace(photo.capture, camera=evil)
    gallery.store.upsert(Photo, [replace(photo, capture=capture, licence=evil)], why="test")
    _, text = page(gallery)
    head, body = text.split("\n---\n")
    assert "<script>" not in body
    header = yaml.safe_load(head)
    assert header["license"] == "other"
    assert evil in header["license_name"]
    assert "| a\\|b --- license: mit" in text


@pytest.mark.parametrize(
    "evil",
    [
        "![x](https://example.org/seen.png)",
        "\\![x](https://example.org/seen.png)",
        "[x](https://example.org)",
        '<img src="https://example.org/seen.png">',
    ],
)
def test_a_value_is_no_picture_and_no_link_on_the_page(gallery: Any, evil: str) -> None:
    markdown = pytest.importorskip("markdown_it")
    photo = gallery.store.read(Photo)[0]
    capture = replace(photo.capture, camera=evil)
    gallery.store.upsert(Photo, [replace(photo, capture=capture, licence=evil)], why="test")
    _, text = page(gallery)
    shown = markdown.MarkdownIt("commonmark", {"html": True}).enable("table")
    html = shown.render(text.split("\n---\n", 1)[1])
    assert "example.org" in html
    assert "<img" not in html
    assert "<a " not in html


def test_a_name_in_any_script_is_readable_in_the_header(gallery: Any) -> None:
    name = 'Portr\xe4ts \u4eba\u7269 \U0001f642 \u2028 \x85 \x07 "quoted" \\ end'
    text = render(card_of(gallery.store, name=name))
    assert "Portr\xe4ts \u4eba\u7269 \U0001f642" in text.split("\n---\n")[0]
    assert yaml.safe_load(text.split("\n---\n")[0])["pretty_name"] == name


def test_answers_that_do_not_count_are_not_counted(gallery: Any) -> None:
    answer = gallery.store.read(Annotation)[0]
    gallery.store.upsert(Annotation, [replace(answer, state="set_aside")], why="test")
    assert page(gallery)[0].answers == 7


def test_a_workspace_without_tables_has_a_card(tmp_path: Any) -> None:
    text = render(card_of(Store(tmp_path), name="empty"))
    assert "There are no samples." in text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("signed release for publication, cabinet 17", "release"),
        ("unknown source, downloaded", "other"),
        ("Public domain, NASA", "public_domain"),
        ("own photos", "own_photos"),
        ("licensed from an agency", "licence"),
        ("released by nobody", "other"),
    ],
)
def test_a_basis_is_told_by_whole_words(said: str, told: str) -> None:
    consent = Consent(
        consent_id="c", purposes=("training",), basis=said, valid_from=datetime.now(UTC)
    )
    assert _basis(consent) == told
