"""Looking at the tables as typed: sql, stats, versions, diff, restore, explain, schema."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authface.cli import app
from authface.settings import init_workspace
from data_manifests.errors import AuthFaceError
from data_manifests.records import (
    Box,
    Capture,
    Consent,
    Crop,
    Face,
    Photo,
    Point,
    Pose,
    Sample,
    Verdict,
)
from data_manifests.store import Store

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
GUIDE = Path(__file__).parents[2] / "docs" / "tables.md"


pytestmark = pytest.mark.usefixtures("fresh_console")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve photos, twelve samples at version 2, one of them changed at version 4."""
    root = tmp_path / "my-workspace"
    init_workspace(root)
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(root))
    monkeypatch.chdir(tmp_path)
    store = Store(root / "tables")
    started = NOON - timedelta(days=3)
    consent = Consent(
        consent_id="c1", purposes=("training",), basis="release <17>", valid_from=started
    )
    store.upsert(Consent, [consent], why="grant")
    store.upsert(Photo, [_photo(n) for n in range(12)], why="ingest")
    store.upsert(Face, [_face(n) for n in range(12)], why="ingest")
    store.upsert(Sample, [_sample(n) for n in range(12)], why="build")
    store.upsert(Sample, [replace(_sample(0), split="test")], why="build again")
    return root


def _photo(n: int) -> Photo:
    return Photo(
        photo_id=f"{n:064x}",
        path=f"/photos/{n}.jpg",
        state="kept",
        size_bytes=n,
        width=8192,
        height=6000,
        capture=Capture(camera="X100 [bold]", focal_length_35mm=35.0 + n, taken_at=NOON),
        photographer="<script>alert(1)</script>",
        consent_id="c1",
        verdicts=(Verdict(gate="sharp", value=3.0, threshold=2.0, keep=n > 0),),
    )


def _face(n: int) -> Face:
    crop = Crop(path="crops/x.png", sha256="x", kind="aligned", width=64, height=64, matrix=(1.0,))
    return Face(
        face_id=f"{n:064x}-1",
        photo_id=f"{n:064x}",
        index=0,
        box=Box(left=1, top=2, right=3, bottom=4),
        landmarks=(Point(x=1, y=2),),
        pose=Pose(roll=0, yaw=n / 12, pitch=0),
        finder="test",
        eye_distance=100.0 + n,
        crops=(crop,),
    )


def _sample(n: int) -> Sample:
    return Sample(
        sample_id=f"{n + 16:032x}"[::-1],
        photo_id=f"{n:064x}",
        face_id=f"{n:064x}-1",
        crop_path=f"crops/{n}.png",
        crop_sha256="x",
        width=64,
        height=64,
        caption=f"portrait {n}",
        semantic_tags=("shot/close_up", "age_group/middle_aged"),
        photographic_tags=("light_pattern/loop_lighting",),
        native_width=640.0,
        native_height=640.0,
        split="train",
        consent_id="c1",
    )


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["manifest", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["manifest", *arguments])
    assert isinstance(result.exception, AuthFaceError), result.output
    return str(result.exception)


def test_an_answer_is_a_table_with_short_cells_and_utc_times(workspace: Path) -> None:
    asked = "SELECT photo_id, capture, capture.taken_at AS t FROM photos ORDER BY 1 LIMIT 1"
    shown = run("sql", asked).stdout
    assert "2026-06-01 12:00:00 UTC" in shown
    assert "{camera: X100 [bold], focal_length_35mm: 35, ..." in shown
    assert "1 row" in shown


def test_a_long_answer_stops_and_says_so(workspace: Path) -> None:
    shown = run("sql", "SELECT range AS n FROM range(500)").stdout
    assert "the first 100 rows; --limit shows more" in shown
    assert "7 rows" in run("sql", "SELECT range AS n FROM range(7)", "--limit", "7").stdout


def test_a_wide_row_is_printed_down_the_page(workspace: Path) -> None:
    shown = run("sql", "SELECT * FROM samples ORDER BY photo_id", "--limit", "1").stdout
    assert "row 1" in shown
    assert re.search(r"caption +│ portrait 0", shown)


def test_json_is_an_array_of_rows_and_nothing_else(workspace: Path) -> None:
    asked = (
        "SELECT path, capture, verdicts, 1/0 AS odd, sum(size_bytes) AS n FROM photos GROUP BY ALL"
    )
    found = json.loads(run("sql", asked, "--json", "--limit", "3").stdout)
    assert len(found) == 3
    assert found[0]["capture"]["taken_at"] == "2026-06-01T12:00:00+00:00"
    assert found[0]["odd"] is None
    assert isinstance(found[0]["n"], int)
    assert json.loads(run("sql", "SELECT * FROM retouches", "--json").stdout) == []


def test_csv_has_a_header_and_nested_values_as_json(workspace: Path) -> None:
    text = run("sql", "SELECT path, verdicts FROM photos ORDER BY path", "--csv").stdout
    first, *others = list(csv.DictReader(io.StringIO(text)))
    assert first["path"] == "/photos/0.jpg"
    assert json.loads(first["verdicts"])[0]["gate"] == "sharp"
    assert len(others) == 11


def test_a_plan_is_printed_as_it_is(workspace: Path) -> None:
    assert "READ_PARQUET" in run("sql", "EXPLAIN SELECT path FROM photos").stdout


def test_a_wrong_query_is_one_line(workspace: Path) -> None:
    assert '"photo_id"' in refused("sql", "SELECT photoid FROM photos")
    assert "COPY is refused" in refused("sql", "COPY photos TO 'x.csv'")


def test_versions_of_all_tables_and_of_one(workspace: Path) -> None:
    assert re.search(r"samples +│ +4", run("versions").stdout)
    shown = run("versions", "samples").stdout
    assert re.search(r"3-4 +│ 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC +│ merge .* build again", shown)
    history = json.loads(run("versions", "samples", "--json").stdout)
    assert [(v["version"], v["upto"]) for v in history] == [(0, 0), (1, 2), (3, 4)]
    assert "Did you mean samples" in refused("versions", "sample")
    assert "no table retouches yet" in refused("versions", "retouches")


def test_a_difference_is_counted_and_told_by_field(workspace: Path) -> None:
    shown = run("diff", "2", "4").stdout
    assert "samples@2 to samples@4: 0 added, 1 changed, 0 removed" in shown
    assert "split: train -> test" in shown
    assert "0 added, 0 changed, 0 removed" in run("diff", "samples", "3", "4").stdout
    shown = run("diff", "photos", "0", "2", "--limit", "1").stdout
    assert "12 added" in shown
    assert "/photos/0.jpg" in shown
    (change,) = json.loads(run("diff", "2", "4", "--json").stdout)
    assert change["fields"] == [{"path": "split", "old": "train", "new": "test"}]
    assert "Two versions are needed" in refused("diff", "samples", "4")


def test_a_table_is_restored_only_when_told_yes(workspace: Path) -> None:
    store = Store(workspace / "tables")
    run("restore", "samples", "2")
    assert store.version(Sample) == 4
    done = run("restore", "samples", "2", "--yes").stdout
    assert "is as samples@2 was: 0 added, 1 changed, 0 removed" in done
    assert store.read(Sample) == store.read(Sample, 2)
    assert "restore samples@2" in run("versions", "samples").stdout
    assert "no table retouches yet" in refused("restore", "retouches", "1")
    assert "no version 99" in refused("restore", "samples", "99", "--yes")


def test_distributions_are_printed(workspace: Path) -> None:
    shown = run("stats").stdout
    assert "samples@4: 12 samples" in shown
    assert re.search(r"Focal length, mm on 35 mm film +│ +12 │ 40.5", shown)
    assert "loop lighting 100%" in shown
    assert "middle aged 100%" in shown
    found = json.loads(run("stats", "--at", "2", "--json").stdout)
    assert (found["version"], found["samples"]) == (2, 12)


def test_the_page_needs_no_network_and_holds_no_markup_of_others(
    workspace: Path, tmp_path: Path
) -> None:
    run("stats", "--html", str(tmp_path / "stats.html"))
    page = (tmp_path / "stats.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "release &lt;17&gt;" in page
    assert not re.findall(r"(?:src|href)=|url\(|@import", page)
    assert page.count('class="chart"') >= 4
    assert "prefers-color-scheme: dark" in page


def test_the_page_of_an_empty_workspace_says_so(tmp_path: Path) -> None:
    init_workspace(tmp_path / "empty")
    page = tmp_path / "stats.html"
    run("stats", "--html", str(page), "-w", str(tmp_path / "empty"))
    assert "No samples yet" in page.read_text()
    assert "no samples yet" in run("stats", "-w", str(tmp_path / "empty")).stdout


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_fits_a_phone_and_a_desk(
    workspace: Path, tmp_path: Path, browser: Any, width: int
) -> None:
    run("stats", "--html", str(tmp_path / "stats.html"))
    asked: list[str] = []
    browser.on("request", lambda request: asked.append(request.url))
    browser.set_viewport_size({"width": width, "height": 800})
    browser.goto((tmp_path / "stats.html").as_uri())
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.evaluate(overflow) == 0
    assert asked == [(tmp_path / "stats.html").as_uri()]
    bars = browser.locator("#focal_length svg rect.samples")
    assert bars.count() > 3
    assert bars.first.bounding_box()["height"] > 0


def test_a_sample_is_explained_and_a_photo_without_one_too(workspace: Path) -> None:
    shown = run("explain", _sample(0).sample_id[:8]).stdout
    for said in (
        "samples@4",
        "/photos/0.jpg",
        "no  sharp 3, limit 2",
        "c1 holds now",
        "split test",
    ):
        assert said in shown
    store = Store(workspace / "tables")
    store.remove(Sample, [_sample(0).sample_id], why="test")
    shown = run("explain", _photo(0).photo_id).stdout
    assert "no sample, since" in shown
    found = json.loads(run("explain", _sample(1).sample_id, "--json").stdout)
    assert found["photo"]["capture"]["taken_at"] == "2026-06-01T12:00:00+00:00"
    assert "No sample, photo or crop" in refused("explain", "zzzzzzzz")


def test_the_schema_is_printed(workspace: Path) -> None:
    shown = run("schema", "samples").stdout
    assert re.search(r"native_width +│ double +│ px", shown)
    assert run("schema", "--markdown").stdout.startswith("# Tables\n")


def test_every_line_of_the_guide_runs(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code in docs/tables.md, in order; a block for an engine that is not here is passed by."""
    names: dict[str, Any] = {}
    ran = []
    for kind, code in re.findall(r"```(sh|python)\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        if kind == "sh":
            for line in code.splitlines():
                run(*shlex.split(line)[2:])
        else:
            engines = set(re.findall(r"^import (\w+)", code, re.MULTILINE))
            if all(importlib.util.find_spec(engine) for engine in engines):
                exec(compile(code, str(GUIDE), "exec"), names)
                ran.append(engines)
    printed = capsys.readouterr().out
    assert len(ran) >= 5
    assert "[(12,)]" in printed
    assert "X100 [bold]" in printed
    assert "photo_id {'about': \"SHA-256 of the file's bytes, hexadecimal\"}" in printed
