from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.report import contact_sheet
from data_manifests.media import write_media
from data_manifests.records import Box, Face, Photo, Verdict


def proxy(media: Path, pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return write_media(media, "proxies", buffer.getvalue(), ".jpg")[0]


def test_the_sheet_stands_alone_and_tells_every_photo(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    kept = Photo(
        photo_id="a",
        path="/shoot/good.jpg",
        state="kept",
        size_bytes=1,
        width=1536,
        height=1536,
        proxy_path=proxy(tmp_path, portrait),
    )
    why = Verdict(gate="long_side", value=900, threshold=8192, keep=False, reason="only 900 px")
    small = Photo(
        photo_id="b",
        path="/shoot/small.jpg",
        state="set_aside",
        size_bytes=1,
        reasons=("long_side",),
        verdicts=(why,),
    )
    box = Box(left=10, top=20, right=110, bottom=220)
    face = Face(face_id="a-1", photo_id="a", index=0, box=box, finder="haar")
    page = contact_sheet([small, kept], [face], media=tmp_path)
    assert page.index("good.jpg") < page.index("small.jpg")
    assert "only 900 px" in page
    assert 'x="10" y="20" width="100" height="200"' in page
    assert "data:image/jpeg;base64," in page
    assert "http" not in page
    assert "2 photos, 1 faces" in page


def test_a_file_name_can_not_write_html(tmp_path: Path) -> None:
    photo = Photo(
        photo_id="a", path="/x/<script>alert(1)<\\script>.jpg", state="quarantined", size_bytes=1
    )
    page = contact_sheet([photo], [], media=tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
