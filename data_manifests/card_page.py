"""The dataset card as a page: Markdown, with the header that Hugging Face reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from data_manifests.card import Card
from data_manifests.card_text import count_of, line, table

__all__ = ["render"]

# Licences that Hugging Face knows by name; anything else is "other" with its own words.
_CC = ("by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd")
KNOWN_LICENCES = {"cc0-1.0", "apache-2.0", "mit", "unlicense", *(f"cc-{kind}-4.0" for kind in _CC)}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(card: Card, *, files: Mapping[str, str] | None = None) -> str:
    """The page; `files` names the data files of each split, for the header."""
    pieces = (
        _header(card, files or {}),
        (f"# {line(card.about.name)}", "", _summary(card), ""),
        _splits(card),
        _rights(card),
        _measures(card),
        _judging(card),
        _gaps(card),
        _provenance(card),
    )
    return "\n".join(line for piece in pieces for line in piece)


def _header(card: Card, files: Mapping[str, str]) -> Iterator[str]:
    yield "---"
    yield f"pretty_name: {_yaml(card.about.name)}"
    if card.licences:
        only = card.licences[0].lower() if len(card.licences) == 1 else ""
        known = only in KNOWN_LICENCES
        yield f"license: {only if known else 'other'}"
        if not known:
            yield f"license_name: {_yaml('; '.join(card.licences))}"
    yield f"size_categories: [{next((n for most, n in SIZES if card.samples < most), 'n>1M')}]"
    yield "task_categories: [text-to-image, image-to-image]"
    yield "tags: [faces, portraits, authface]"
    if files:
        yield "configs:"
        yield "- config_name: default"
        yield "  data_files:"
        for split, pattern in files.items():
            yield f"  - split: {split}"
            yield f"    path: {json.dumps(pattern)}"
    yield "---"
    yield ""


def _summary(card: Card) -> str:
    return (
        f"{card.samples} aligned portraits with words and boxes, from {card.photos} photos"
        f" by {count_of(card.photographers, 'known photographer')}, of"
        f" {count_of(card.people, 'known person', 'known people')}."
    )


def _splits(card: Card) -> Iterator[str]:
    yield from table("Samples", ("split", "samples"), card.splits.items())


def _rights(card: Card) -> Iterator[str]:
    yield "## Rights and consent"
    yield ""
    yield (
        f"The samples stand on {count_of(card.consents, 'consent')};"
        f" {_of(card.minors, card.samples)} show somebody who was a minor when it was given."
    )
    yield ""
    for title, counts in card.counts.items():
        if title.startswith(("Licences", "Consent")):
            yield from table(title, ("value", "samples"), counts.items(), level=3)


def _measures(card: Card) -> Iterator[str]:
    yield "## What is in it"
    yield ""
    for what, spread in (
        ("Side of the crop's area in the original", card.native_px),
        ("Distance of the eyes in the original", card.eyes_px),
    ):
        if spread:
            yield f"- {what}: {spread[0]} to {spread[2]} px, median {spread[1]} px"
    yield ""
    for title, counts in card.counts.items():
        if not title.startswith(("Licences", "Consent")):
            yield from table(title, ("value", "samples"), counts.items(), level=3)


def _judging(card: Card) -> Iterator[str]:
    yield "## How it was judged"
    yield ""
    yield (
        f"{count_of(card.answers, 'answer')} of {count_of(card.reviewers, 'reviewer')} count"
        + (f", {card.voters_per_photo:.2f} per photo" if card.voters_per_photo is not None else "")
        + (
            f"; on average {100 * card.agreement:.0f} % of the voters agree with the decision."
            if card.agreement is not None
            else "."
        )
    )
    yield ""
    rows = ((g.name, g.thresholds or "-", g.judged, g.passed) for g in card.gates)
    yield from table("Gates", ("gate", "threshold", "judged", "passed"), rows, level=3, most=100)


def _gaps(card: Card) -> Iterator[str]:
    yield "## Gaps"
    yield ""
    yield from (f"- {line(gap)}" for gap in card.gaps or ("None that the rules look for.",))
    yield ""


def _provenance(card: Card) -> Iterator[str]:
    yield "## Where it comes from"
    yield ""
    at = f"samples@{card.about.version}" if card.about.version is not None else "no build yet"
    made = " ".join(f"{name}@{version}" for name, version in sorted(card.versions.items()))
    yield f"Counted from {at}; the tables stood at {made or 'no version'}."
    yield ""
    if card.erased:
        erased = ", ".join(f"{n} {line(kind)}" for kind, n in card.erased.items())
        yield f"Erased from the tables on request: {erased}."
        yield ""
    if card.about.forgotten:
        forgotten = count_of(card.about.forgotten, "sample")
        yield f"Erased from this copy since it was made: {forgotten}."
        yield ""
    if card.about.undescribed:
        yield (
            f"In no table any more, and so not counted above:"
            f" {count_of(card.about.undescribed, 'sample')} of this copy."
        )
        yield ""
    if card.about.left_out:
        yield from table("Left out of this copy", ("why", "samples"), card.about.left_out.items())


def _yaml(text: str) -> str:
    """The text as a string of YAML that no name can break out of; readable where it can be."""
    told = (json.dumps(c, ensure_ascii=not c.isprintable())[1:-1] for c in text)
    return f'"{"".join(told)}"'


def _of(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)" if total else "0"
