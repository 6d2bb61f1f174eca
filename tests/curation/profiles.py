"""Colour profiles made on the spot: matrix profiles with a plain gamma, as ICC.1:2001 lays out."""

from __future__ import annotations

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
# Primaries and gamma. Source: SMPTE EG 432-1 (P3), ISO 22028-2 (ROMM, which is ProPhoto).
SPACES = {
    "P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.3127, 0.3290), 2.2),
    "ProPhoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585), 1.8),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def make_profile(name: str) -> bytes:
    """The bytes of an RGB profile of one of SPACES."""
    primaries, white, gamma = SPACES[name]
    columns = np.array([_xyz(*p) for p in primaries]).T
    white_xyz = _xyz(*white)
    to_xyz = columns * np.linalg.solve(columns, white_xyz)
    cone_w, cone_d = _BRADFORD @ white_xyz, _BRADFORD @ D50
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cone_d / cone_w) @ _BRADFORD @ to_xyz
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = name.encode()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _place(D50),
        b"rXYZ": _place(adapted[:, 0]),
        b"gXYZ": _place(adapted[:, 1]),
        b"bXYZ": _place(adapted[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return _laid_out(tags)


def _laid_out(tags: dict[bytes, bytes]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for code, data in tags.items():
        table += code + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _place(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _place(xyz: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in xyz))


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])
