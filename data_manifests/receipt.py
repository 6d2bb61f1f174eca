"""The receipt of an erasure: counts and runs, signed; no id, path or hash of the person."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_manifests.media import write_atomic

__all__ = ["is_genuine", "receipt_file", "write_receipt"]


def write_receipt(root: Path, facts: Mapping[str, Any], key: bytes) -> Path:
    """Write receipts/<id>.json, signed with the workspace's key; replaced whole if it is there."""
    signed = {**facts, "signature": _signature(facts, key)}
    file = receipt_file(root, str(facts["receipt_id"]))
    write_atomic(file, (json.dumps(signed, indent=2, sort_keys=True) + "\n").encode())
    return file


def is_genuine(receipt: Mapping[str, Any], key: bytes) -> bool:
    """Whether this workspace's key signed the receipt and nobody changed it since."""
    facts = {k: v for k, v in receipt.items() if k != "signature"}
    return hmac.compare_digest(str(receipt.get("signature", "")), _signature(facts, key))


def receipt_file(root: Path, receipt_id: str) -> Path:
    """Where a receipt lies in a workspace."""
    return root / "receipts" / f"{receipt_id}.json"


def _signature(facts: Mapping[str, Any], key: bytes) -> str:
    told = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()
