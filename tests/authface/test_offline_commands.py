"""A photographer without the server, as typed: sheets and CSV, XMP in files and beside them, back.

The originals are real files, and each container carries its XMP as its writer puts it there.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image
from skimage import data
from typer.testing import CliRunner, Result

from authface import console
from authface.cli import app
from authface.settings import init_workspace
from data_manifests.media import write_media
from data_manifests.records import Annotation, Consensus, Photo
from data_manifests.store import Store

pytestmark = pytest.mark.usefixtures("fresh_console")

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"
 xmp:Label="Red"/></rdf:RDF></x:xmpmeta>"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "ws"
    init_workspace(made)
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(made))
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["annotate", *words])


def keep(root: Path, original: Path) -> Photo:
    """A kept photo of this original, with a proxy."""
    small = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((128, 128)).save(small, "JPEG")
    proxy, _ = write_media(root / "media", "proxies", small.getvalue(), ".jpg")
    facts = original.stat()
    photo = Photo(
        photo_id=hashlib.sha256(original.read_bytes()).hexdigest(),
        path=str(original),
        state="kept",
        size_bytes=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        width=512,
        height=512,
        proxy_path=proxy,
        proxy_width=128,
        proxy_height=128,
    )
    Store(root / "tables").upsert(Photo, [photo], why="test")
    return photo


def plain(folder: Path, name: str) -> Path:
    path = folder / name
    shade = int(hashlib.sha256(name.encode()).hexdigest()[:2], 16)
    Image.new("RGB", (512, 512), (shade, 90, 90)).save(path)
    return path


def fill_in(table: Path, answers: dict[str, str]) -> bytes:
    """The CSV as a spreadsheet saves it, with decisions by file name; the photos' order is kept."""
    text = table.read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        row["decision"] = next(said for name, said in answers.items() if name in row.values())
        row["reasons" if "reasons" in row else "reject_reason"] = (
            "motion_blur" if row["decision"] == "reject" else ""
        )
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig")


def test_a_sheet_goes_out_and_its_answers_come_back(root: Path, tmp_path: Path) -> None:
    names = ("one.png", "two.png")
    photos = {name: keep(root, plain(tmp_path, name)) for name in names}
    sheets = tmp_path / "sheets"
    made = run("sheet", "--out", str(sheets))
    assert made.exit_code == 0, made.output
    assert {p.name for p in sheets.iterdir()} == {"sheet-001.html", "sheets.pdf", "answers.csv"}
    back = tmp_path / "back.csv"
    back.write_bytes(fill_in(sheets / "answers.csv", {"one.png": "accept", "two.png": "retouch"}))
    tried = run("answers", str(back), "--as", "Anna Berg", "--dry-run")
    assert tried.exit_code == 0, tried.output
    store = Store(root / "tables")
    assert store.read(Annotation) == []
    taken = run("answers", str(back), "--as", "Anna Berg")
    assert taken.exit_code == 0, taken.output
    settled = {c.photo_id: c.decision for c in store.read(Consensus)}
    assert settled == {photos["one.png"].photo_id: "accept", photos["two.png"].photo_id: "retouch"}
    versions = store.versions()
    assert run("answers", str(back), "--as", "Anna Berg").exit_code == 0
    assert store.read(Consensus)
    assert store.versions()["annotations"] == versions["annotations"]
    everything = b"".join(p.read_bytes() for p in (root / "tables").rglob("*") if p.is_file())
    assert b"Anna" not in everything
    assert "Anna" not in taken.output


def test_a_row_that_cannot_count_is_kept_apart_with_its_reason(root: Path, tmp_path: Path) -> None:
    keep(root, plain(tmp_path, "one.png"))
    run("sheet", "--out", str(tmp_path / "sheets"))
    back = tmp_path / "back.csv"
    back.write_bytes(fill_in(tmp_path / "sheets" / "answers.csv", {"one.png": "perhaps"}))
    taken = run("answers", str(back), "--as", "Anna")
    assert taken.exit_code == console.PARTIAL
    assert "perhaps" in taken.output
    assert "0 answers, 1 row set aside" in taken.output
    assert "0 answers new, 0 changed, 0 the same" in taken.output
    assert "perhaps" in (tmp_path / "back.set-aside.csv").read_text(encoding="utf-8-sig")
    (row,) = Store(root / "tables").read(Annotation)
    assert row.state == "set_aside"


def jpeg(path: Path) -> None:
    Image.fromarray(data.astronaut()).save(path, xmp=XMP.encode())


def tiff(path: Path) -> None:
    tags = [(700, "B", len(XMP), XMP.encode(), False)]
    tifffile.imwrite(path, data.astronaut().astype(np.uint16) * 257, extratags=tags)


def heic(path: Path) -> None:
    picture = pillow_heif.from_pillow(Image.fromarray(data.astronaut()))
    picture.save(path, xmp=XMP.encode())


def beside(path: Path) -> None:
    Image.fromarray(data.astronaut()).save(path)
    path.with_suffix(".xmp").write_text(XMP)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.jpg", jpeg), ("a.tif", tiff), ("a.heic", heic), ("a.png", beside)],
)
def test_a_rating_is_read_from_each_kind_of_file(
    root: Path, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    original = tmp_path / name
    write(original)
    before = original.read_bytes()
    photo = keep(root, original)
    read = run("xmp-read", "--as", "Anna")
    assert read.exit_code == 0, read.output
    store = Store(root / "tables")
    (answer,) = store.read(Annotation)
    assert (answer.source, answer.decision, answer.rating) == ("xmp", "retouch", 5)
    (settled,) = store.read(Consensus)
    assert (settled.photo_id, settled.decision) == (photo.photo_id, "retouch")
    assert original.read_bytes() == before


def test_a_decision_is_written_beside_the_original_and_read_back_as_ours(
    root: Path, tmp_path: Path
) -> None:
    photo = keep(root, plain(tmp_path, "one.png"))
    store = Store(root / "tables")
    said = Consensus(photo_id=photo.photo_id, decision="accept", voters=1, conflict=False)
    store.upsert(Consensus, [replace(said, rating=4.0)], why="test")
    shown = run("xmp-write")
    assert shown.exit_code == 0
    assert "Nothing is written yet" in shown.output
    sidecar = tmp_path / "one.xmp"
    assert not sidecar.exists()
    assert not list(tmp_path.glob("*.xmp"))
    assert run("xmp-write", "--yes").exit_code == 0
    (written,) = tmp_path.glob("*.xmp")
    assert "accept" in written.read_text()
    assert run("xmp-read", "--as", "Anna").exit_code == 0
    assert store.read(Annotation) == []  # our own words are nobody's answer
