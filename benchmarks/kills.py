"""What a training run survives: SIGKILL at random points, and checkpoints damaged in every way.

    python benchmarks/kills.py [--kills 30] [--steps 200] [--stage restorer]
    python benchmarks/kills.py --damages            # the damaged checkpoints alone

A tiny run on the CPU is killed and gone on with by its ordinary command, time after time; its
weights, optimizer, journal and exported model must be the unbroken run's, bit for bit. Most kills
come at a drawn moment, some while a checkpoint or the model is being written, some before the
first step. Then a run's newest checkpoint is damaged in 40 ways, and each time the run must name
the fault and go on from the one before. Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from data_manifests.errors import AuthFaceError
from data_manifests.store import Store
from tests.training.conftest import fill_workspace
from training import checkpoint
from training.bases import folder_facts
from training.config import PriorConfig
from training.journal import read_journal
from training.run import train_prior

SAVE_EVERY = 8
SETTINGS = {
    "prior": {"size": 64, "save_every": SAVE_EVERY},
    "restorer": {"size": 64, "save_every": SAVE_EVERY, "facial.width": 8},
}
FILES = ("weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


@dataclass(frozen=True)
class Place:
    """The workspace that is trained in, and what is trained."""

    root: Path
    stage: str
    steps: int

    def command(self, name: str) -> list[str]:
        settings = SETTINGS[self.stage].items()
        said = itertools.chain.from_iterable(("--set", f"{k}={v}") for k, v in settings)
        start = [sys.executable, "-m", "authface", "train", self.stage, "--base", "tiny"]
        where = ["-w", str(self.root), "--name", name, "--steps", str(self.steps), "--resume"]
        return [*start, *where, *said]

    def run(self, name: str) -> Path:
        return self.root / "runs" / name


# Killing


def kills(place: Place, times: int) -> bool:
    started = time.perf_counter()
    finish(place, "whole")
    lasts = time.perf_counter() - started
    draw, seen = random.Random(0), Counter[str]()
    points = sorted(draw.sample(range(1, place.steps), times - 3))
    for number, point in enumerate(points):
        aim = "while saving" if number % 4 == 1 else "anywhere"
        seen[kill(place, "broken", draw, (aim, point))] += 1
    seen[kill(place, "broken", draw, ("before the first step", 0))] += 1
    for _ in range(2):
        seen[kill(place, "broken", draw, ("while exporting", place.steps))] += 1
    finish(place, "broken")
    wrong = differences(place, "whole", "broken")
    print(f"{seen.total()} SIGKILLs in a run of {place.steps} steps ({lasts:.0f} s unbroken):")
    print("\n".join(f"  {count:3d} {where}" for where, count in sorted(seen.items())))
    print(f"  final state against the unbroken run's: {wrong or 'equal, bit for bit'}")
    return not wrong and seen.total() == times and seen["inside a checkpoint's save"] > 0


def kill(place: Place, name: str, draw: random.Random, aim: tuple[str, int]) -> str:
    """Go on with the run, kill it at the point aimed at, and say where it was."""
    folder = place.run(name)
    where, point = aim
    with quietly(place.command(name)) as process:
        if where == "before the first step":
            time.sleep(draw.uniform(0.5, 4))
        else:
            until(process, lambda: steps_taken(folder) >= point)
        if where == "while saving":
            until(process, lambda: bool(list(folder.glob("checkpoints/.part-*"))))
        elif where == "while exporting":
            until(process, lambda: bool(list(folder.glob(".part-*"))))
        else:
            time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    if list(folder.glob("checkpoints/.part-*")):
        return "inside a checkpoint's save"
    return "inside the export" if list(folder.glob(".part-*")) else where


def until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the run ended by itself: {process.communicate()[0]}")
        time.sleep(0.002)


def steps_taken(folder: Path) -> int:
    path = folder / "stats.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@contextlib.contextmanager
def quietly(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        yield process


def finish(place: Place, name: str) -> None:
    with quietly(place.command(name)) as process:
        said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run failed: {said}")


def differences(place: Place, one: str, other: str) -> list[str]:
    """In what two finished runs differ."""
    first, second = (end_of(place.run(name)) for name in (one, other))
    left = [p.name for p in place.run(other).rglob(".part-*")]
    return [*(what for what in first if first[what] != second[what]), *left]


def end_of(folder: Path) -> dict[str, Any]:
    last = checkpoint.newest(folder / "checkpoints")
    assert last is not None
    tensors = {
        f"{group}/{name}": bytes(value.reshape(-1).view(torch.uint8).numpy())
        for group, named in last.tensors.items()
        for name, value in named.items()
    }
    rows = [(row["step"], row["loss"], row["parts"]) for row in read_journal(folder)]
    model = folder_facts(folder / "model")["model_sha256"]
    return {"step": last.step, "tensors": tensors, "journal": rows, "model": model}


# Damaging


def flip(at: float) -> Callable[[Path, Path], None]:
    def damage(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(at * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return damage


def cut(share: float) -> Callable[[Path, Path], None]:
    return lambda path, _: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def zeros_at_end(path: Path, _: Path) -> None:
    """As a disk leaves a file whose size was written and whose last block was not."""
    data = path.read_bytes()
    path.write_bytes(data[: -min(256, len(data) // 2)] + bytes(min(256, len(data) // 2)))


OF_A_FILE: dict[str, Callable[[Path, Path], Any]] = {
    "missing": lambda path, _: path.unlink(),
    "empty": cut(0),
    "half of it": cut(0.5),
    "a flipped bit at its start": flip(0),
    "a flipped bit in the middle": flip(0.5),
    "a flipped bit near its end": flip(0.99),
    "zeros at its end": zeros_at_end,
    "the one of the checkpoint before": lambda path, old: shutil.copy(old / path.name, path),
}


def swapped(new: Path, _: Path) -> None:
    (new / "x").write_bytes((new / FILES[0]).read_bytes())
    (new / FILES[1]).rename(new / FILES[0])
    (new / "x").rename(new / FILES[1])


def half_written(new: Path, _: Path) -> None:
    for name in FILES[1:]:
        (new / name).unlink()


def file_not_folder(new: Path, _: Path) -> None:
    shutil.rmtree(new)
    new.write_bytes(b"")


def another_checkpoint(new: Path, old: Path) -> None:
    shutil.rmtree(new)
    shutil.copytree(old, new)


def one_file_more(new: Path, old: Path) -> None:
    shutil.copy(old / FILES[0], new / "more.safetensors")


def manifest(text: str) -> Callable[[Path, Path], Any]:
    return lambda new, _: (new / FILES[3]).write_text(text)


def manifest_without(name: str) -> Callable[[Path, Path], Any]:
    def damage(new: Path, _: Path) -> None:
        listed = json.loads((new / FILES[3]).read_text())
        del listed[name]
        (new / FILES[3]).write_text(json.dumps(listed))

    return damage


OF_THE_WHOLE: dict[str, Callable[[Path, Path], Any]] = {
    "weights and optimizer swapped": swapped,
    "a folder half written": half_written,
    "a file in its place": file_not_folder,
    "the checkpoint before under its name": another_checkpoint,
    "a manifest that lists nothing": manifest("{}"),
    "a manifest that is a list": manifest("[]"),
    "a manifest without the optimizer": manifest_without(FILES[1]),
    "a file more than the manifest lists": one_file_more,
}


def damages(work: Path) -> bool:
    """Every damage once, on a copy of a run's newest checkpoint, resumed each time."""
    workspace, store = fill_workspace(work / "damaged")
    for _ in resumed(workspace, store, 4):
        pass
    run = workspace.runs / "p"
    shutil.rmtree(run / "model")
    whole = shutil.copytree(run, work / "whole")
    found, missed = Counter[str](), []
    for what, name, damage in ways():
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        new, old = (run / "checkpoints" / f"step-{n:06d}" for n in (4, 3))
        damage(new / name if name else new, old)
        if passed_over(resumed(workspace, store, 4)):
            found[what] += 1
        else:
            missed.append(f"{what} ({name or 'the checkpoint'})")
    tried = sum(1 for _ in ways())
    print(f"{found.total()} of {tried} damaged checkpoints found, named, and the one before used:")
    print("\n".join(f"  {count:3d} {what}" for what, count in found.items()))
    print("".join(f"  NOT FOUND: {what}\n" for what in missed), end="")
    return not missed


def ways() -> Iterator[tuple[str, str, Callable[[Path, Path], Any]]]:
    for what, damage in OF_A_FILE.items():
        yield from ((what, name, damage) for name in FILES)
    yield from ((what, "", damage) for what, damage in OF_THE_WHOLE.items())


def resumed(workspace: Any, store: Store, steps: int) -> Iterator[Any]:
    config = PriorConfig(base="tiny", size=64, steps=steps, save_every=1, keep=2)
    return train_prior(config, store=store, workspace=workspace, name="p", resume=True)


def passed_over(steps: Iterator[Any]) -> bool:
    """Whether the run said so and took step 4 again."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("training")
    log.addHandler(handler)
    try:
        first = next(steps, None)
    except (AuthFaceError, OSError, ValueError, KeyError) as error:
        print(f"  {type(error).__name__}: {error}")
        return False
    finally:
        log.removeHandler(handler)
        steps.close()  # type: ignore[attr-defined]
    named = any("step-000004" in s and "damaged" in s for s in said)
    return named and first is not None and first.step == 4


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=30)
    asked.add_argument("--steps", type=int, default=200)
    asked.add_argument("--stage", choices=sorted(SETTINGS), default="restorer")
    asked.add_argument("--damages", action="store_true", help="the damaged checkpoints alone")
    told = asked.parse_args()
    logging.getLogger("training").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        sound = damages(work)
        if not told.damages:
            workspace, _ = fill_workspace(work / "killed")
            workspace.settings.write_text("")
            sound &= kills(Place(workspace.root, told.stage, told.steps), told.kills)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
