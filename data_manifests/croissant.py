"""Croissant: what an export of Parquet files holds, as JSON-LD that loaders and searches read.

Source: Croissant 1.1 and its RAI vocabulary 1.0, mlcommons.org/croissant.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_manifests.card import Card

__all__ = ["croissant"]

Json = dict[str, Any]

_PLAIN = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty"
    " fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet"
    " references regex repeated replace samplingRate separator source subField transform"
)
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _PLAIN.split()},
}
VERSIONS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
PARQUET = "application/x-parquet"


def croissant(
    folder: Path, files: Sequence[Path], schema: pa.Schema, card: Card, *, made_at: datetime
) -> Json:
    """The description of these Parquet files, which all have this schema.

    Reads every file once for its SHA-256.
    """
    objects = [_file_object(folder, path) for path in files]
    pattern = "data/*.parquet" if any("/" in o["@id"] for o in objects) else "*.parquet"
    # In no container: a reader looks for the files in the folder that this description lies in.
    all_files = {
        "@type": "cr:FileSet",
        "@id": "files",
        "name": "files",
        "encodingFormat": PARQUET,
        "includes": pattern,
    }
    records = {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "One aligned portrait per record.",
        "key": {"@id": "samples/sample_id"},
        "field": [_field(f) for f in schema],
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(VERSIONS),
        "name": card.about.name,
        "description": f"{card.samples} aligned portraits with words and boxes.",
        "version": f"{card.about.version or 0}.0.0",
        "datePublished": made_at.date().isoformat(),
        **({"license": list(card.licences)} if card.licences else {}),
        **_responsible(card),
        "distribution": [*objects, all_files],
        "recordSet": [records],
    }


def _responsible(card: Card) -> Json:
    """The RAI properties that the tables know something about."""
    told: Json = {
        "rai:personalSensitiveInformation": [
            f"Every record shows a person's face; {card.people} people are told apart.",
            f"{card.minors} records show somebody who was a minor when consent was given.",
        ],
        "rai:dataPreprocessingProtocol": [
            f"{g.name}: {g.passed} of {g.judged} passed, threshold {g.thresholds or 'none'}"
            for g in card.gates
        ],
        "rai:dataLimitations": list(card.gaps),
    }
    if card.answers:
        told["rai:dataAnnotationProtocol"] = [
            f"{card.answers} answers of {card.reviewers} reviewers count."
        ]
    if card.voters_per_photo is not None:
        told["rai:annotationsPerItem"] = f"{card.voters_per_photo:.2f}"
    if card.agreement is not None:
        told["rai:dataAnnotationAnalysis"] = [
            f"On average {card.agreement:.3f} of the voters agree with a photo's decision."
        ]
    return {name: value for name, value in told.items() if value}


def _file_object(folder: Path, path: Path) -> Json:
    name = path.relative_to(folder).as_posix()
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": PARQUET,
        "sha256": sha256,
    }


def _field(column: pa.Field) -> Json:
    about = (column.metadata or {}).get(b"about", b"").decode()
    unit = (column.metadata or {}).get(b"unit", b"").decode()
    field: Json = {
        "@type": "cr:Field",
        "@id": f"samples/{column.name}",
        "name": column.name,
        "description": about + (f", in {unit}" if unit else ""),
    }
    if column.name == "image":
        return field | {"dataType": "sc:ImageObject", "source": _source("image", "bytes")}
    kind = column.type
    if pa.types.is_list(kind):
        field |= {"isArray": True, "arrayShape": "-1"}
        kind = kind.value_type
    if pa.types.is_struct(kind):
        parts = typing.cast(Iterable[pa.Field], kind)
        return field | {"subField": [_part(column.name, part) for part in parts]}
    return field | {"dataType": _data_type(kind), "source": _source(column.name)}


def _part(column: str, part: pa.Field) -> Json:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column}/{part.name}",
        "name": f"{column}/{part.name}",
        "dataType": _data_type(part.type),
        "source": _source(column, part.name),
    }


def _source(column: str, part: str = "") -> Json:
    source: Json = {"fileSet": {"@id": "files"}, "extract": {"column": column}}
    return source | ({"transform": {"jsonPath": part}} if part else {})


def _data_type(kind: pa.DataType) -> str:
    return {pa.int64(): "sc:Integer", pa.float64(): "sc:Float"}.get(kind, "sc:Text")
