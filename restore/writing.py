"""The bytes of an output: its pixels with all that goes over from the input, marked and signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from curation.decode import DecodedPhoto, Pixels
from restore.config import RestoreConfig
from restore.containers import Labels, encode, format_of, losses, profile_of
from restore.model import ModelFacts
from restore.provenance import UNMARKED, Carried, Mark, describe_output, xmp_packet
from restore.signing import Signer, open_signer

__all__ = ["Writer", "open_writer"]

_UNSIGNED = "not signed: a C2PA manifest is a mark, and none was asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What every output of a run is written with: its mark and its signer, if there are any.

    `notes` belong into each output's sidecar, and into the log once.
    """

    mark: Mark | None
    signer: Signer | None = None
    quality: int = 95
    notes: tuple[str, ...] = ()

    def to_bytes(
        self,
        after_HWC: Pixels,
        photo: DecodedPhoto,
        carried: Carried,
        *,
        source: Path,
        target: Path,
    ) -> tuple[bytes, tuple[str, ...]]:
        """(the output's bytes in the format of `target`, notes on what it could not keep).

        `after_HWC` is the photo with its faces restored, in its colours and depth; of another size
        than `photo`, its alpha is resized with it. `source` is named by the signature. Raises
        InputError.
        """
        name, (height, width) = format_of(target), after_HWC.shape[:2]
        facts = photo.facts
        labels = Labels(
            exif=describe_output(carried, width, height, self.mark),
            xmp=xmp_packet(carried, self.mark, rating=facts.xmp_rating, label=facts.xmp_label),
            iptc=carried.iptc,
            icc=profile_of(photo, carried, name),
            dpi=carried.dpi,
        )
        data = encode(
            after_HWC,
            labels,
            name,
            quality=self.quality,
            alpha_HW=_resized(photo.alpha_HW, (width, height)),
            grey=photo.grey,
        )
        if self.signer is not None and self.mark is not None:
            data = self.signer.sign(data, name, source=source, mark=self.mark)
        return data, (*carried.notes, *losses(photo, carried, name), *self.notes)


def open_writer(facts: ModelFacts, config: RestoreConfig, *, key: str) -> Writer:
    """The writer of a run's outputs: before the first photo, since a signer's key may not fit.

    `key` is `resume.settings_key`: the mark names the settings by it, as the sidecar does. Raises
    ConfigError and MissingExtra.
    """
    if not config.mark:
        signs = config.c2pa.certificate is not None
        notes = (UNMARKED, _UNSIGNED) if signs else (UNMARKED,)
        return Writer(mark=None, quality=config.jpeg_quality, notes=notes)
    mark = Mark(model=facts.name, model_sha256=facts.sha256, seed=config.seed, settings_sha256=key)
    return Writer(mark=mark, signer=open_signer(config.c2pa), quality=config.jpeg_quality)


def _resized(alpha_HW: Pixels | None, size: tuple[int, int]) -> Pixels | None:
    if alpha_HW is None or alpha_HW.shape == size[::-1]:
        return alpha_HW
    larger: Any = cv2.resize(alpha_HW, size, interpolation=cv2.INTER_LINEAR)
    return larger  # type: ignore[no-any-return]
