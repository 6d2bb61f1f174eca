"""From photos, faces and the people's consensus to Samples: join, gate by consent, split by person.

Every photo ends as one sample or is left out for one reason: photos = samples + left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from pydantic import Field

from data_manifests.config import Section
from data_manifests.join import COLUMNS, Sources, join
from data_manifests.ledger import read_view
from data_manifests.log import newest_reason
from data_manifests.records import Annotation, Consensus, Consent, Face, Photo, Retouch, Sample
from data_manifests.schema import arrow_schema, as_schema, records_from_table, table_from_records
from data_manifests.splits import drawn_by
from data_manifests.store import TABLES, Store

__all__ = ["BuildConfig", "Built", "assemble", "assemble_tables", "build"]

READ = {"photos", "faces", "consensus", "annotations", "retouches", "consents"}
DRAWN_BY = "; splits drawn by "


class BuildConfig(Section):
    """How samples are chosen and split."""

    purpose: str = Field(default="training", description="the purpose a consent must cover")
    accept_unreviewed: bool = Field(
        default=False, description="take kept photos that nobody has answered about yet"
    )
    validation_share: float = Field(
        default=0.1, ge=0, le=0.5, description="share of people held out for validation"
    )
    test_share: float = Field(
        default=0.1, ge=0, le=0.5, description="share of people held out for the final test"
    )
    salt: str = Field(default="authface", description="changes which people fall in which split")
    star_weights: tuple[float, float, float, float, float] = Field(
        default=(1.0, 1.0, 1.0, 1.0, 1.0),
        description="how much a sample of 1 to 5 stars counts in training",
    )
    balance_questions: tuple[str, ...] = Field(
        default=("gender", "age_group"), description="questions whose answers should be balanced"
    )
    balance_least_share: float = Field(
        default=0.02, ge=0, le=1, description="least share of samples for each answer given"
    )
    balance_from: int = Field(
        default=100, ge=1, description="samples from which the balance is checked"
    )


@dataclass(frozen=True, slots=True)
class Built:
    """Samples in key order, and how many photos were left out for each reason."""

    rows: pa.Table
    left_out: Mapping[str, int]
    reasons: Mapping[str, str]  # by photo_id
    version: int | None = None
    sources: str = ""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The rows as records."""
        return tuple(records_from_table(Sample, self.rows))

    @property
    def photos(self) -> int:
        """How many photos there were: samples and those left out."""
        return int(self.rows.num_rows) + sum(self.left_out.values())


def build(store: Store, config: BuildConfig, now: datetime) -> Built:
    """Join the newest tables and commit the Samples, those that fell out removed, in one commit."""
    sources = " ".join(f"{name}@{v}" for name, v in store.versions().items() if name in READ)
    standing = Sources(
        photos=_columns(store, Photo),
        faces=_columns(store, Face),
        consensus=_columns(store, Consensus),
        annotations=_columns(store, Annotation),
        retouches=_columns(store, Retouch),
        consents=tuple(read_view(store).values()),
        samples=_samples_drawn_alike(store, config),
    )
    made = assemble_tables(standing, config, now)
    if made.rows.num_rows or store.version(Sample) is not None:
        store.replace_rows(
            Sample, made.rows, why=f"build from {sources}{DRAWN_BY}{drawn_by(config)}"
        )
    return replace(made, version=store.version(Sample), sources=sources)


def assemble(
    photos: Sequence[Photo],
    faces: Sequence[Face],
    settled: Sequence[Consensus],
    consents: Sequence[Consent],
    *,
    config: BuildConfig,
    now: datetime,
) -> Built:
    """As `assemble_tables`, from records."""
    sources = Sources(
        table_from_records(Photo, photos),
        table_from_records(Face, faces),
        table_from_records(Consensus, settled),
        table_from_records(Annotation, ()),
        table_from_records(Retouch, ()),
        consents,
    )
    return assemble_tables(sources, config, now)


def assemble_tables(sources: Sources, config: BuildConfig, now: datetime) -> Built:
    """The samples, and why each other photo was left out; a pure function of its arguments."""
    joined = join(sources, config, now)
    reasons = joined.reasons.to_pylist()
    left_out = dict(sorted(Counter(reasons).items()))
    by_photo = dict(zip(joined.photo_ids.to_pylist(), reasons, strict=True))
    return Built(joined.samples, left_out, by_photo)


def _samples_drawn_alike(store: Store, config: BuildConfig) -> pa.Table | None:
    """Which photo's sample is in which split, if the last build drew by the same settings."""
    last = newest_reason(store.folder / TABLES[Sample], DRAWN_BY)
    if last is None or last.partition(DRAWN_BY)[2] != drawn_by(config):
        return None
    return store.columns(Sample, ["photo_id", "split"])


def _columns(store: Store, noun: type) -> pa.Table:
    """The columns that the join reads, by key; columns an older table lacks are null."""
    wanted = COLUMNS[TABLES[noun]]
    schema = pa.schema([arrow_schema(noun).field(name) for name in wanted])
    rows = store.columns(noun, wanted)
    return schema.empty_table() if rows is None else as_schema(rows, schema)
