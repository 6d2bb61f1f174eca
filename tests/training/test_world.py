"""Several processes, started by torchrun as a user would, against one: on the CPU, over gloo."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from data_manifests.errors import InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import plan
from training.checkpoint import newest
from training.config import FacialConfig, PriorConfig, RestorerConfig
from training.journal import read_journal
from training.run import train_prior, train_restorer
from training.sharding import shard
from training.world import World, dealt, in_turn, joined

Filled = tuple[Workspace, Store]
Tensors = dict[str, torch.Tensor]
ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = {"size": 64, "batch": 3, "at_once": 1, "save_every": 2, "steps": 4}
FACIAL: dict[str, Any] = {"width": 8, "least_signal": 0.0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As torchrun sets it: how many threads share a product decides its last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torchrun(size: int, *words: str) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*start, "--nproc-per-node", str(size), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    with process:
        out, _ = process.communicate(timeout=400)
    return out


def command(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> list[str]:
    filled[0].settings.write_text("")
    settings = SETTINGS | more
    if kind == "restorer":
        settings |= {f"facial.{key}": value for key, value in FACIAL.items()}
    put = [w for k, v in settings.items() for w in ("--set", f"{k}={str(v).lower()}")]
    where = ["-w", str(filled[0].root), "--base", str(base), "--name", name, "--resume"]
    return ["-m", "authface", "train", kind, *where, *put]


def alone(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> list[int]:
    """The steps that this process took."""
    settings, place = SETTINGS | more, {"store": filled[1], "workspace": filled[0], "name": name}
    if kind == "prior":
        steps = train_prior(PriorConfig(base=str(base), **settings), resume=True, **place)
    else:
        config = RestorerConfig(facial=FacialConfig(**FACIAL), **settings)
        steps = train_restorer(config, prior=base, resume=True, **place)
    return [step.step for step in steps]


def end_of(filled: Filled, name: str) -> tuple[dict[str, bytes], list[Any]]:
    """Every byte of the last checkpoint, and the journal but for the clock."""
    last = newest(filled[0].runs / name / "checkpoints")
    assert last is not None
    tensors = {
        f"{last.step}/{group}/{key}": bytes(value.reshape(-1).view(torch.uint8).numpy())
        for group, named in last.tensors.items()
        for key, value in named.items()
    }
    clock = ("seconds", "samples_per_s")
    rows = read_journal(filled[0].runs / name)
    return tensors, [{k: v for k, v in row.items() if k not in clock} for row in rows]


def test_two_processes_train_as_one_bit_for_bit(filled: Filled, tiny_base: Path) -> None:
    """Three micro-batches on two processes, a cache that both fill, recipes in the journal."""
    alone("restorer", filled, tiny_base, "one", log_recipes=2, ema=0.9)
    more = {"cache": True, "ema": 0.9, "validate_every": 4}
    text = said(torchrun(2, *command("restorer", filled, tiny_base, "two", **more)))
    assert "steps 1 to 4" in text, text
    assert text.count("training in") == 1
    kept = len(list(filled[0].cache.rglob("*.safetensors")))
    assert f"cache: 0 kept before, {kept} made and kept now" in text
    tensors, rows = end_of(filled, "one")
    assert len([row.pop("samples") for row in rows if "samples" in row]) == 2
    assert end_of(filled, "two") == (tensors, rows)
    looks = read_journal(filled[0].runs / "two", "validation")
    assert [row["step"] for row in looks] == [0, 4]
    models = [filled[0].runs / n / "model/controlnet" for n in ("one", "two")]
    weights = [(m / "diffusion_pytorch_model.safetensors").read_bytes() for m in models]
    assert weights[0] == weights[1]
    assert list((filled[0].runs / "two").rglob(".part-*")) == []


def test_a_run_may_go_on_in_a_world_of_another_size(filled: Filled, tiny_base: Path) -> None:
    """Two processes are told to stop and save; one goes on, and ends as one alone from start."""
    journal = filled[0].runs / "two" / "stats.jsonl"
    with torchrun(2, *command("prior", filled, tiny_base, "two", steps=60)) as going:
        wait_for(lambda: journal.exists() and journal.read_text().count("\n") >= 3, going)
        # As some schedulers do: the processes themselves, and torchrun, which passes it on.
        children = Path(f"/proc/{going.pid}/task/{going.pid}/children").read_text().split()
        assert len(children) == 2
        for told in (*map(int, children), going.pid):
            os.kill(told, signal.SIGTERM)
        text, _ = going.communicate(timeout=200)
    assert going.returncode != 0
    assert text.count("Stopped by SIGTERM after step") == 1
    stopped = newest(filled[0].runs / "two" / "checkpoints")
    assert stopped is not None
    assert f"after step {stopped.step};" in text
    last = stopped.step + 2
    assert alone("prior", filled, tiny_base, "two", steps=last)[0] == stopped.step + 1
    alone("prior", filled, tiny_base, "one", steps=last)
    assert end_of(filled, "two") == end_of(filled, "one")


def test_without_the_torchrun_that_started_them_the_processes_save_and_end(
    filled: Filled, tiny_base: Path
) -> None:
    folder = filled[0].runs / "p"
    journal = folder / "stats.jsonl"
    with torchrun(2, *command("prior", filled, tiny_base, "p", steps=900)) as going:
        wait_for(lambda: journal.exists() and journal.read_text().count("\n") >= 2, going)
        going.kill()
    wait_for(lambda: not is_locked(folder))
    stopped = newest(folder / "checkpoints")
    assert stopped is not None
    assert stopped.step == read_journal(folder)[-1]["step"] < 900


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        assert process is None or process.poll() is None, said(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_locked(folder: Path) -> bool:
    with (folder / ".lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_process_that_fails_ends_all_with_a_message(filled: Filled, tiny_base: Path) -> None:
    """A crop is damaged that the second process alone reads; the first would wait for ever."""
    samples = filled[1].read(Sample)
    order = plan.order(0, 0, batch=3, count=len(samples))
    path = filled[0].media / samples[order[1]].crop_path
    path.write_bytes(path.read_bytes()[:-9])
    process = torchrun(2, *command("prior", filled, tiny_base, "p"))
    text = said(process)
    assert process.returncode != 0
    assert samples[order[1]].crop_path in text
    assert f'File "{ROOT}/training' not in text  # torchrun prints a traceback of its own
    assert not list((filled[0].runs / "p").glob("checkpoints/step-*"))
    assert not (filled[0].runs / "p" / "model").exists()


def test_a_sharded_run_is_the_same_run(filled: Filled, tiny_base: Path) -> None:
    """Begun alone, gone on with sharded over two processes, ended alone: as one from the start."""
    settings = {"batch": 4, "lr": 1e-4, "ema": 0.9}
    alone("prior", filled, tiny_base, "one", steps=4, **settings)
    alone("prior", filled, tiny_base, "p", steps=1, **settings)
    sharded = command(
        "prior", filled, tiny_base, "p", steps=3, parallel="fsdp", validate_every=3, **settings
    )
    text = said(torchrun(2, *sharded))
    assert "steps 2 to 3" in text, text
    third = newest(filled[0].runs / "p" / "checkpoints")
    assert third is not None
    exported = load_file(filled[0].runs / "p/model/unet/diffusion_pytorch_model.safetensors")
    assert {f"unet.{name}" for name in exported} == set(third.tensors["weights"])
    assert all(torch.equal(t, third.tensors["ema"][f"unet.{n}"]) for n, t in exported.items())
    assert [r["step"] for r in read_journal(filled[0].runs / "p", "validation")] == [3]
    index = (filled[0].runs / "p" / "model" / "unet" / "config.json").read_text()
    assert '"UNet2DConditionModel"' in index
    assert alone("prior", filled, tiny_base, "p", steps=4, **settings) == [4]
    ends = [newest(filled[0].runs / name / "checkpoints") for name in ("one", "p")]
    one, other = (end.tensors for end in ends if end is not None)
    start = load_file(tiny_base / "unet" / "diffusion_pytorch_model.safetensors")
    begun = {f"unet.{name}": value for name, value in start.items()}
    # Where a gradient is nearly nothing, Adam makes a whole step of its rounding.
    moved = distance(one["weights"], begun)
    assert distance(one["weights"], other["weights"]) < 0.01 * moved
    assert distance(one["ema"], other["ema"]) < 0.01 * moved
    nothing = {name: torch.zeros_like(value) for name, value in one["optimizer"].items()}
    far = distance(one["optimizer"], nothing, "exp_avg")
    assert distance(one["optimizer"], other["optimizer"], "exp_avg") < 1e-4 * far
    rows = [read_journal(filled[0].runs / name) for name in ("one", "p")]
    losses = [[row["loss"] for row in some] for some in rows]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def distance(one: Tensors, other: Tensors, end: str = "") -> float:
    """Euclidean, over the tensors whose names end so."""
    apart = [(v - other[n]).double().square().sum() for n, v in one.items() if n.endswith(end)]
    return float(torch.stack(apart).sum().sqrt())


def test_what_can_not_be_sharded_is_refused() -> None:
    with pytest.raises(ValidationError, match="a LoRA is small, use ddp"):
        PriorConfig(parallel="fsdp", lora_rank=4)
    config = PriorConfig(parallel="fsdp", batch=5, at_once=1)
    net = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="can't be dealt evenly to 2 processes"):
        shard(net, config, World(0, 2))
    shard(net, config, World())  # alone there is nothing to spread
    assert type(net) is torch.nn.Linear


def test_a_cache_is_filled_by_all_processes_and_told_by_one(
    filled: Filled, tiny_base: Path
) -> None:
    filled[0].settings.write_text("")
    where = ["-w", str(filled[0].root), "--base", str(tiny_base), "--set", "size=64"]
    text = said(torchrun(2, "-m", "authface", "train", "cache", "prior", *where))
    # Four crops, as they are and mirrored; two groups of tags, negative words and the empty ones.
    assert [line.split() for line in text.splitlines() if line.startswith("latents")] == [
        ["latents", "│", "0", "│", "8"]
    ], text
    assert len(list(filled[0].cache.rglob("latents/*/*.safetensors"))) == 8
    assert text.count("0 stale files") == 1


TOY = Path(__file__).with_name("toy_world.py")


def test_sums_are_those_of_one_process_and_a_fault_of_one_is_a_fault_of_all() -> None:
    """Three processes on a toy; it says what it found, each process its line."""
    text = said(torchrun(3, str(TOY)))
    assert text.count("in order: equal bit for bit") == 3, text
    assert text.count("fast: equal to rounding") == 3
    assert text.count("not finite: not one weight moved") == 3
    assert text.count("the first process stopped: told to all") == 2
    assert text.count("another model: refused") == 3
    assert text.count("sharded: a part of the weights, as was counted") == 3


@pytest.mark.parametrize(("batch", "at_once", "size"), [(8, 2, 2), (7, 2, 3), (3, 4, 2), (1, 4, 3)])
def test_micro_batches_are_dealt_so_that_together_they_are_the_batch(
    batch: int, at_once: int, size: int
) -> None:
    shares = [dealt(batch, at_once, World(rank, size)) for rank in range(size)]
    assert [place for part in in_turn(shares) for place in part] == list(range(batch))
    assert max(len(part) for share in shares for part in share) <= at_once
    assert (
        dealt(batch, at_once, World())
        == [range(start, min(start + at_once, batch)) for start in range(0, batch, at_once)]
        or at_once > batch
    )
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="WORLD_SIZE is set and RANK is not"), joined():
        pass


def test_several_processes_do_not_share_a_gpu() -> None:
    with pytest.raises(InputError, match="device = cuda:1 would put 4 processes on one GPU"):
        World(2, 4).device("cuda:1")
    assert World(2, 4).device("cpu") == "cpu"


def test_one_process_is_a_world_of_its_own() -> None:
    with joined() as world:
        assert (world.first, world.alone, world.everyone("x")) == (True, True, ["x"])
        assert world.of_first(lambda: 3) == 3
        assert world.device("cuda:1") == "cuda:1"
        world.agreed("thing", object())
