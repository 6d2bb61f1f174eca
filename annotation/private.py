"""Files for their owner's eyes only: logins and the key of people's pseudonyms."""

from __future__ import annotations

from data_manifests.private import write_private

__all__ = ["write_private"]
