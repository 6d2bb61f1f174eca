"""One training step of both stages on a GPU, beside the plain loop of diffusers' example scripts.

    python benchmarks/step.py controlnet:512:16,32 controlnet:1024:8 unet:1024:8 [--out step.json]
    python benchmarks/step.py --tiny

A case is MODEL:SIZE:SAMPLES[,SAMPLES ...]: `controlnet` is stage 2 with its facial loss, `unet` a
full fine-tune, `guided` stage 1 as the paper has it, with the frozen teacher's three passes. The
models have SDXL's sizes and random weights made on the spot; nothing is downloaded. Latents and
words are given, in ours and the plain loop alike; --encode measures with the VAE within the step.

Per case and side: the median step by CUDA events, samples per second, MFU (counted operations over
the peak of dense bf16 products), peak memory and what the estimate says of it. --tiny compares the
two on the CPU with the tiny model, to see that everything runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plain_steps import Given, Models, controlnet_step, unet_step
from data_manifests.records import Sample
from training import loop, sdxl, tiny
from training.batch import Batch, Item, draw
from training.config import PriorConfig, RestorerConfig
from training.data import Example, Posterior
from training.estimate import Estimate, Sizes, estimate
from training.models import Base
from training.stages import Prior, Restorer

PEAK = 989e12  # dense bf16 operations per second of an H100 or H200 SXM, by its datasheet
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """What is measured."""

    model: str
    size: int
    samples: int
    encode: bool
    settings: dict[str, Any]

    @property
    def config(self) -> PriorConfig | RestorerConfig:
        """The case as a run's config, all samples on the device at once."""
        shared = {
            "size": self.size,
            "batch": self.samples,
            "at_once": self.samples,
            "lr": 1e-5,
            "steps": 100,
            "prompt_dropout": 0.0,
            **self.settings,
        }
        if self.model == "controlnet":
            return RestorerConfig.model_validate(shared)
        loss = "plain" if self.model == "unet" else "masked"
        return PriorConfig.model_validate(shared | {"loss": loss})


class Words:
    """Stands where the text encoders are: words of the right shape, drawn by the prompt's hash."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        unet = sizes.unet
        self.width = unet["cross_attention_dim"]
        six = 6 * unet["addition_time_embed_dim"]
        self.pooled = unet["projection_class_embeddings_input_dim"] - six
        self.device = device

    def encode(self, prompt: str, **_: Any) -> tuple[torch.Tensor, None, torch.Tensor, None]:
        """As the pipeline's encode_prompt."""
        rng = torch.Generator().manual_seed(len(prompt))
        rows = torch.randn(1, sdxl.TOKENS, self.width, generator=rng)
        whole = torch.randn(1, self.pooled, generator=rng)
        return rows.to(self.device), None, whole.to(self.device), None


def make_base(sizes: Sizes, device: torch.device) -> Base:
    """A base with random weights; an untrained VAE's latents are brought to unit deviation."""
    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(**sizes.unet).requires_grad_(False).eval()
        vae = AutoencoderKL(**sizes.vae).requires_grad_(False).eval()
    parts = SimpleNamespace(
        unet=unet,
        vae=vae,
        encode_prompt=Words(sizes, device).encode,
        text_encoder=None,
        text_encoder_2=None,
    )
    alpha_bar_T = DDPMScheduler(**SCHEDULE).alphas_cumprod.to(device)
    return Base(Path(), parts, alpha_bar_T, device)


def any_timestep(rng: torch.Generator) -> torch.Tensor:
    """One of SDXL's thousand."""
    return torch.randint(1000, (1,), generator=rng)


def make_items(case: Case, step: int) -> list[Item]:
    """A step's items: noise for pictures, a face in the middle, a posterior unless encoded."""
    rng = np.random.default_rng(step)
    cells = case.size // 8
    sample = Sample(
        sample_id="0" * 32,
        photo_id="0" * 64,
        face_id="0",
        crop_path="none.png",
        crop_sha256="0" * 64,
        width=case.size,
        height=case.size,
        caption="a portrait",
        semantic_tags=("woman",),
        photographic_tags=("sharp focus",),
        landmarks=(),
        left_eye_box=None,
        right_eye_box=None,
        mouth_box=None,
        native_width=float(case.size),
        native_height=float(case.size),
        split="train",
        consent_id="none",
    )
    boxes_P4 = torch.tensor(
        [[0.3, 0.3, 0.45, 0.45], [0.55, 0.3, 0.7, 0.45], [0.35, 0.6, 0.65, 0.8]]
    )
    items = []
    for index in range(case.samples):
        pixels_HWC = rng.integers(0, 256, (case.size, case.size, 3), np.uint8)
        mean_CHW = torch.from_numpy(rng.standard_normal((4, cells, cells), np.float32) * 7)
        known = None if case.encode else Posterior(mean_CHW, torch.full_like(mean_CHW, -8.0))
        example = Example(
            sample=sample,
            pixels_HWC=pixels_HWC,
            mask_HW=torch.ones(cells, cells),
            boxes_P4=boxes_P4 * cells,
            time_ids_6=torch.tensor([case.size, case.size, 0, 0, case.size, case.size]).float(),
            posterior=known,
        )
        drawn = draw(0, step, index, size=case.size, channels=4, timestep=any_timestep)
        items.append(Item(index, example, False, drawn, pixels_HWC[::-1].copy()))
    return items


def our_step(case: Case, base: Base) -> Callable[[int], float]:
    """The project's own update, batches gathered before as its reading thread does."""
    config: Any = case.config
    stage: Any = Restorer if case.model == "controlnet" else Prior
    stage = stage(base, config, Path())
    optimizer = loop.make_optimizer(stage.groups, config)
    batches: list[Batch] = [stage.gather(make_items(case, n)) for n in range(2)]

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        return loop.update(stage, optimizer, [batch], step=number, clip=config.clip)[0]

    return step


def plain_step(case: Case, base: Base) -> Callable[[int], float]:
    """The example scripts' update on the same inputs."""
    models = Models(base.unet, base.pipeline.vae, base.alpha_bar_T)
    make = controlnet_step if case.model == "controlnet" else unet_step
    step, given = make(models, 1e-5), [_given(case, base, n) for n in range(2)]
    return lambda number: step(given[number % len(given)])


def _given(case: Case, base: Base, step: int) -> Given:
    items = make_items(case, step)
    pixels = np.stack([i.example.pixels_HWC for i in items])
    pixels_BCHW = torch.from_numpy(pixels).to(base.device).permute(0, 3, 1, 2).float()
    known = [i.example.posterior for i in items]
    latents = [p.mean_CHW * base.pipeline.vae.config.scaling_factor for p in known if p]
    embedding, _, pooled, _ = base.pipeline.encode_prompt(prompt="a portrait")
    count = len(items)
    return Given(
        latents_BCHW=torch.stack(latents).to(base.device) if latents else None,
        pixels_BCHW=(pixels_BCHW / 127.5 - 1).contiguous() if case.encode else None,
        poor_BCHW=(pixels_BCHW / 255).contiguous(),
        embedding_BSC=embedding.expand(count, -1, -1).contiguous(),
        pooled_BP=pooled.expand(count, -1).contiguous(),
        time_ids_B6=torch.stack([i.example.time_ids_6 for i in items]).to(base.device),
    )


def measure(
    step: Callable[[int], float], case: Case, counted: Estimate, *, warm: int, timed: int
) -> dict[str, Any]:
    """The medians of a side: `timed` steps after `warm` that compile and settle."""
    started = time.perf_counter()
    losses = [step(n) for n in range(warm)]
    ready = time.perf_counter() - started
    cuda = torch.cuda.is_available()
    marks: list[Any] = []
    for n in range(timed + 1):
        if cuda:
            marks.append(torch.cuda.Event(enable_timing=True))
            marks[-1].record()
        else:
            marks.append(time.perf_counter())
        if n < timed:
            losses.append(step(warm + n))
    if cuda:
        torch.cuda.synchronize()
    times = [a.elapsed_time(b) / 1e3 if cuda else b - a for a, b in pairwise(marks)]
    middle = statistics.median(times)
    flops = counted.flops + (counted.encode_flops if case.encode else 0)
    return {
        "ms": round(1e3 * middle, 1),
        "spread_ms": [round(1e3 * t, 1) for t in (min(times), max(times))],
        "samples_per_s": round(case.samples / middle, 2),
        "mfu": round(case.samples * flops / middle / PEAK, 4),
        "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if cuda else None,
        "ready_s": round(ready, 1),
        "finite": bool(np.isfinite(losses).all()),
    }


def run_case(case: Case, sizes: Sizes, device: torch.device, told: Any) -> Iterator[dict[str, Any]]:
    """A row per side."""
    counted = estimate(case.config, sizes)
    for side, make in (("ours", our_step), ("plain", plain_step)):
        if side not in told.sides.split(",") or (side == "plain" and case.model == "guided"):
            continue
        row = {
            "side": side,
            "model": case.model,
            "size": case.size,
            "samples": case.samples,
            "encode": case.encode,
            "estimate_gib": round(counted.peak_bytes / GIB, 2),
        }
        try:
            step = make(case, make_base(sizes, device))
            row |= measure(step, case, counted, warm=told.warm, timed=told.steps)
        except torch.OutOfMemoryError:
            row["failed"] = "out of memory"
        step = None  # lets its models go before the next are made
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        yield row


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("cases", nargs="*", default=[])
    asked.add_argument("--tiny", action="store_true", help="the tiny model, on the CPU")
    asked.add_argument("--encode", action="store_true", help="encode pixels within the step")
    asked.add_argument("--sides", default="ours,plain")
    asked.add_argument("--steps", type=int, default=12, help="timed steps")
    asked.add_argument("--warm", type=int, default=3)
    asked.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked.add_argument("--out", type=Path, help="JSON; by default none")
    told = asked.parse_args()
    if not told.tiny and not torch.cuda.is_available():
        sys.exit("There is no GPU here: run it on a machine with one, or with --tiny.")
    device = torch.device("cpu" if told.tiny else "cuda")
    sizes = Sizes(tiny.UNET, tiny.VAE) if told.tiny else Sizes()
    usual = ["controlnet:64:2", "unet:64:2", "guided:64:2"] if told.tiny else []
    rows = []
    for case in _cases(told.cases or usual, told):
        for row in run_case(case, sizes, device, told):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if told.out:
                told.out.write_text(json.dumps({**_machine(), "rows": rows}, indent=1))


def _cases(texts: list[str], told: Any) -> Iterator[Case]:
    settings = dict(pair.split("=", 1) for pair in told.set)
    if told.tiny:
        settings = {"precision": "bf16", "facial": {"width": 8}} | settings
    for text in texts:
        model, size, counts = text.split(":")
        fitting = {k: v for k, v in settings.items() if k != "facial" or model == "controlnet"}
        for count in counts.split(","):
            yield Case(model, int(size), int(count), told.encode, fitting)


def _machine() -> dict[str, Any]:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"card": card, "torch": torch.__version__, "peak": PEAK}


if __name__ == "__main__":
    main()
