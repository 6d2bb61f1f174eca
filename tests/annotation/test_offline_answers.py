"""Contact sheets go out; what comes back as CSV is checked, settled, and survives a pull."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from annotation.agreement import settle
from annotation.csv_answers import (
    Aside,
    Row,
    aside_table,
    read_rows,
    short_ids,
    to_answer,
    write_rows,
)
from annotation.ledger import person
from annotation.merge import Judging, Known, merge
from annotation.questions import FORMS, TRIAGE
from annotation.sheets import html_page, pdf_sheet
from annotation.taken import Settling, take
from data_manifests.records import Annotation, Consensus, Photo
from data_manifests.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IDS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]


def photos(*names: str) -> list[Photo]:
    return [
        Photo(photo_id=i, path=f"/originals/{n}", state="kept", size_bytes=1)
        for i, n in zip(IDS, names, strict=False)
    ]


def table(rows: list[dict[str, str]]) -> str:
    names = list(dict.fromkeys(n for r in rows for n in r))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def judged(data: bytes | str) -> list[Annotation | Aside | None]:
    def find(digits: str) -> list[str]:
        return [i for i in IDS if i.startswith(digits)]

    raw = data.encode() if isinstance(data, str) else data
    return [to_answer(r, find=find, who="p", at=NOW) for r in read_rows(raw)]


def only(cells: dict[str, str]) -> Annotation | Aside | None:
    (one,) = judged(table([{"id": f"AF-{IDS[0][:8]}", "decision": ""} | cells]))
    return one


def test_a_filled_in_row_is_an_answer_in_the_forms_words_or_the_tables() -> None:
    one = only({"decision": "Reject", "reasons": "Soft focus; noise", "stars": "2,0"})
    assert isinstance(one, Annotation)
    assert (one.decision, one.reasons, one.rating) == ("reject", ("soft_focus", "noise"), 2)
    tagged = only({"decision": "accept", "gaze": "at camera", "note": "'-soften"})
    assert isinstance(tagged, Annotation)
    assert (tagged.photographic_tags, tagged.note) == (("gaze/looking_at_camera",), "-soften")


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"decision": "reject"}, "missing_required"),
        ({"caption": "words"}, "missing_required"),
        ({"decision": "maybe"}, "unknown_choice"),
        ({"decision": "accept, reject"}, "several_answers"),
        ({"decision": "accept", "stars": "9"}, "rating_out_of_range"),
        ({"decision": "accept", "mood": "fine"}, "unknown_question"),
        ({"decision": "accept", "id": "AF-00000000"}, "unknown_photo"),
        ({"decision": "accept", "id": "AF-"}, "unknown_photo"),
    ],
)
def test_a_row_that_cannot_count_is_set_aside_with_its_number_and_why(
    cells: dict[str, str], rule: str
) -> None:
    one = only(cells)
    assert isinstance(one, Aside)
    assert (one.rule, one.row.number) == (rule, 2)
    mended = read_rows(aside_table([one]))[0].cells
    assert {k: mended[k] for k in cells} == cells
    assert mended["why"] == one.why


def test_words_with_a_comma_in_them_are_one_value() -> None:
    tags = next(q for q in TRIAGE.questions if q.kind == "many" and q.column == "semantic")
    first, second = tags.choices[:2]
    worded = replace(
        tags, choices=(replace(first, words="Snow, or none; perhaps"), second, *tags.choices[2:])
    )
    form = replace(TRIAGE, questions=tuple(worded if q is tags else q for q in TRIAGE.questions))
    cells = {"id": f"AF-{IDS[0]}", "decision": "accept"}
    for text, values in (
        ("snow, or none; perhaps", [first.value]),
        (f"{second.title}, Snow, or none; perhaps", [second.value, first.value]),
    ):
        row = Row(2, cells | {tags.name: text})
        one = to_answer(row, find=lambda _: [IDS[0]], who="p", at=NOW, form=form)
        assert isinstance(one, Annotation)
        assert one.semantic_tags == tuple(f"{tags.name}/{v}" for v in values)


def test_what_is_left_empty_is_no_answer() -> None:
    assert judged(write_rows(photos("a.jpg", "b.jpg"))) == [None, None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_make_of_the_file_is_read(encoding: str, delimiter: str) -> None:
    cells = ("id", "decision", "caption"), (IDS[1], "accept", "Café")
    text = "\r\n".join(delimiter.join(c) for c in cells)
    (one,) = judged(text.encode(encoding))
    assert isinstance(one, Annotation)
    assert (one.photo_id, one.caption) == (IDS[1], "Café")


def test_a_file_name_that_a_spreadsheet_would_run_is_neutralised() -> None:
    text = write_rows(photos("=cmd|x.jpg")).decode("utf-8-sig")
    assert "'=cmd|x.jpg" in text


def test_short_ids_tell_all_photos_apart() -> None:
    ids = ["a" * 12 + "0", "a" * 12 + "1", "b" * 13]
    assert len(set(short_ids(ids).values())) == 3
    assert short_ids(["c" * 64])["c" * 64] == "AF-cccccccc"


def counted(store: Store, source: str, decision: str, at: datetime) -> Annotation:
    who = person(store, "Anna  Berg")
    return Annotation(
        annotation_id=f"{source}:{who}:{IDS[0]}",
        task_key=f"{IDS[0]}:triage:1",
        photo_id=IDS[0],
        annotator=who,
        state="counted",
        decision=decision,
        raw="{}",
        source=source,
        created_at=at,
        updated_at=at,
    )


def test_a_persons_newest_file_counts_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    put = partial(take, store, how=Settling(settle), why="test")
    first = counted(store, "xmp", "accept", NOW)
    second = counted(store, "csv", "reject", NOW + timedelta(days=1))
    assert put([first]).new == 1
    assert put([replace(first, updated_at=NOW + timedelta(days=5))]).same == 1
    put([second])
    (settled,) = store.read(Consensus)
    assert (settled.decision, settled.voters) == ("reject", 1)
    versions = store.version(Annotation), store.version(Consensus)
    put([second])
    assert (store.version(Annotation), store.version(Consensus)) == versions
    put([], withdrawn=[second.annotation_id])
    (settled,) = store.read(Consensus)
    assert (settled.decision, settled.voters) == ("accept", 1)


def test_a_dry_run_and_a_bad_row_leave_the_answer_that_stands(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    good = counted(store, "csv", "accept", NOW)
    take(store, [good], how=Settling(settle), why="test", write=False)
    assert store.read(Annotation) == []
    take(store, [good], how=Settling(settle), why="test")
    bad = replace(good, state="set_aside", flags=("unknown_choice",), decision=None)
    take(store, [bad], how=Settling(settle), why="test")
    assert store.read(Annotation) == [good]


def test_an_answer_from_a_file_survives_a_pull(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    take(store, [counted(store, "xmp", "accept", NOW)], how=Settling(settle), why="test")
    known = Known([], {}, store.read(Annotation), store.read(Consensus))
    merged = merge(known, [], Judging("s", lambda _: "x", FORMS))
    assert merged.annotations == tuple(known.annotations)
    assert [(c.decision, c.voters) for c in merged.settled] == [("accept", 1)]


def test_a_page_holds_every_photo_and_nothing_that_a_name_smuggles_in(
    tmp_path: Path, add_photos: Callable[..., list[Photo]]
) -> None:
    made = add_photos(Store(tmp_path / "t"), tmp_path, 2, path="/o/<script>alert(1)</script>.jpg")
    short = short_ids(p.photo_id for p in made)
    page = html_page(made, media=tmp_path, short=short, place=(1, 1))
    assert page.index('<meta name="generator" content="AuthFace') < 4096
    assert "<script>alert" not in page
    assert page.count("data:image/jpeg;base64,/9j/") == 2
    assert all(p.photo_id in page for p in made)


def test_the_pdf_has_six_photos_a_page_and_names_them(
    tmp_path: Path, add_photos: Callable[..., list[Photo]]
) -> None:
    pytest.importorskip("reportlab", reason="reportlab is not installed")
    made = add_photos(Store(tmp_path / "t"), tmp_path, 7)
    data = pdf_sheet(made, media=tmp_path, short=short_ids(p.photo_id for p in made))
    assert data.startswith(b"%PDF-")
    assert b"/Count 2" in data
    assert b"AuthFace sheet" in data
    assert all(p.photo_id.encode() in data for p in made)
