"""`authface ingest`: originals in, one judged row per file, every one of them accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from curation.config import IngestConfig
    from curation.pipeline import Ingested
    from curation.scan import Found
    from data_manifests.media import Workspace
    from data_manifests.records import Photo
    from data_manifests.store import Store

__all__ = ["STATES", "ingest"]

STATES = ("kept", "set_aside", "quarantined")
_SETTING = {"long_side": "least_long_side", "megapixels": "least_megapixels"}  # by gate
_UNIT = {"long_side": "px", "megapixels": "megapixels"}


@dataclass(slots=True)
class _Tally:
    """What became of the files, counted as they pass."""

    status: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    asked: dict[str, float] = field(default_factory=dict)  # by a gate that set photos aside
    faces: int = 0
    changed: int = 0  # rows that the tables did not have like this
    said: list[tuple[str, str]] = field(default_factory=list)  # (path, problem) for people

    def count(self, item: Ingested) -> None:
        """Take in one file."""
        self.status[item.status] += 1
        self.changed += item.photo is not None and item.changed
        if item.status == "new" and item.photo is not None:
            self.states[item.photo.state] += 1
            self.reasons.update(item.photo.reasons)
            self.asked |= {
                v.gate: v.threshold
                for v in item.photo.verdicts
                if not v.keep and v.threshold is not None
            }
            self.faces += len(item.faces)
        elif item.problem:
            self.said.append((item.path, item.problem))

    def hints(self) -> Iterator[str]:
        """What to change where no new photo is kept, and one gate alone stands in the way."""
        gates = [gate for gate, count in self.reasons.items() if count == self.states.total()]
        if self.states.total() and not self.states["kept"]:
            for gate in sorted(_SETTING.keys() & set(gates) & self.asked.keys()):
                yield (
                    f"no photo is kept: {gate} asks for {self.asked[gate]:g} {_UNIT[gate]}, as"
                    f" {_SETTING[gate]} under [ingest.gates] in authface.toml says. With another"
                    " value there, ingest again."
                )


def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders or files with original photos, or s3:// addresses."),
    ],
    workspace: WorkspaceOption = None,
    photographer: Annotated[str | None, typer.Option(help="Who took them.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the photos.")] = None,
    consent: Annotated[str | None, typer.Option(help="The consent that covers them.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who is in them, as a pseudonym.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes, else as in authface.toml.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="i/n: only the i-th of n equal parts, for job arrays.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster.")] = "local",
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every file, even one that looks unchanged.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per file, then one with the counts.")
    ] = False,
) -> None:
    """Decode, judge, find faces, cut crops; every file ends in the table with a reason.

    Originals are only read. A second run skips what is done. Exit code 3 if a file can't be read.

    Example: authface ingest ~/shoots/2026-03 --consent release-17 --subject person-4
    """
    from curation.ledger import known_photos
    from curation.scale import found_in
    from data_manifests.store import Store
    from data_manifests.sweep import writing_media

    place, settings = open_workspace(workspace)
    told = {
        "photographer": photographer,
        "licence": licence,
        "consent_id": consent,
        "subject_id": subject,
    }
    config = settings.ingest.model_copy(update={k: v for k, v in told.items() if v is not None})
    config = _with_workers(config, workers)
    found = list(found_in(sources, shard=shard))
    if not found:
        console.note(f"no photo in {', '.join(sources)}")
        if as_json:
            console.data({"files": 0})
        return
    store = Store(place.tables)
    known = known_photos(store)
    if dry_run:
        _foretell(found, known, config, as_json=as_json)
        return
    stream = _stream(found, place, config, known, engine=engine, rehash=rehash)
    with writing_media(place.media):
        tally = _run(store, stream, total=len(found), as_json=as_json)
    found.clear()  # settling needs the room: 100,000 paths take a tenth of a gigabyte
    if shard is None:
        unchanged = list(known.values()) if not tally.changed else None
        _settle(store, config, unchanged, as_json=as_json)
    elif not as_json:
        console.say("  when all parts are done: authface photos settle")
    if tally.status["unreadable"]:
        raise typer.Exit(console.PARTIAL)


def _with_workers(config: IngestConfig, workers: int | None) -> IngestConfig:
    if workers is None:
        return config
    decoder = config.decoder.model_copy(update={"processes": workers})
    return config.model_copy(update={"decoder": decoder})


def _stream(
    found: list[Found],
    place: Workspace,
    config: IngestConfig,
    known: dict[str, Photo],
    *,
    engine: str,
    rehash: bool,
) -> Iterator[Ingested]:
    from curation.engines import LocalEngine
    from curation.faces import open_finder
    from curation.pipeline import ingest_found
    from curation.scale import RayEngine
    from data_manifests.errors import ConfigError

    if engine not in ("local", "ray"):
        raise ConfigError(f"There is no engine {engine!r}.", "Known are: local, ray.")
    lacks = open_finder(config.faces).lacks
    if lacks:
        console.note(lacks)
    return ingest_found(
        found,
        workspace=place,
        config=config,
        known=known,
        rehash=rehash,
        make_engine=RayEngine if engine == "ray" else LocalEngine,
    )


def _run(store: Store, stream: Iterator[Ingested], *, total: int, as_json: bool) -> _Tally:
    """Commit the stream as it comes and print what became of it."""
    from curation.ledger import commit

    tally = _Tally()
    for item in console.track(commit(store, stream), total=total, label="ingest"):
        tally.count(item)
        if as_json:
            console.data(_told(item))
    if as_json:
        console.data({"files": total, **tally.status, **tally.states, "faces": tally.faces})
        return tally
    console.table("Ingest", ("files", "what"), _lines(total, tally))
    for line in tally.hints():
        console.note(line)
    for path, problem in tally.said:
        console.note(f"{console.one_line(path)} {problem}")
    console.done(f"{tally.faces} faces in {tally.status['new']} new photos")
    return tally


def _settle(
    store: Store, config: IngestConfig, unchanged: list[Photo] | None, *, as_json: bool
) -> None:
    """Duplicates, bursts and shots, over all photos in the tables."""
    from curation.settle import settle_tables

    settled = settle_tables(store, config.gates, photos=unchanged)
    if as_json:
        console.data({"settled": settled.changed})
    elif settled.changed:
        console.done(settled.text())


def _foretell(
    found: list[Found], known: dict[str, Photo], config: IngestConfig, *, as_json: bool
) -> None:
    """What an ingest would do, from names, sizes and times alone."""
    from curation.pipeline import settle_finder
    from curation.standing import Standing

    told = Standing(settle_finder(config), known).foretell(found)
    if as_json:
        console.data(asdict(told))
        return
    console.table("Ingest, dry run", ("files", "what"), told.lines())
    console.say(f"  {told.bytes / 1e6:,.0f} MB to read; nothing was written")


def _told(item: Ingested) -> dict[str, object]:
    photo = item.photo
    return {
        "path": item.path,
        "status": item.status,
        "photo_id": photo.photo_id if photo else None,
        "state": photo.state if photo else None,
        "reasons": list(photo.reasons) if photo else [],
        "faces": len(item.faces),
        "problem": item.problem or None,
    }


def _lines(seen: int, tally: _Tally) -> Iterable[tuple[int, str]]:
    yield seen, "seen"
    for state in STATES:
        if tally.states[state]:
            yield tally.states[state], state.replace("_", " ")
    for reason, count in tally.reasons.most_common():
        yield count, f"  because of {reason}"
    for name, words in (
        ("known", "known already"),
        ("copy", "copies of a known photo"),
        ("unreadable", "could not be read"),
        ("erased", "refused, erased_subject: whom they show was erased from this workspace"),
    ):
        if tally.status[name]:
            yield tally.status[name], words
