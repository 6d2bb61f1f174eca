"""Metadata blocks of real files."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from curation.blocks import EXIF_IFD, GPS_IFD, read_blocks
from curation.sandbox import Sandbox
from curation.xmp import XMP_LIMIT

PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
IIM = b"\x1c\x02\x50\x00\x04Anna"
PIXEL = Image.new("RGB", (16, 16), "gray")


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010F], made[0x0112] = "Maker", 6
    made[EXIF_IFD] = {0xA431: "S1", 0x927C: b"maker note"}
    made[GPS_IFD] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return made


def with_segments(path: Path, *segments: tuple[int, bytes]) -> Path:
    """A JPEG with further segments behind its start."""
    PIXEL.save(path)
    data = path.read_bytes()
    extra = b"".join(b"\xff%c" % kind + struct.pack(">H", len(c) + 2) + c for kind, c in segments)
    path.write_bytes(data[:2] + extra + data[2:])
    return path


def with_tag(tag: int, value: bytes, kind: int) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag], tags.tagtype[tag] = value, kind
    return tags


def extended(packet: bytes, size: int = 60) -> list[tuple[int, bytes]]:
    guid = hashlib.md5(packet).hexdigest().upper().encode()
    parts = [(start, packet[start : start + size]) for start in range(0, len(packet), size)]
    return [
        (0xE1, EXTENSION + guid + struct.pack(">II", len(packet), start) + part)
        for start, part in reversed(parts)
    ]


def reread(data: bytes) -> Image.Exif:
    again = Image.Exif()
    again.load(data)
    return again


@pytest.mark.parametrize("end", ["jpg", "png", "tif", "webp", "heic"])
def test_exif_xmp_and_profile_of_each_format(tmp_path: Path, end: str) -> None:
    if end == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    icc = b"\0\0\0\x84lcms" + b"\0" * 124
    given: dict[str, object] = {"xmp": PACKET}
    if end == "png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", PACKET.decode())
        given = {"pnginfo": text}
    said = exif()
    if end == "tif":
        said[700] = PACKET
    PIXEL.save(tmp_path / f"a.{end}", exif=said.tobytes(), icc_profile=icc, **given)
    blocks = read_blocks(tmp_path / f"a.{end}")
    again = reread(blocks.exif)
    assert again[0x010F] == "Maker"
    assert again.get_ifd(EXIF_IFD) == {0xA431: "S1"}
    assert again.get_ifd(GPS_IFD)[1] == "N"
    assert blocks.icc == icc
    assert blocks.xmp == (PACKET,)
    assert blocks.notes == ()


def test_a_jpeg_s_extended_xmp_is_put_together_in_any_order(tmp_path: Path) -> None:
    more = PACKET.replace(b"<rdf:RDF/>", b"<rdf:RDF>" + b"x" * 300 + b"</rdf:RDF>")
    main = (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PACKET)
    path = with_segments(tmp_path / "a.jpg", main, *extended(more))
    assert read_blocks(path).xmp == (PACKET, more)
    path = with_segments(tmp_path / "b.jpg", main, *extended(more)[1:])
    blocks = read_blocks(path)
    assert blocks.xmp == (PACKET,)
    assert "incomplete" in blocks.notes[0]


def test_packets_beyond_the_limit_are_left_out(tmp_path: Path) -> None:
    head = EXTENSION + b"G" * 32 + struct.pack(">II", XMP_LIMIT + 1, 0)
    blocks = read_blocks(with_segments(tmp_path / "a.jpg", (0xE1, head + b"x")))
    assert blocks.xmp == ()
    assert "1 MB" in blocks.notes[0]
    PIXEL.save(tmp_path / "a.tif", tiffinfo=with_tag(700, b"x" * (XMP_LIMIT + 1), 1))
    assert read_blocks(tmp_path / "a.tif").xmp == ()


def test_iptc_of_jpeg_and_tiff(tmp_path: Path) -> None:
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IIM)) + IIM + b"\0"
    path = with_segments(tmp_path / "a.jpg", (0xED, b"Photoshop 3.0\0" + resource))
    assert read_blocks(path).iptc == IIM
    PIXEL.save(tmp_path / "a.tif", tiffinfo=with_tag(33723, IIM, 7))
    assert read_blocks(tmp_path / "a.tif").iptc == IIM


def test_further_pages_and_pictures_inside_are_named(tmp_path: Path) -> None:
    PIXEL.save(tmp_path / "a.tif", save_all=True, append_images=[PIXEL, PIXEL])
    assert read_blocks(tmp_path / "a.tif").notes == ("its other 2 pages or frames were left out",)
    PIXEL.save(tmp_path / "a.mpo", save_all=True, append_images=[PIXEL])
    (tmp_path / "a.mpo").rename(tmp_path / "b.jpg")
    assert read_blocks(tmp_path / "b.jpg").notes == ("its second page or frame was left out",)


def test_a_png_that_speaks_behind_its_pixels_is_heard_to_its_end(tmp_path: Path) -> None:
    PIXEL.save(tmp_path / "a.png", exif=exif().tobytes())
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"eXIf") - 4
    size = 12 + int.from_bytes(data[at : at + 4], "big")
    end = len(data) - 12
    late = data[:at] + data[at + size : end] + data[at : at + size] + data[end:]
    (tmp_path / "b.png").write_bytes(late)
    assert late.index(b"eXIf") > late.index(b"IDAT")
    assert read_blocks(tmp_path / "b.png").exif == read_blocks(tmp_path / "a.png").exif != b""


def test_the_child_says_the_same(tmp_path: Path) -> None:
    PIXEL.save(tmp_path / "a.jpg", exif=exif().tobytes(), xmp=PACKET, dpi=(240, 240))
    with Sandbox() as sandbox:
        assert sandbox.blocks(tmp_path / "a.jpg") == read_blocks(tmp_path / "a.jpg")


RAWS = {
    "photoprism_canon_eos_6d.dng": ("Canon EOS 6D", "EF24-105mm f/4L IS USM"),
    "imagemeta_CRW.CRW": ("EOS D30", None),
}


@pytest.mark.parametrize("name", RAWS)
def test_camera_lens_and_exposure_of_raw_files(name: str, shared: Path) -> None:
    again = reread(read_blocks(shared / "raw" / name).exif)
    model, lens = RAWS[name]
    assert model in again[0x0110]
    details = again.get_ifd(EXIF_IFD)
    assert details.get(0xA434) == lens
    assert 0 < float(details[0x829A]) < 10  # exposure time
    assert 0x829D in details  # aperture
