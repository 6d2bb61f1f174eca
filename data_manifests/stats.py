"""How the samples of a version, and the photos that were kept, are spread: counts by DuckDB.

Facts are laid out once as two narrow tables inside DuckDB, one row a sample and one row a kept
photo; every figure and category is then one query over them, however many rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_manifests.query import Pin, opened
from data_manifests.records import Consent, Face, Photo, Sample
from data_manifests.store import Store

__all__ = ["QUANTILES", "Bin", "Category", "Spread", "Stats", "Tally", "Value", "describe"]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
ABOUT_BINS = 20
MOST_VALUES = 200  # of one category that are told apart; a page shows fewer
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_DOUBLING = {"iso": 25.0}  # figures whose bins double, from this on: a stop of light each

# name: (label, unit, SQL over the photo p and its face f; "" if only a sample has it)
_SHARED = {
    "long_side": ("Long side of the photo", "px", "nullif(greatest(p.width, p.height), 0)"),
    "eye_distance": ("Between the eyes", "px of the photo", "f.eye_distance"),
    "focal_length": ("Focal length", "mm on 35 mm film", "p.capture.focal_length_35mm"),
    "aperture": ("Aperture", "f-number", "p.capture.aperture_f"),
    "iso": ("Sensitivity", "ISO", "p.capture.iso"),
    "yaw": ("Head turned right", "-1 to 1", "f.pose.yaw"),
    "pitch": ("Chin down", "-1 to 1", "f.pose.pitch"),
}
_OF_SAMPLE = {
    "native_side": (
        "Side of the face area",
        "px of the photo",
        "greatest(s.native_width, s.native_height)",
    ),
    "caption_length": ("Length of the caption", "characters", "length(s.caption)"),
    "weight": ("Weight in training", "times", "s.weight"),
}
_FIGURES = {**_SHARED, **_OF_SAMPLE}
_SHARED_CATEGORIES = {
    "photographer": ("Photographer", "p.photographer"),
    "camera": ("Camera", "p.capture.camera"),
    "licence": ("Licence", "p.licence"),
    "format": ("File format", "nullif(p.format, '')"),
}
_CATEGORIES = {
    "split": ("Split", "s.split"),
    "consent_basis": ("Consent rests on", "c.basis"),
    **_SHARED_CATEGORIES,
}
_GROUPS = {"semantic": "semantic_tags", "photographic": "photographic_tags"}


@dataclass(frozen=True, slots=True)
class Tally:
    """One figure over one kind of row; quantiles are empty if no row has it."""

    count: int
    missing: int
    mean: float | None
    quantiles: tuple[float, ...]  # at QUANTILES


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows with low <= figure < high; the outermost bins also take what lies beyond them."""

    low: float
    high: float
    samples: int
    photos: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How one figure is spread over samples and kept photos; no photos where only samples have it.

    `clipped` says that figures lie outside the bins and are counted in the outermost.
    """

    name: str
    label: str
    unit: str
    samples: Tally
    photos: Tally | None
    bins: tuple[Bin, ...]
    clipped: bool


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a category, and its share of the samples."""

    value: str
    samples: int
    photos: int
    share: float


@dataclass(frozen=True, slots=True)
class Category:
    """How often each value comes; `group` is semantic or photographic for a tag question."""

    name: str
    label: str
    group: str
    values: tuple[Value, ...]
    others: int  # samples with values beyond MOST_VALUES
    missing: int  # samples without a value


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything that is told about one version of the samples."""

    version: int | None
    samples: int
    photos: int
    people: int
    spreads: tuple[Spread, ...]
    categories: tuple[Category, ...]


def describe(store: Store, version: int | None = None) -> Stats:
    """The distributions of a version of the samples (the newest if none) and of the kept photos.

    Photos, faces and consents are read as they are now. Raises ManifestError for a version that is
    not there.
    """
    pins = {
        "samples": Pin(Sample, version),
        "photos": Pin(Photo),
        "faces": Pin(Face),
        "consents": Pin(Consent),
    }
    with opened(store, pins) as connection:
        _lay_out(connection)
        samples, people = _one(connection, "SELECT count(*), count(DISTINCT person) FROM of_sample")
        (photos,) = _one(connection, "SELECT count(*) FROM of_photo")
        return Stats(
            version=store.version(Sample) if version is None else version,
            samples=samples,
            photos=photos,
            people=people,
            spreads=tuple(_spreads(connection)),
            categories=(*_categories(connection, samples), *_questions(connection, samples)),
        )


def _lay_out(connection: Any) -> None:
    shared = [f"{sql} AS {name}" for name, (*_, sql) in _SHARED.items()]
    shared += [f"{sql} AS {name}" for name, (_, sql) in _SHARED_CATEGORIES.items()]
    connection.execute(
        f"CREATE TABLE of_photo AS SELECT {', '.join(shared)} FROM photos p"
        " LEFT JOIN faces f ON f.photo_id = p.photo_id AND f.index = 0 WHERE p.state = 'kept'"
    )
    whole = [f"{sql} AS {name}" for name, (*_, sql) in _FIGURES.items()]
    whole += [f"{sql} AS {name}" for name, (_, sql) in _CATEGORIES.items()]
    connection.execute(
        f"CREATE TABLE of_sample AS SELECT {', '.join(whole)}, s.person,"
        " s.semantic_tags, s.photographic_tags FROM samples s"
        " LEFT JOIN photos p ON p.photo_id = s.photo_id"
        " LEFT JOIN faces f ON f.face_id = s.face_id"
        " LEFT JOIN consents c ON c.consent_id = s.consent_id"
    )


def _spreads(connection: Any) -> Iterator[Spread]:
    of_samples = _tallies(connection, "of_sample", _FIGURES)
    of_photos = _tallies(connection, "of_photo", _SHARED)
    for name, (label, unit, _) in _FIGURES.items():
        samples, photos = of_samples[name], of_photos.get(name)
        told = [t for t in (samples, photos) if t is not None and t.count]
        if told:
            edges = _stops(told, _DOUBLING[name]) if name in _DOUBLING else _edges(told)
            bins = _bins(connection, name, edges, both=photos is not None)
            clipped = any(t.quantiles[0] < edges[0] or t.quantiles[-1] >= edges[-1] for t in told)
            yield Spread(name, label, unit, samples, photos, bins, clipped)


def _tallies(connection: Any, table: str, names: Mapping[str, object]) -> dict[str, Tally]:
    places = list(QUANTILES)
    asked = ", ".join(f"count({n}), avg({n}), quantile_cont({n}, {places})" for n in names)
    total, *found = _one(connection, f"SELECT count(*), {asked} FROM {table}")
    rows = zip(names, found[0::3], found[1::3], found[2::3], strict=True)
    return {n: Tally(count, total - count, mean, tuple(q or ())) for n, count, mean, q in rows}


def _stops(told: Sequence[Tally], base: float) -> list[float]:
    low, high = min(t.quantiles[0] for t in told), max(t.quantiles[-1] for t in told)
    places = [math.floor(math.log2(max(x, base) / base)) for x in (low, high)]
    return [base * 2.0**place for place in range(places[0], places[1] + 2)]


def _edges(told: Sequence[Tally]) -> list[float]:
    """Round edges of about ABOUT_BINS bins; a few figures may lie far outside them."""
    low, high = min(t.quantiles[0] for t in told), max(t.quantiles[-1] for t in told)
    near = [min(t.quantiles[1] for t in told), max(t.quantiles[-2] for t in told)]
    reach = 1.5 * (near[1] - near[0])  # one stray figure must not squash all others into one bin
    if reach > 0:
        low, high = max(low, near[0] - reach), min(high, near[1] + reach)
    step = _round_step((high - low) / ABOUT_BINS or abs(low) / 10 or 1.0)
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return [round(place * step, 12) for place in range(first, last + 1)]


def _round_step(least: float) -> float:
    scale = 10.0 ** math.floor(math.log10(least))
    return next(s * scale for s in _STEPS if s * scale >= least * 0.999)


def _bins(connection: Any, name: str, edges: Sequence[float], *, both: bool) -> tuple[Bin, ...]:
    last = len(edges) - 2
    below = f"len(list_filter({list(edges)!r}::DOUBLE[], lambda edge: edge <= {name}))"
    place = f"greatest(0, least({last}, {below} - 1))"

    def counts(table: str) -> dict[int, int]:
        asked = f"SELECT {place}, count(*) FROM {table} WHERE {name} IS NOT NULL GROUP BY 1"
        return dict(connection.execute(asked).fetchall())

    samples, photos = counts("of_sample"), counts("of_photo") if both else {}
    return tuple(
        Bin(edges[i], edges[i + 1], samples.get(i, 0), photos.get(i, 0)) for i in range(last + 1)
    )


def _categories(connection: Any, total: int) -> Iterator[Category]:
    for name, (label, _) in _CATEGORIES.items():
        asked = "SELECT {0} AS value, count(*) AS n FROM {1} WHERE {0} IS NOT NULL GROUP BY 1"
        photos = (
            asked.format(name, "of_photo")
            if name in _SHARED_CATEGORIES
            else "SELECT NULL::VARCHAR AS value, 0 AS n WHERE false"
        )
        rows = connection.execute(
            "SELECT value, coalesce(s.n, 0), coalesce(p.n, 0)"
            f" FROM ({asked.format(name, 'of_sample')}) s FULL JOIN ({photos}) p USING (value)"
            " ORDER BY 2 DESC, 3 DESC, 1"
        ).fetchall()
        if rows:
            missing = total - sum(samples for _, samples, _ in rows)
            yield _category((name, label, ""), rows, total, missing)


def _questions(connection: Any, total: int) -> Iterator[Category]:
    for group, column in _GROUPS.items():
        tags = f"SELECT rowid AS row, unnest({column}) AS tag FROM of_sample"
        split = (
            "SELECT row, split_part(tag, '/', 1) AS question,"
            f" substr(tag, position('/' IN tag) + 1) AS value FROM ({tags})"
        )
        rows = connection.execute(
            f"SELECT question, value, count(DISTINCT row) FROM ({split})"
            " GROUP BY ALL ORDER BY 1, 3 DESC, 2"
        ).fetchall()
        answered = dict(
            connection.execute(
                f"SELECT question, count(DISTINCT row) FROM ({split}) GROUP BY 1 ORDER BY 1"
            ).fetchall()
        )
        for question, n in answered.items():
            values = [(value, count, 0) for q, value, count in rows if q == question]
            about = (question, question.replace("_", " ").capitalize(), group)
            yield _category(about, values, total, total - n)


def _category(
    about: tuple[str, str, str], rows: Sequence[tuple[str, int, int]], total: int, missing: int
) -> Category:
    shown = rows[:MOST_VALUES]
    return Category(
        *about,
        values=tuple(Value(v, n, photos, n / total if total else 0.0) for v, n, photos in shown),
        others=sum(n for _, n, _ in rows[MOST_VALUES:]),
        missing=missing,
    )


def _one(connection: Any, asked: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = connection.execute(asked).fetchone()
    return found
