"""The consent ledger: entries that are only ever added, each holding the hash of the one before.

What a consent says is hashed together with a random salt. So an erasure may empty an entry's words:
the chain still holds, and the hash that stays says nothing about the person. The table `consents`
is the ledger's sum, kept because that is what everybody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from data_manifests.errors import ManifestError
from data_manifests.records import Consent, ConsentEntry
from data_manifests.store import Store

__all__ = [
    "FIRST",
    "enter_erasure",
    "enter_grant",
    "enter_withdrawal",
    "fold",
    "read_view",
    "verify",
    "verify_ledger",
]

FIRST = "0" * 64  # what the first entry has as the hash before it
_TIMES = ("valid_from", "valid_until", "withdrawn_at")
_NAMES = frozenset(f.name for f in fields(Consent))


def read_view(store: Store) -> dict[str, Consent]:
    """Every consent as it stands, by id: the ledger's sum, and rows that it does not know."""
    return {c.consent_id: c for c in store.read(Consent)} | fold(store.read(ConsentEntry))


def enter_grant(store: Store, consent: Consent, *, at: datetime | None = None) -> None:
    """Enter a consent, then show it in the view; what an earlier call left undone is done first."""
    _enter(store, "grant", (consent,), at)


def enter_withdrawal(store: Store, consent: Consent, *, at: datetime | None = None) -> None:
    """Enter that a consent is withdrawn, as its `withdrawn_at` says."""
    _enter(store, "withdraw", (consent,), at)


def enter_erasure(store: Store, consent_ids: Iterable[str], *, receipt_id: str) -> int:
    """Enter that an erasure is about to empty the entries of these consents; how many those are.

    Entered once for a receipt.
    """
    wanted = frozenset(consent_ids)
    with _one_writer(store):
        entries = _healed(store)
        said = [_terms(e) for e in entries if e.kind == "erase"]
        standing = next((t for t in said if t.get("receipt_id") == receipt_id), None)
        if standing is not None:
            return int(standing["entries"])
        count = sum(e.consent_id in wanted for e in entries if e.consent_id)
        if count:
            terms = _salted({"receipt_id": receipt_id, "entries": count})
            _add(store, entries, [("erase", "", terms)], datetime.now(UTC))
    return count


def fold(entries: Sequence[ConsentEntry]) -> dict[str, Consent]:
    """What the entries add up to, by consent id; emptied ones count for nothing."""
    standing: dict[str, Consent] = {}
    for entry in entries:
        if entry.terms and entry.kind in ("grant", "withdraw"):
            standing[entry.consent_id] = _consent(_terms(entry))
    return standing


def verify(
    entries: Sequence[ConsentEntry], consents: Sequence[Consent]
) -> Iterator[tuple[str, str]]:
    """Yield (row, what is wrong): a broken chain, a number that lacks, a view that differs."""
    before, emptied, excused = FIRST, 0, 0
    for place, entry in enumerate(entries):
        if entry.entry_id != _number(place):
            yield entry.entry_id, f"stands where the ledger should have number {_number(place)}"
        if entry.previous_sha256 != before:
            yield entry.entry_id, "does not hold the hash of the entry before it"
        if entry.entry_sha256 != _entry_sha256(entry):
            yield entry.entry_id, "was changed: its hash differs"
        if entry.terms and entry.terms_sha256 != _terms_sha256(entry.kind, entry.at, entry.terms):
            yield entry.entry_id, "was changed: the hash of its terms differs"
        emptied += not entry.terms
        excused += _erased_by(entry)
        before = entry.entry_sha256
    if emptied > excused:
        yield "consent_ledger", f"{emptied} entries are empty and erasures explain {excused}"
    if entries:
        yield from _differences(entries, consents)


def verify_ledger(store: Store) -> Iterator[tuple[str, str]]:
    """As `verify`, of the newest tables."""
    yield from verify(store.read(ConsentEntry), store.read(Consent))


def _differences(
    entries: Sequence[ConsentEntry], consents: Sequence[Consent]
) -> Iterator[tuple[str, str]]:
    try:
        wanted = fold(entries)
    except (ManifestError, ValueError, TypeError, KeyError):
        yield "consent_ledger", "holds terms that can't be read"
        return
    view = {c.consent_id: c for c in consents}
    for name in sorted(wanted.keys() | view.keys()):
        if name not in wanted:
            yield name, "stands in consents and not in the ledger"
        elif view.get(name) != wanted[name]:
            yield name, "differs between consents and the ledger: grant or withdraw mends it"


def _erased_by(entry: ConsentEntry) -> int:
    try:
        return int(_terms(entry)["entries"]) if entry.kind == "erase" and entry.terms else 0
    except (ValueError, TypeError, KeyError):
        return 0


def _enter(store: Store, kind: str, consents: Sequence[Consent], at: datetime | None) -> None:
    with _one_writer(store):
        entries = _healed(store)
        standing = fold(entries)
        fresh = [c for c in consents if standing.get(c.consent_id) != c]
        if fresh:
            news = [(kind, c.consent_id, _salted(_plain(c))) for c in fresh]
            _add(store, entries, news, at or datetime.now(UTC))
            named = ", ".join(c.consent_id for c in fresh)
            store.upsert(Consent, fresh, why=f"{kind} {named}")


def _healed(store: Store) -> list[ConsentEntry]:
    """The entries, after the view was made equal to them.

    A workspace of a release without a ledger enters the consents that stand.
    """
    entries, view = store.read(ConsentEntry), store.read(Consent)
    if not entries and view:
        granted = [replace(c, withdrawn_at=None) for c in view]
        news = [("grant", c.consent_id, _salted(_plain(c))) for c in granted]
        gone = [c for c in view if c.withdrawn_at is not None]
        news += [("withdraw", c.consent_id, _salted(_plain(c))) for c in gone]
        entries = _add(store, [], news, datetime.now(UTC))
    store_has = {c.consent_id: c for c in view}
    behind = [c for c in fold(entries).values() if store_has.get(c.consent_id) != c]
    if behind:
        store.upsert(Consent, behind, why="as the ledger says")
    return entries


def _add(
    store: Store,
    entries: list[ConsentEntry],
    news: Sequence[tuple[str, str, str]],
    at: datetime,
) -> list[ConsentEntry]:
    chained = list(entries)
    for kind, consent_id, terms in news:
        entry = ConsentEntry(
            entry_id=_number(len(chained)),
            kind=kind,
            consent_id=consent_id,
            terms=terms,
            at=at,
            terms_sha256=_terms_sha256(kind, at, terms),
            previous_sha256=chained[-1].entry_sha256 if chained else FIRST,
            entry_sha256="",
        )
        chained.append(replace(entry, entry_sha256=_entry_sha256(entry)))
    store.append(ConsentEntry, chained[len(entries) :], why="consent ledger")
    return chained


def _number(place: int) -> str:
    return f"{place:010d}"


def _terms_sha256(kind: str, at: datetime, terms: str) -> str:
    return hashlib.sha256(f"{kind}\n{_instant(at)}\n{terms}".encode()).hexdigest()


def _entry_sha256(entry: ConsentEntry) -> str:
    told = f"{entry.entry_id}\n{entry.previous_sha256}\n{entry.terms_sha256}"
    return hashlib.sha256(told.encode()).hexdigest()


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _salted(terms: Mapping[str, Any]) -> str:
    told = {**terms, "salt": secrets.token_hex(32)}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(consent: Consent) -> dict[str, Any]:
    told = asdict(consent)
    return told | {n: _instant(told[n]) for n in _TIMES if told[n] is not None}


def _terms(entry: ConsentEntry) -> dict[str, Any]:
    terms: dict[str, Any] = json.loads(entry.terms) if entry.terms else {}
    return terms


def _consent(terms: Mapping[str, Any]) -> Consent:
    try:
        told = {k: v for k, v in terms.items() if k in _NAMES}
        told |= {n: datetime.fromisoformat(told[n]) for n in _TIMES if told.get(n)}
        told["purposes"] = tuple(told["purposes"])
        return Consent(**told)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"An entry of the consent ledger can't be read: {error}.",
            "Run `authface manifest fsck`, and restore the table from a backup.",
        ) from error


@contextlib.contextmanager
def _one_writer(store: Store) -> Iterator[None]:
    # A number is given once: the kernel frees the lock when its holder dies.
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / ".ledger.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
