"""The consent ledger: a chain that only grows, a view that follows it, and a gate that holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from data_manifests import ledger
from data_manifests.assemble import BuildConfig, assemble
from data_manifests.consent import grant, refusal, require, withdraw
from data_manifests.errors import ConsentError, InputError, ManifestError
from data_manifests.ledger import fold, verify, verify_ledger
from data_manifests.records import Box, Consensus, Consent, ConsentEntry, Crop, Face, Photo, Sample
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def consent(name: str, **changes: object) -> Consent:
    made = Consent(
        consent_id=name, purposes=("training",), basis="release", valid_from=NOW - timedelta(days=9)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "tables")
    grant(made, consent("a", subject_id="s-1"))
    grant(made, consent("b", subject_id="s-2", is_minor=True, guardian="parent 7"))
    withdraw(made, "a", NOW)
    return made


def entries(store: Store) -> list[ConsentEntry]:
    return store.read(ConsentEntry)


def test_every_grant_and_withdrawal_is_an_entry_and_the_view_is_their_sum(store: Store) -> None:
    assert [e.kind for e in entries(store)] == ["grant", "grant", "withdraw"]
    assert list(fold(entries(store)).values()) == store.read(Consent)
    assert store.read(Consent)[0].withdrawn_at == NOW
    assert list(verify_ledger(store)) == []


def test_granting_the_same_again_enters_nothing(store: Store) -> None:
    grant(store, consent("b", subject_id="s-2", is_minor=True, guardian="parent 7"))
    withdraw(store, "a", NOW + timedelta(days=1))
    assert len(entries(store)) == 3


def test_other_terms_under_the_same_name_are_refused(store: Store) -> None:
    with pytest.raises(InputError, match="other terms"):
        grant(store, consent("b", subject_id="s-2", is_minor=True, guardian="somebody else"))


def test_a_minor_without_a_guardian_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="guardian"):
        grant(store, consent("c", is_minor=True))
    minor = consent("c", is_minor=True)
    assert refusal(minor, "training", NOW) == "consent_minor_without_guardian"
    assert refusal(replace(minor, guardian="g"), "training", NOW) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": '{"consent_id":"a"}'},
        {"kind": "erase"},
        {"previous_sha256": "1" * 64},
        {"terms_sha256": "1" * 64},
        {"entry_sha256": "1" * 64},
        {"terms": "", "consent_id": ""},
        {"at": NOW - timedelta(days=400)},
    ],
)
def test_a_changed_entry_is_found(store: Store, changes: dict[str, object]) -> None:
    standing = entries(store)
    standing[1] = replace(standing[1], **changes)  # type: ignore[arg-type]
    assert list(verify(standing, store.read(Consent)))


def test_a_missing_entry_and_a_view_that_differs_are_found(store: Store) -> None:
    standing = entries(store)
    faults = dict(verify(standing[:1] + standing[2:], store.read(Consent)))
    assert "number 0000000001" in faults["0000000002"] or "hash" in faults["0000000002"]
    store.upsert(Consent, [consent("a", subject_id="s-1")], why="behind the ledger's back")
    assert [row for row, _ in verify_ledger(store)] == ["a"]
    store.upsert(Consent, [consent("z")], why="behind the ledger's back")
    assert dict(verify_ledger(store))["z"] == "stands in consents and not in the ledger"


def test_a_kill_between_ledger_and_view_is_mended_by_the_next_call(store: Store) -> None:
    killed = mock.patch.object(store, "upsert", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        withdraw(store, "b", NOW)
    assert [e.kind for e in entries(store)][-1] == "withdraw"
    assert [row for row, _ in verify_ledger(store)] == ["b"]
    grant(store, consent("c"))
    assert list(verify_ledger(store)) == []
    assert {c.consent_id for c in store.read(Consent) if c.withdrawn_at} == {"a", "b"}


def test_a_workspace_without_a_ledger_enters_what_stands(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    store.upsert(Consent, [consent("old"), consent("gone", withdrawn_at=NOW)], why="last release")
    grant(store, consent("new"))
    assert Counter(e.kind for e in entries(store)) == {"grant": 3, "withdraw": 1}
    assert list(verify_ledger(store)) == []


def test_two_who_grant_at_once_both_get_a_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: grant(store, consent(f"c{n}")), range(8)))
    assert len(entries(store)) == 8
    assert list(verify_ledger(store)) == []


def test_emptied_entries_keep_the_chain_and_say_nothing(store: Store) -> None:
    assert ledger.enter_erasure(store, {"a"}, receipt_id="r1") == 2
    assert ledger.enter_erasure(store, {"a"}, receipt_id="r1") == 2
    standing = entries(store)
    assert [e.kind for e in standing] == ["grant", "grant", "withdraw", "erase"]
    emptied = [replace(e, consent_id="", terms="") if e.consent_id == "a" else e for e in standing]
    view = [c for c in store.read(Consent) if c.consent_id != "a"]
    assert list(verify(emptied, view)) == []
    guess = hashlib.sha256(f"grant\n{standing[0].at.isoformat()}\n".encode()).hexdigest()
    assert guess != emptied[0].terms_sha256


def test_an_entry_is_never_replaced(store: Store) -> None:
    changed = replace(entries(store)[0], kind="withdraw")
    with pytest.raises(ManifestError, match="only ever added"):
        store.append(ConsentEntry, [changed], why="no")


def test_of_1000_photos_none_leaks_without_a_valid_consent(tmp_path: Path) -> None:
    """10 % each withdrawn, expired, for another purpose, or a minor's without a guardian."""
    faults: list[dict[str, object]] = [
        {"withdrawn_at": NOW - timedelta(hours=1)},
        {"valid_until": NOW},
        {"purposes": ("curation", "annotation")},
        {"is_minor": True},
    ]
    consents = [
        consent(f"c{n}", **(faults[n % 10] if n % 10 < len(faults) else {})) for n in range(1000)
    ]
    photos = [
        Photo(photo_id=f"p{n}", path=f"/{n}.jpg", state="kept", size_bytes=1, consent_id=f"c{n}")
        for n in range(1000)
    ]
    faces = [_face(p.photo_id) for p in photos]
    answers = [
        Consensus(photo_id=p.photo_id, decision="accept", voters=1, conflict=False) for p in photos
    ]
    built = assemble(photos, faces, answers, consents, config=BuildConfig(), now=NOW)
    assert len(built.samples) == 600
    assert sorted(n for why, n in built.left_out.items() if "consent" in why) == [100] * 4
    assert not [s for s in built.samples if int(s.consent_id[1:]) % 10 < 4]

    store = Store(tmp_path / "tables")
    store.upsert(Consent, consents, why="test")
    require(store, built.samples, "training", NOW)
    leaked = [replace(built.samples[0], consent_id=f"c{n}") for n in range(1000) if n % 10 < 4]
    with pytest.raises(ConsentError, match="400 samples"):
        require(store, leaked, "training", NOW)


def _face(name: str) -> Face:
    crop = Crop(
        path=f"crops/{name}.png",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        kind="aligned",
        width=8,
        height=8,
        matrix=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    )
    box = Box(left=0, top=0, right=8, bottom=8)
    return Face(face_id=f"{name}-0", photo_id=name, index=0, box=box, finder="test", crops=(crop,))


def test_a_withdrawal_that_only_the_ledger_knows_of_counts_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the entry and the view: gates ask the ledger."""
    consent = Consent(consent_id="k", purposes=("training",), basis="release", valid_from=NOW)
    grant(store, consent)
    upsert = Store.upsert

    def killed(self: Store, noun: type, records: object, *, why: str) -> object:
        if noun is Consent:
            raise KeyboardInterrupt
        return upsert(self, noun, records, why=why)  # type: ignore[arg-type]

    with monkeypatch.context() as stop:
        stop.setattr(Store, "upsert", killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw(store, "k", NOW)
    assert {c.consent_id: c.withdrawn_at for c in store.read(Consent)}["k"] is None
    sample = Sample(
        sample_id="s",
        photo_id="p",
        face_id="f",
        crop_path="c",
        crop_sha256="c",
        width=1,
        height=1,
        native_width=1.0,
        native_height=1.0,
        split="train",
        consent_id="k",
    )
    with pytest.raises(ConsentError, match="consent_withdrawn"):
        require(store, [sample], "training", NOW)
