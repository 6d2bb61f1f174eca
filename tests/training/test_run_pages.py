"""Looking at runs: a page about one, several side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from authface.charts import series_chart
from authface.cli import app
from authface.run_compare import compare_runs, doubts
from authface.run_facts import read_run, run_names, thinned
from data_manifests.errors import InputError
from data_manifests.media import Workspace
from data_manifests.person import Person
from data_manifests.records import Sample
from data_manifests.store import Store
from data_manifests.traces import find_traces
from tests.waiting import until

# diffusers 0.42's solver hands a tensor to NumPy 2 in the old way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
LOOKS = ("--set", "validate_every=2", "--set", "grid_every=2", "--set", "grid_of=1")


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["train", *arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def trained(
    make_workspace: Callable[..., tuple[Workspace, Store]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Workspace:
    """Two short restorer runs: one validated on two held-out samples and with grids, one plain."""
    workspace, store = make_workspace(tmp_path_factory.mktemp("looked"))
    workspace.settings.write_text("")
    rows = sorted(store.read(Sample), key=lambda s: s.sample_id)
    store.upsert(Sample, [replace(s, split="validation") for s in rows[:2]], why="held out")
    asked = ("restorer", "-w", str(workspace.root), "--config", "restorer-tiny", "--prior", "tiny")
    call(*asked, "--name", "looked", "--steps", "4", *LOOKS)
    call(*asked, "--name", "plain", "--steps", "2", "--set", "lr=1e-4", "--set", "validate_every=0")
    return workspace


def test_a_run_leaves_a_page_that_tells_what_it_stands_on(trained: Workspace) -> None:
    page = (trained.runs / "looked" / "report.html").read_text()
    assert "Tiny random base" in page
    assert page.count("data:image/jpeg;base64,") == 3  # at the start, after steps 2 and 4
    assert page.count('class="series') == 5 * 5  # noise, gan, gram, critic and condition use
    record = json.loads((trained.runs / "looked" / "config.json").read_text())
    for told in (
        f"samples@{record['tables']['samples']}",
        "public domain",
        "<b>4 / 4</b>",
        "2 samples, the same noise",
        record["code"].get("commit") or record["code"]["version"],
        record["packages"]["torch"],
    ):
        assert told in page
    own = re.findall(r'<tr class="own"><th scope="row">([\w.]+)</th>', page)
    assert {"validate_every", "grid_every", "facial.width"} <= set(own)
    assert "weight_decay" not in own
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page


def test_a_page_of_a_run_without_looks_says_how_to_get_them(trained: Workspace) -> None:
    page = (trained.runs / "plain" / "report.html").read_text()
    assert "validate_every=500" in page
    assert "grid_every=500" in page


def test_an_erasure_finds_a_page_by_the_samples_it_shows(trained: Workspace) -> None:
    beside = trained.runs / "looked" / "grids" / "step-000004.png.authface.json"
    (shown,) = json.loads(beside.read_text())["samples"]
    doomed = find_traces(trained, Person("p", {"sample": frozenset({shown})})).doomed
    assert trained.runs / "looked" / "report.html" in doomed
    assert trained.runs / "looked" / "grids" / "step-000004.png" in doomed
    assert trained.runs / "plain" / "report.html" not in doomed


def test_the_report_command_takes_the_run_that_wrote_last(trained: Workspace) -> None:
    out = trained.root / "page.html"
    assert "page.html" in call("report", "-w", str(trained.root), "--out", str(out))
    assert "<h1>plain</h1>" in out.read_text()
    assert run_names(trained.runs) == ["looked", "plain"]
    with pytest.raises(InputError, match="no run nobody") as refused:
        call("report", "nobody", "-w", str(trained.root))
    assert "looked, plain" in refused.value.todo
    with pytest.raises(InputError, match="no run"):
        call("report", "../looked", "-w", str(trained.root))


def test_a_comparison_tells_what_differs_and_what_came_of_it(
    trained: Workspace, tmp_path: Path
) -> None:
    page = tmp_path / "side.html"
    text = call("compare", "looked", "plain", "-w", str(trained.root), "--html", str(page))
    cells = [[c.strip() for c in line.split("│")] for line in text.splitlines() if "│" in line]
    shown = {name: values for name, *values in cells}
    assert shown["lr"] == ["0.001", "0.0001"]
    assert shown["updates"] == ["4", "2"]
    assert shown["validation, noise, last"][1] == "-"
    assert float(shown["samples per second"][0]) > 0
    assert "validation, noise, best" in shown
    assert "validation, gan, best" not in shown
    assert not {"size", "weight_decay", "recipe", "torch"} & set(shown)
    assert page.read_text().count('class="series') == 2 * 6  # loss, five of validation
    with pytest.raises(InputError, match="One run"):
        call("compare", "looked", "-w", str(trained.root))


def test_runs_that_can_t_be_held_against_each_other_are_told(trained: Workspace) -> None:
    run = read_run(trained.runs, "looked")
    assert doubts([run, run]) == []
    assert not [line for line in compare_runs([run, run]) if line.group == "settings"]
    others = [{**row, "of": "other", "seen": True} for row in run.validations]
    config = {**run.record["config"], "recipe": "gfpgan"}
    other = replace(run, validations=others, record={**run.record, "config": config})
    told = " ".join(doubts([run, other]))
    for doubt in ("different samples", "different recipes", "trained on"):
        assert doubt in told
    spoken = {k: v for k, v in run.record["config"].items() if k != "recipe"}
    prior = replace(run, record={**run.record, "kind": "prior", "config": spoken})
    told = " ".join(doubts([run, prior]))
    assert "different stages" in told
    assert "recipes" not in told  # a prior has none


def test_a_base_of_unknown_bytes_is_named_whole_and_a_short_run_is_timed_in_seconds(
    trained: Workspace,
) -> None:
    run = read_run(trained.runs, "looked")
    place = "/somewhere/far/away/models/portraits-sdxl"
    other = replace(
        run,
        record={**run.record, "base": place, "base_sha256": None},
        steps=[{**row, "seconds": 900.0} for row in run.steps],
    )
    shown = {line.name: line.values for line in compare_runs([run, other])}
    assert shown["base"][1] == place
    assert shown["time on steps"][0].endswith(" s")
    assert shown["time on steps"][1] == "1 h"


def test_steps_that_were_left_out_are_no_part_of_a_curve(trained: Workspace) -> None:
    run = read_run(trained.runs, "plain")
    skipped: dict[str, Any] = {"step": 3, "loss": None, "parts": {}, "lr": 1e-4, "skipped": True}
    longer = replace(run, steps=[*run.steps, skipped])
    assert longer.curve("loss") == run.curve("loss")
    assert longer.final_loss == run.final_loss == run.steps[-1]["loss"]
    assert longer.done == 3


def test_a_long_curve_is_drawn_by_means() -> None:
    assert thinned([(1, 4.0), (2, 8.0)], 5) == [(1, 4.0), (2, 8.0)]
    assert thinned([(i, float(i)) for i in range(1, 7)], 2) == [(2, 2.0), (5, 5.0)]
    assert thinned([]) == []


def test_a_chart_of_curves_escapes_their_names_and_needs_two_points() -> None:
    drawn = series_chart({"a<b": [(1, 1.0), (2, 3.0)], "flat": [(1, 1.0)]}, label="x & y")
    assert "a&lt;b" in drawn
    assert "x &amp; y" in drawn
    assert series_chart({"a": [(1, 1.0)]}, label="x") == ""
    assert series_chart({}, label="x") == ""


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(trained: Workspace, browser: Any, width: int) -> None:
    """Nothing sticks out sideways, no table of figures is cut, every picture is there."""
    browser.set_viewport_size({"width": width, "height": 900})
    browser.goto((trained.runs / "looked" / "report.html").as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('.card')].filter(c => c.scrollWidth > c.clientWidth)"
    assert browser.evaluate(f"{cut}.length") == 0
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    until(browser, "[...document.images].every(i => i.complete && i.naturalWidth > 0)")
