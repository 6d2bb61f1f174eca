"""The settings that a local Label Studio is started with: all by environment, none on its command.

A command line can be read by everybody on the machine. Source of what each does: the settings of
Label Studio 1.23.2, and trying it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from annotation.config import AnnotateConfig
from data_manifests.errors import ConfigError
from data_manifests.media import Workspace

__all__ = ["DATABASE", "HOST", "environment"]

HOST = "127.0.0.1"
DATABASE = "AUTHFACE_DATABASE_URL"  # where a team's database is, password and all

# What the server must not fetch from or call: its own list but for loopback, where `watch` listens.
_BANNED_BUT_LOOPBACK = (
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,"
    "192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,"
    "233.252.0.0/24,240.0.0.0/4,255.255.255.255/32,::/128,::1/128,::ffff:0:0/96,::ffff:0:0:0/96,"
    "64:ff9b::/96,64:ff9b:1::/48,100::/64,2001:0000::/32,2001:20::/28,2001:db8::/32,2002::/16,"
    "fc00::/7,fe80::/10,ff00::/8"
)


def environment(
    workspace: Workspace, login: Mapping[str, Any], config: AnnotateConfig, *, served: str
) -> dict[str, str]:
    """The server's whole environment; raises ConfigError for a database that can't be meant.

    `served` is the one folder whose files it may show.
    """
    inherited = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("LABEL_STUDIO_", "DJANGO_", "POSTGRE_")) and k != DATABASE
    }
    return (
        inherited
        | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(workspace.label_studio / "data"),
            "LABEL_STUDIO_USERNAME": str(login["email"]),
            "LABEL_STUDIO_PASSWORD": str(login["password"]),
            "LABEL_STUDIO_USER_TOKEN": str(login["token"]),
            # Read only when the organisation is made, at the very first start.
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": served,
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
            "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "ALLOWED_HOSTS": f"{HOST},localhost",
            "CORS_ALLOW_ALL_ORIGINS": "false",
        }
        | _calls(config)
        | _database(os.environ.get(DATABASE, ""))
    )


def _calls(config: AnnotateConfig) -> dict[str, str]:
    if not config.webhooks:
        return {}
    return {
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": _BANNED_BUT_LOOPBACK,
    }


def _database(url: str) -> dict[str, str]:
    """Label Studio's names for a PostgreSQL address; nothing for SQLite, which is its default."""
    if not url:
        return {}
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or not name:
        raise ConfigError(
            f"The database is no PostgreSQL address: it starts with {parts.scheme or 'nothing'!r}.",
            "It looks like postgresql://user:password@host:5432/name",
        )
    return {
        "DJANGO_DB": "default",
        "POSTGRE_HOST": parts.hostname,
        "POSTGRE_PORT": str(parts.port or 5432),
        "POSTGRE_NAME": unquote(name),
        "POSTGRE_USER": unquote(parts.username or ""),
        "POSTGRE_PASSWORD": unquote(parts.password or ""),
    }
