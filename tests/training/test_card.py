"""A model's card: its numbers are the tables', its header is Hugging Face's, it names nobody."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from authface.cli import app
from data_manifests.consent import grant
from data_manifests.media import Workspace
from data_manifests.records import Annotation, Consensus, Consent, Photo, Sample, Verdict
from data_manifests.store import Store
from training.bases import base_model, base_name, folder_facts
from training.card import render
from training.card_facts import base_licence
from training.config import FacialConfig, PriorConfig, RestorerConfig
from training.journal import read_journal
from training.run import train_prior, train_restorer

PRIVATE = ("Anna", "anna", "Bertha", "folder 17", "reviewer-1", "person-", "release-a")
SMALL: dict[str, Any] = {"size": 64, "steps": 2}
FACTS: dict[str, Any] = {
    "kind": "prior",
    "tiny": False,
    "base": "local model",
    "samples": 1,
    "table_versions": {"samples": 3},
    "size": 1024,
    "trained_steps": 7,
}


@pytest.fixture(scope="module")
def place(make_workspace: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Store]:
    """Five samples of four photos and two people, with all that a card counts, and names in it."""
    workspace, store = make_workspace(tmp_path_factory.mktemp("Bertha"), 5)
    workspace.settings.write_text("")
    began = datetime(2024, 1, 1, tzinfo=UTC)
    grant(
        store,
        Consent(
            consent_id="release-anna",
            basis="signed release of Anna Example, folder 17",
            purposes=("training", "publish"),
            valid_from=began,
        ),
    )
    photo_ids = [f"{n:064d}" for n in (0, 1, 2, 3, 3)]
    samples = [
        replace(
            sample,
            photo_id=photo_ids[n],
            person=f"person-{n % 2}",
            consent_id="release-anna" if n < 3 else "nasa",
            annotation_ids=("answer-0",) if n == 0 else (),
            retouch_id="r" * 64 if n == 1 else None,
        )
        for n, sample in enumerate(store.read(Sample))
    ]
    store.upsert(Sample, samples, why="test")
    licences = ("CC-BY-4.0", "CC-BY-4.0", "all rights with Anna Example", None)
    verdict = Verdict(gate="sharpness", value=9.0, threshold=4.5, keep=True)
    photos = [
        Photo(
            photo_id=photo_ids[n],
            path=f"/home/anna/{n}.jpg",
            state="kept",
            size_bytes=9,
            licence=licence,
            photographer="Anna Example" if n < 2 else "Bertha Example",
            verdicts=(verdict,),
        )
        for n, licence in enumerate(licences)
    ]
    store.upsert(Photo, photos, why="test")
    store.upsert(Annotation, [_answer(photo_ids[0])], why="test")
    store.upsert(Consensus, [_consensus(photo_ids[0])], why="test")
    return workspace, store


def _answer(photo_id: str) -> Annotation:
    return Annotation(
        annotation_id="answer-0",
        task_key=f"{photo_id}:triage:1",
        photo_id=photo_id,
        annotator="reviewer-1",
        state="counted",
        decision="accept",
        raw="[]",
    )


def _consensus(photo_id: str) -> Consensus:
    return Consensus(
        photo_id=photo_id,
        decision="accept",
        voters=1,
        agreement=1.0,
        conflict=False,
        annotation_ids=("answer-0",),
    )


@pytest.fixture(scope="module")
def runs(place: tuple[Workspace, Store], tiny_base: Path) -> Path:
    """A prior, and a restorer on it."""
    workspace, store = place
    given: dict[str, Any] = {"store": store, "workspace": workspace}
    list(train_prior(PriorConfig(base=str(tiny_base), **SMALL), name="prior", **given))
    config = RestorerConfig(facial=FacialConfig(width=8), **SMALL)
    list(train_restorer(config, prior=workspace.runs / "prior" / "model", name="r", **given))
    return workspace.runs


def card(model: Path) -> tuple[Any, str]:
    """The card's header as huggingface_hub reads it, and its text."""
    text = (model / "README.md").read_text(encoding="utf-8")
    return ModelCard(text).data, text


@pytest.mark.parametrize("name", ["prior", "r"])
def test_its_numbers_are_the_tables(name: str, runs: Path, place: tuple[Workspace, Store]) -> None:
    store = place[1]
    samples, photos = store.read(Sample), store.read(Photo)
    _, text = card(runs / name / "model")
    data = folder_facts(runs / name / "model")["data"]
    by_photo = {p.photo_id: p for p in photos}
    assert data["samples"] == len(samples) == 5
    assert data["photos"] == len(photos) == 4
    assert data["people"] == len({s.person for s in samples}) == 2
    assert data["photographers"] == len({p.photographer for p in photos}) == 2
    stated = Counter(by_photo[s.photo_id].licence for s in samples)
    assert data["licences"] == {"CC-BY-4.0": 2, "not stated": 2, "other terms": 1}
    assert stated["CC-BY-4.0"] == 2
    assert data["bases"] == {"release": 3, "public_domain": 2}
    purposes = Counter(
        p
        for s in samples
        for p in next(c for c in store.read(Consent) if c.consent_id == s.consent_id).purposes
    )
    assert data["purposes"] == dict(purposes)
    assert (data["answers"], data["reviewers"], data["described"], data["retouched"]) == (
        1,
        1,
        1,
        1,
    )
    assert data["versions"] == store.versions()
    for said in (
        "5 aligned portraits from 4 photos by 2 known photographers, of 2 known people.",
        f"samples@{store.version(Sample)}",
        "| CC-BY-4.0 | 2 |",
        "| release | 3 |",
        "| training | 5 |",
        "| sharpness | 4.5 | 4 | 4 |",
        "1 answer of 1 reviewer count, 1.00 per photo; on average 100 % of the voters agree",
        "Words from a person: 1 sample. Retouched, and reviewed after it: 1 sample.",
        "| lr | 0.001 |",
    ):
        assert said in text
    rows = read_journal(runs / name)
    for part in rows[0]["parts"]:
        found = [row["parts"][part] for row in rows if part in row["parts"]]
        assert f"| {part} | {fmean(found):.6g} |" in text
    assert f"| loss | {fmean(r['loss'] for r in rows):.6g} |" in text


@pytest.mark.parametrize(
    ("name", "task", "tag"),
    [("prior", "text-to-image", "portraits"), ("r", "image-to-image", "controlnet")],
)
def test_its_header_is_read_by_hugging_face(name: str, task: str, tag: str, runs: Path) -> None:
    data, text = card(runs / name / "model")
    assert (data.library_name, data.pipeline_tag, data.license) == ("diffusers", task, "apache-2.0")
    assert tag in data.tags
    assert data.eval_results is None
    assert "The base's licence, apache-2.0, applies" in text
    assert ("never identify anyone by it" in text) == (name == "r")


@pytest.mark.parametrize("name", ["prior", "r"])
def test_it_names_nobody_and_no_place(
    name: str, runs: Path, place: tuple[Workspace, Store]
) -> None:
    model = runs / name / "model"
    for file in ("README.md", "authface.json"):
        text = (model / file).read_text(encoding="utf-8")
        ids = [s.sample_id for s in place[1].read(Sample)]
        for private in (*PRIVATE, str(place[0].root), *ids):
            assert private not in text, f"{private} stands in {file}"


def test_a_restorers_card_tells_of_the_prior_under_it(
    runs: Path, place: tuple[Workspace, Store]
) -> None:
    _, text = card(runs / "r" / "model")
    version = place[1].version(Sample)
    assert f"a prior of ours, trained for 2 steps on 5 samples (samples@{version})" in text
    assert folder_facts(runs / "r" / "model")["prior"]["data"]["samples"] == 5


def test_an_evaluation_in_the_runs_folder_is_told_when_it_is_exported_again(
    runs: Path, place: tuple[Workspace, Store], tmp_path: Path
) -> None:
    """As `authface evaluate` writes it; and that somebody was erased since."""
    rows = [{"psnr_db": 30.0, "ssim": 0.5}, {"psnr_db": 20.0, "ssim": None}]
    metrics = {"psnr_db": "scikit-image, PSNR", "ssim": "scikit-image, SSIM"}
    report = {"format": "authface-evaluation/1", "metrics": metrics, "scores": rows}
    (runs / "r" / "evaluation.json").write_text(json.dumps(report))
    (runs / "r" / "contains_erased.json").write_text(json.dumps({"erasures": []}))
    target = tmp_path / "again"
    done = CliRunner().invoke(
        app, ["train", "export", "r", "-w", str(place[0].root), "--to", str(target)]
    )
    assert done.exit_code == 0, done.output
    data, text = card(target)
    scores = {r.metric_type: r.metric_value for r in data.eval_results}
    assert scores == {"psnr": 25.0, "ssim": 0.5}
    assert "Means over 2 pictures" in text
    assert "| psnr_db | 25 | scikit-image, PSNR |" in text
    assert "somebody who was erased from the tables later" in text


def test_the_bases_name_and_licence_come_from_where_it_lies(tmp_path: Path) -> None:
    """A hub's cache says whose it is; a card beside a base goes before what its name tells."""
    hub = tmp_path / "models--stabilityai--stable-diffusion-xl-base-1.0" / "snapshots" / "4621"
    hub.mkdir(parents=True)
    assert base_model(hub) == base_name(hub) == "stabilityai/stable-diffusion-xl-base-1.0"
    assert base_licence(hub) == {"license": "openrail++"}
    card_text = "---\nlicense: other\nlicense_name: house-1\nlicense_link: LICENSE.md\n---\n# A\n"
    (hub / "README.md").write_text(card_text)
    told = {"license": "other", "license_name": "house-1", "license_link": "LICENSE.md"}
    assert base_licence(hub) == told
    local = shutil.copytree(hub, tmp_path / "anna" / "models")
    (local / "README.md").unlink()
    assert (base_model(local), base_name(local), base_licence(local)) == (None, "local model", {})
    facts = {**FACTS, "base_model": base_model(hub), "licence": told}
    data = ModelCard(render(facts)).data
    assert (data.base_model, data.license_name) == (base_model(hub), "house-1")


def test_without_a_runs_facts_it_is_short_and_asks_for_the_licence() -> None:
    text = render(FACTS)
    assert ModelCard(text).data.license == "unknown"
    assert "look it up, and name it here" in text
    assert "trained for 7 steps at 1024 px on 1 sample (samples@3)" in text
    assert "## Data" not in text


def test_what_a_setting_says_breaks_no_table() -> None:
    settings = {"identifier_prompt": "a|b\n# <b>![x](y)"}
    text = render({**FACTS, "settings": settings})
    assert "| identifier_prompt | a\\|b # &lt;b&gt;\\!\\[x\\](y) |" in text
