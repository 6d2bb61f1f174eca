"""Export, import and card as typed: what they print, what they write, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotation.imported import settle_all
from data_manifests.records import Annotation, Export, Photo
from data_manifests.store import Store


def authface(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "authface.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace `w`, a consent, and a folder `in` of four captioned pictures."""
    root = tmp_path_factory.mktemp("exchange")
    assert authface("init", root / "w").returncode == 0
    consent = ("consent", "add", "c", "--basis", "own photos", "--purpose", "training")
    assert authface(*consent, "-w", root / "w").returncode == 0
    (root / "in").mkdir()
    for number in range(4):
        pixels_HWC = np.random.default_rng(number).integers(0, 256, (512, 512, 3), np.uint8)
        Image.fromarray(pixels_HWC).save(root / f"in/{number}.png")
        words = {"caption": f"person {number}", "semantic_tags": ["mood/calm"]}
        (root / f"in/{number}.json").write_text(json.dumps(words))
    return root


def test_from_a_captioned_folder_to_an_export(place: Path) -> None:
    given = ("import", "captions", place / "in", "--consent-id", "c", "-w", place / "w")
    dry = authface("manifest", *given, "--dry-run")
    assert "4 entries = 4 imported + 0 answered + 0 known + 0 set aside" in flat(dry.stdout)
    assert not (place / "w/tables/photos").exists()
    (place / "in/odd.txt").write_text("a caption without a picture")
    done = authface("manifest", *given)
    assert done.returncode == 3
    assert "5 entries = 4 imported + 0 answered + 0 known + 1 set aside" in flat(done.stdout)
    assert "no_picture" in done.stdout
    (place / "in/odd.txt").unlink()
    again = authface("manifest", *given)
    assert (again.returncode, "4 known" in again.stdout) == (0, True)
    assert authface("manifest", "build", "-w", place / "w").returncode == 0
    exported(place)
    carded(place)


def exported(place: Path) -> None:
    """An export, refused, then made with a crop missing, then without anybody's consent."""
    out = ("export", "webdataset", place / "out", "-w", place / "w")
    done = authface("manifest", *out)
    assert done.returncode == 0, done.stderr
    assert "4 samples = 4 exported + 0 left out" in flat(done.stdout)
    assert [e.format for e in Store(place / "w/tables").read(Export)] == ["webdataset"]
    assert "--overwrite" in authface("manifest", *out).stderr
    next((place / "w/media/crops").rglob("*.png")).unlink()
    done = authface("manifest", *out, "--overwrite")
    assert done.returncode == 3
    assert "4 samples = 3 exported + 1 left out" in flat(done.stdout)
    assert "crop_missing" in done.stdout

    done = authface("manifest", *out, "--overwrite", "--purpose", "publish")
    assert done.returncode == 2
    assert "None of 4 samples may go out: 4 consent_other_purpose" in done.stderr


def carded(place: Path) -> None:
    """The card on the screen and in a file."""
    card = authface("manifest", "card", "-w", place / "w")
    assert "mood" in card.stdout
    file = place / "CARD.md"
    assert authface("manifest", "card", "--out", file, "-w", place / "w").returncode == 0
    assert file.read_text().rstrip() == card.stdout.rstrip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "csv", "out"), "parquet, datasets, webdataset"),
        (("export", "parquet", "out", "--split", "dev"), "validation"),
        (("import", "voc", ".", "--consent-id", "c"), "label-studio"),
        (("import", "captions", "nowhere", "--consent-id", "c"), "nowhere"),
        (("import", "captions", "IN", "--consent-id", "nobody"), "authface consent add"),
        (("import", "coco", "IN", "--consent-id", "c"), "JSON files, not one"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    place: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [place / "in" if a == "IN" else a for a in arguments]
    done = authface("manifest", *given, "-w", place / "w")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(Store(place / "w/tables").read(Photo)) in (0, 4)


def answer(number: int, decision: str | None, **given: object) -> Annotation:
    return Annotation(
        annotation_id=f"import:{number}:p",
        task_key="p:import:1",
        photo_id="p",
        annotator=f"import:{number}",
        state="counted",
        decision=decision,
        raw="{}",
        **given,  # type: ignore[arg-type]
    )


def test_questions_that_only_the_imported_set_asks_are_settled_too() -> None:
    tags = ("gender/woman", "mood/calm", "mood/quiet/soft")
    settled = settle_all(
        "p", [answer(1, "accept", semantic_tags=tags, caption="words")], majority=0.5
    )
    assert settled.semantic_tags == tags
    assert (settled.decision, settled.caption) == ("accept", "words")


def test_words_that_nobody_decided_on_stand_until_somebody_does() -> None:
    undecided = answer(1, None, caption="imported words", photographic_tags=("light/soft",))
    settled = settle_all("p", [undecided], majority=0.5)
    assert (settled.caption, settled.voters, settled.decision) == ("imported words", 0, None)
    assert settled.photographic_tags == ("light/soft",)
    settled = settle_all("p", [undecided, answer(2, "reject")], majority=0.5)
    assert (settled.decision, settled.caption) == ("reject", None)
