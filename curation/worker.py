"""One original to its row, its faces and its pictures: what happens to a file inside the child.

Cheap looks first: the header's gates before any pixel, a RAW at half size before its full
development. Nothing is written here; pictures go back as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from curation import gates, raw
from curation.config import IngestConfig
from curation.decode import DecodedPhoto, read_facts, read_photo
from curation.faces import NamedFinder, open_finder
from curation.facts import Facts
from curation.jpeg import PixelBuffer
from curation.judge import Judged, WriteMedia, judge
from curation.lossless import encode_jpeg
from curation.source import Source
from data_manifests.errors import UnreadablePhoto
from data_manifests.media import media_name
from data_manifests.records import Face, Photo, Verdict

__all__ = ["Blob", "Taken", "Worker"]


_BY_SIZE = ("long_side", "megapixels")


@dataclass(frozen=True, slots=True)
class Blob:
    """A picture to be written under media/; `path` follows from the bytes."""

    kind: str
    suffix: str
    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was made of one file: its row, its faces, and the pictures they name."""

    photo: Photo
    faces: tuple[Face, ...] = ()
    blobs: tuple[Blob, ...] = ()


class Worker:
    """Judges one file after another; keeps the finder's model and the decoding buffer."""

    def __init__(self, config: IngestConfig) -> None:
        self.config = config
        self._finder: NamedFinder | None = None
        self._buffer = PixelBuffer()

    def take(self, source: Source) -> Taken:
        """The row of a file, quarantined with a reason if it can't be read; never raises that."""
        blobs: dict[str, Blob] = {}

        def keep(kind: str, data: bytes, suffix: str) -> tuple[str, str]:
            path, sha256 = media_name(kind, data, suffix)
            blobs[path] = Blob(kind, suffix, path, data)
            return path, sha256

        blank = Photo(photo_id=source.photo_id, path="", state="kept", size_bytes=source.stamp[0])
        try:
            photo, faces = self._judge(blank, source, keep)
        except UnreadablePhoto as error:
            photo, faces = self._quarantine(blank, source, error, keep), ()
        # What a RAW at half size gave is not all used once its full development is there.
        named = {photo.proxy_path, photo.thumb_path, *(c.path for f in faces for c in f.crops)}
        return Taken(photo, faces, tuple(b for b in blobs.values() if b.path in named))

    def _judge(
        self, blank: Photo, source: Source, keep: WriteMedia
    ) -> tuple[Photo, tuple[Face, ...]]:
        most = self.config.decoder.most_pixels
        facts = read_facts(source.path, most_pixels=most, data=source.data)
        photo, verdicts = self._with_facts(blank, facts), self._header_verdicts(facts)
        if not all(v.keep for v in verdicts if v.gate in _BY_SIZE):
            return _decided(photo, verdicts), ()  # what is too small is not even decoded
        if facts.format == "RAW":
            judged, facts = self._judge_raw(source, keep)
        else:
            decoded = read_photo(
                source.path, most_pixels=most, data=source.data, buffer=self._buffer
            )
            judged, facts = self._judge_pixels(source, decoded, keep), decoded.facts
        photo = judged.on(self._with_facts(blank, facts))
        verdicts = self._header_verdicts(facts)  # a RAW's preview is smaller than its header says
        return _decided(photo, (*verdicts, *judged.verdicts)), judged.faces

    def _judge_raw(self, source: Source, keep: WriteMedia) -> tuple[Judged, Facts]:
        """Half the size first: a full development takes seven times as long."""
        most = self.config.decoder.most_pixels
        try:
            with raw.open_raw(source.path, most_pixels=most) as opened:
                half = opened.develop(half=True)
                judged = self._judge_pixels(source, half, keep)
                full_size = half.pixels_HWC.shape[1] == half.facts.width
                if full_size or not all(v.keep for v in judged.verdicts):
                    return judged, half.facts
                decoded = opened.develop()
        except UnreadablePhoto as error:
            unknown = error.reason in ("raw_unsupported", "raw_unsupported_compression")
            if not (unknown and self.config.decoder.raw_preview):
                raise
            decoded = raw.read_preview(source.path, most_pixels=most)
        return self._judge_pixels(source, decoded, keep), decoded.facts

    def _judge_pixels(self, source: Source, decoded: DecodedPhoto, keep: WriteMedia) -> Judged:
        if self._finder is None:
            self._finder = open_finder(self.config.faces)
        return judge(
            source.photo_id,
            decoded,
            finder=self._finder,
            config=self.config,
            write=keep,
        )

    def _header_verdicts(self, facts: Facts) -> tuple[Verdict, ...]:
        config = self.config.gates
        flag = facts.rights.data_mining if facts.rights else None
        return (
            gates.judge_long_side(facts.long_side, config),
            gates.judge_megapixels(facts.width, facts.height, config),
            gates.judge_jpeg_quality(facts.jpeg_quality, config),
            gates.judge_rating(facts.xmp_rating, facts.xmp_pick, config),
            gates.judge_data_mining(flag, config),
        )

    def _with_facts(self, photo: Photo, facts: Facts) -> Photo:
        """The photo with what its file says; where it was taken only if that was asked for."""
        place = (facts.latitude, facts.longitude) if self.config.keep_gps else (None, None)
        return replace(
            photo,
            format=facts.format,
            width=facts.width,
            height=facts.height,
            bit_depth=facts.bit_depth,
            orientation=facts.orientation,
            colour_profile=facts.colour_profile,
            capture=facts.capture,
            xmp_rating=facts.xmp_rating,
            xmp_label=facts.xmp_label,
            xmp_pick=facts.xmp_pick,
            keywords=facts.keywords,
            rights=facts.rights,
            latitude=place[0],
            longitude=place[1],
            development=facts.development,
            notes=facts.notes,
        )

    def _quarantine(
        self, photo: Photo, source: Source, error: UnreadablePhoto, keep: WriteMedia
    ) -> Photo:
        """The quarantined row; a RAW that can't be developed shows its embedded preview."""
        verdict = Verdict(gate="decode", keep=False, reason=str(error))
        photo = replace(photo, state="quarantined", reasons=(error.reason,), verdicts=(verdict,))
        if error.reason not in ("raw_unsupported", "raw_unsupported_compression"):
            return photo
        try:
            shown = raw.read_preview(source.path, most_pixels=self.config.decoder.most_pixels)
        except UnreadablePhoto:
            return photo
        return _with_preview(photo, shown, self.config.proxy_long_side, keep)


def _with_preview(photo: Photo, shown: DecodedPhoto, side: int, keep: WriteMedia) -> Photo:
    from curation.colour import shrink, to_srgb
    from curation.judge import PROXY_QUALITY

    proxy_HWC = to_srgb(shrink(shown.pixels_HWC, side), shown.facts.icc)
    path, _ = keep("proxies", encode_jpeg(proxy_HWC, PROXY_QUALITY), ".jpg")
    height, width = proxy_HWC.shape[:2]
    return replace(photo, format="RAW", proxy_path=path, proxy_width=width, proxy_height=height)


def _decided(photo: Photo, verdicts: Sequence[Verdict]) -> Photo:
    failed = tuple(v.gate for v in verdicts if not v.keep)
    state = "set_aside" if failed else "kept"
    return replace(photo, state=state, reasons=failed, verdicts=tuple(verdicts))
