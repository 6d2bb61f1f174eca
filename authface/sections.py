"""The tables that authface.toml may hold, each defined beside the part that uses it."""

from __future__ import annotations

from annotation.config import AnnotateConfig
from annotation.retouch_config import RetouchConfig
from curation.config import IngestConfig
from data_manifests.assemble import BuildConfig
from data_manifests.config import Section
from restore.config import RestoreConfig
from training.config import PriorConfig, RestorerConfig

__all__ = ["Settings"]


class Settings(Section):
    """The whole of authface.toml."""

    ingest: IngestConfig = IngestConfig()
    annotate: AnnotateConfig = AnnotateConfig()
    retouch: RetouchConfig = RetouchConfig()
    manifest: BuildConfig = BuildConfig()
    prior: PriorConfig = PriorConfig()
    restorer: RestorerConfig = RestorerConfig()
    restore: RestoreConfig = RestoreConfig()
