"""A step of stage 2 on the CPU, beside diffusers' loop and the same under accelerate.

    python benchmarks/cpu_step.py [--size 128] [--batch 4] [--rounds 20] [--precision fp32]

All sides train a ControlNet on the same tiny SDXL, with the same batch, in the same precision and
on the same number of threads, in turns within one run; the order turns each round. Told are medians
by the clock and by time on processors (all threads), and the median of the ratios of each round:
the fastest other side over ours, so that more than 1 is in our favour.

Step: pictures and words are in memory; encoding with the VAE, noise, ControlNet, U-Net, loss,
backward, clipping and AdamW are in the step. `ours` has the facial loss off, as the others have
none; `with facial` has it on. `cached` is given the latents, as a run with a cache is.

Whole: a picture from its file to the weights: read, cut to size, degraded, encoded, trained on.
Ours reads with its cache, in threads ahead of the step; the other side is the published script: its
loader reads in the training process, and each step encodes anew. Both degrade by our functions.
The tiny VAE is cheap beside its U-Net: encoding is 0.13 of a step's counted operations, and 0.24
for SDXL at 512 px. So there are two larger ones: `sdxl`, 0.25; and `float32`, 0.48, which is the
share of the time on a GPU if SDXL's VAE runs in float32, as published, as TF32 at half of
bfloat16's rate.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, ControlNetModel
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plain_steps import Given, Models
from benchmarks.step import Case, _given, make_base, make_items
from data_manifests.media import write_media
from data_manifests.records import Sample
from training import loop, tiny
from training.cache import Cache
from training.config import RestorerConfig
from training.degrade import apply, draw_at, preset
from training.encoders import Encoders
from training.estimate import Sizes
from training.models import Base, load_base
from training.stages import Restorer

OFF = {"gan_weight": 0.0, "gram_weight": 0.0, "width": 8}
ON = {"width": 8}
VAES = {
    "tiny": tiny.VAE,
    "sdxl": {**tiny.VAE, "block_out_channels": (16, 32, 64, 64)},
    "float32": {**tiny.VAE, "block_out_channels": (32, 32, 64, 64)},
}
Step = Callable[[int], float]


def diffusers_step(models: Models, precision: str) -> Callable[[Given], float]:
    """What the body of train_controlnet_sdxl.py does for one batch, in our own words."""
    controlnet: Any = ControlNetModel.from_unet(models.unet).train()
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)

    def step(given: Given) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = _loss(models, controlnet, given)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(controlnet.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def accelerate_step(models: Models, precision: str) -> Callable[[Given], float]:
    """The same as it is published: under accelerate's Accelerator."""
    mixed = "bf16" if precision == "bf16" else "no"
    accelerator = Accelerator(cpu=True, mixed_precision=mixed)
    controlnet: Any = ControlNetModel.from_unet(models.unet).train()
    optimizer: Any = torch.optim.AdamW(controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
    rate: Any = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    controlnet, optimizer, rate = accelerator.prepare(controlnet, optimizer, rate)

    def step(given: Given) -> float:
        with accelerator.accumulate(controlnet), accelerator.autocast():
            loss = _loss(models, controlnet, given)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
        return float(loss.detach())

    return step


def _loss(models: Models, controlnet: Any, given: Given) -> Tensor:
    with torch.no_grad():
        latents = models.vae.encode(given.pixels_BCHW).latent_dist.sample()
    latents = latents * models.vae.config.scaling_factor
    noise = torch.randn_like(latents)
    timesteps = torch.randint(len(models.alpha_bar_T), (len(latents),))
    a = models.alpha_bar_T[timesteps].view(-1, 1, 1, 1)
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    words = {
        "encoder_hidden_states": given.embedding_BSC,
        "added_cond_kwargs": {"text_embeds": given.pooled_BP, "time_ids": given.time_ids_B6},
    }
    down, middle = controlnet(
        noisy, timesteps, controlnet_cond=given.poor_BCHW, return_dict=False, **words
    )
    predicted = models.unet(
        noisy,
        timesteps,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
        **words,
    )[0]
    return torch.nn.functional.mse_loss(predicted.float(), noise.float(), reduction="mean")


def their_step(make: Callable[..., Any], case: Case, base: Base) -> Step:
    """One of the other sides on two batches in turn."""
    update = make(Models(base.unet, base.pipeline.vae, base.alpha_bar_T), case.config.precision)
    given = [_given(replace(case, encode=True), base, n) for n in range(2)]
    return lambda number: float(update(given[number % len(given)]))


def our_step(case: Case, base: Base) -> Step:
    """Our update, on the same batches."""
    config: Any = case.config
    stage = Restorer(base, config, Path())
    optimizer = loop.make_optimizer(stage.groups, config)
    batches = [stage.gather(make_items(case, n)) for n in range(2)]
    return lambda number: loop.update(
        stage, optimizer, [batches[number % 2]], step=number, clip=config.clip
    )[0]


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """What the script's loader gives: a picture in -1 to 1 and its condition in 0 to 1."""

    def __init__(self, samples: list[Sample], media: Path, config: RestorerConfig) -> None:
        self.files = [media / s.crop_path for s in samples]
        self.size, self.ranges = config.size or 0, preset(config.recipe)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.files[index]) as file:
            picture = file.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels_HWC = np.asarray(picture)
        drawn = int(np.random.default_rng().integers(2**31))
        recipe = draw_at((0, drawn, index), self.ranges, size=(self.size, self.size))
        poor_HWC = apply(pixels_HWC, recipe)
        whole, poor = (_to_tensor(p) for p in (pixels_HWC, poor_HWC))
        return whole * 2 - 1, poor


def _to_tensor(pixels_HWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1).float() / 255


def their_whole(case: Case, base: Base, samples: list[Sample], media: Path) -> Step:
    """The published way under accelerate; returns seconds spent, for `steps` steps a turn."""
    config: Any = case.config
    update = accelerate_step(
        Models(base.unet, base.pipeline.vae, base.alpha_bar_T), config.precision
    )
    loader = DataLoader(Pictures(samples, media, config), batch_size=case.samples, shuffle=True)
    known = _given(replace(case, encode=True), base, 0)

    def turn(steps: int) -> float:
        done = 0
        while done < steps:
            for pixels_BCHW, poor_BCHW in loader:
                update(replace(known, pixels_BCHW=pixels_BCHW, poor_BCHW=poor_BCHW))
                done += 1
                if done == steps:
                    break
        return 0.0

    return turn


def our_whole(
    case: Case, base: Base, samples: list[Sample], media: Path, cache: Path | None
) -> Step:
    """A run's own loop, its reading threads and all; nothing is read ahead from turn to turn."""
    config: Any = case.config
    encoders = Encoders(base, config, Cache(cache)) if cache else None
    stage = Restorer(base, config, media)
    if encoders is not None:
        list(encoders.fill(samples, media))
        stage.encoders = encoders
    optimizer = loop.make_optimizer(stage.groups, config)
    taken = 0

    def turn(steps: int) -> float:
        nonlocal taken
        until = config.model_copy(update={"steps": taken + steps})
        for _ in loop.train(stage, samples, config=until, optimizer=optimizer, done=taken):
            pass
        taken += steps
        return 0.0

    return turn


def compare(sides: dict[str, Step], rounds: int, argument: int | None = None) -> dict[str, Any]:
    """Each side's medians, after two rounds that settle, and the rounds' ratios to ours."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 2):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            began, used = time.perf_counter(), time.process_time()
            sides[name](number if argument is None else argument)
            if number >= 2:
                wall[name].append(time.perf_counter() - began)
                busy[name].append(time.process_time() - used)
    theirs = [n for n in names if n in ("diffusers", "accelerate", "published")]
    found = {}
    for name in names:
        row: dict[str, Any] = {}
        for what, times in (("ms", wall), ("cpu_ms", busy)):
            row[what] = round(1e3 * statistics.median(times[name]), 1)
            fastest = [min(times[other][n] for other in theirs) for n in range(rounds)]
            ratios = [f / t for f, t in zip(fastest, times[name], strict=True)]
            row[what.replace("ms", "ratio")] = round(statistics.median(ratios), 2)
        found[name] = row
    return found


def whole_base(folder: Path, vae: dict[str, Any]) -> Base:
    """The tiny model with its words, and with a VAE of that config, as the tiny one's is made."""
    base = load_base(folder, torch.device("cpu"))
    torch.manual_seed(0)
    made: Any = AutoencoderKL(**vae).requires_grad_(False).eval()
    with torch.no_grad():
        made.quant_conv.weight[4:].zero_()
        made.quant_conv.bias[4:].fill_(-8.0)
    base.pipeline.vae = made
    return base


def make_samples(media: Path, count: int, side: int) -> list[Sample]:
    """Crops of NASA's portrait of Eileen Collins as PNG files, with boxes of eyes and mouth."""
    from skimage.data import astronaut

    case = Case("controlnet", side, 1, False, {})
    template = make_items(case, 0)[0].example.sample
    found = []
    for n in range(count):
        cut_HWC = astronaut()[30 + n % 10 : 220 + n % 10, 130 + n // 10 : 320 + n // 10]
        crop_HWC = cv2.resize(cut_HWC, (side, side), interpolation=cv2.INTER_CUBIC)
        data = io.BytesIO()
        Image.fromarray(crop_HWC).save(data, "PNG")
        path, sha256 = write_media(media, "crops", data.getvalue(), ".png")
        found.append(replace(template, sample_id=sha256[:32], crop_path=path, crop_sha256=sha256))
    return found


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--size", type=int, default=128, help="pixels")
    asked.add_argument("--batch", type=int, default=4)
    asked.add_argument("--rounds", type=int, default=20)
    asked.add_argument("--steps", type=int, default=6, help="steps of a turn, from file to weights")
    asked.add_argument("--side", type=int, default=512, help="of the crops' files, in pixels")
    asked.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    asked.add_argument("--threads", type=int, default=1, help="of torch")
    asked.add_argument("--vae", default=",".join(VAES), help="some of tiny, sdxl, float32")
    asked.add_argument("--only", choices=("step", "whole"), help="else both")
    told = asked.parse_args()
    torch.set_num_threads(told.threads)
    cv2.setNumThreads(1)
    device = torch.device("cpu")
    shared = {"precision": told.precision, "at_once": told.batch}
    off = Case("controlnet", told.size, told.batch, True, {**shared, "facial": OFF})
    on = replace(off, settings={**shared, "facial": ON})
    for vae_name, vae in ((name, VAES[name]) for name in told.vae.split(",")):
        sizes = Sizes(tiny.UNET, vae)
        if told.only != "whole":
            sides = {
                "diffusers": their_step(diffusers_step, off, make_base(sizes, device)),
                "accelerate": their_step(accelerate_step, off, make_base(sizes, device)),
                "ours": our_step(off, make_base(sizes, device)),
                "ours, with facial": our_step(on, make_base(sizes, device)),
                "ours, cached": our_step(replace(off, encode=False), make_base(sizes, device)),
            }
            tell("step", vae_name, compare(sides, told.rounds))
        if told.only != "step":
            with tempfile.TemporaryDirectory() as folder:
                tell("whole, per picture", vae_name, whole(told, (off, on), vae, Path(folder)))


def whole(told: Any, cases: tuple[Case, Case], vae: dict[str, Any], folder: Path) -> dict[str, Any]:
    """From file to weights, per picture."""
    off, on = cases
    media, cache, tiny_folder = folder / "media", folder / "cache", tiny.make_tiny(folder / "tiny")
    place = make_samples(media, 24, told.side), media
    sides = {
        "published": their_whole(off, whole_base(tiny_folder, vae), *place),
        "ours, uncached": our_whole(off, whole_base(tiny_folder, vae), *place, None),
        "ours, cached": our_whole(off, whole_base(tiny_folder, vae), *place, cache),
        "ours, cached, with facial": our_whole(on, whole_base(tiny_folder, vae), *place, cache),
    }
    found = compare(sides, max(3, told.rounds // told.steps), told.steps)
    for row in found.values():
        for what in ("ms", "cpu_ms"):
            row[what] = round(row[what] / (told.steps * told.batch), 2)
    return found


def tell(what: str, vae: str, found: dict[str, Any]) -> None:
    for side, row in found.items():
        print(json.dumps({"what": what, "vae": vae, "side": side, **row}), flush=True)


if __name__ == "__main__":
    main()
