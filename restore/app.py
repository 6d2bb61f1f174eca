"""The web page: upload a photo, pick faces, restore, compare, download. Built with Gradio.

It listens on loopback unless users with passwords are named, asks nothing of any other server, and
keeps nothing longer than ten minutes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_manifests.errors import InputError
from restore.app_desk import Desk
from restore.app_guard import MOST_UPLOAD, Guard

__all__ = ["check_access", "is_loopback", "serving"]

_FONTS = ["system-ui", "sans-serif"]  # Gradio's own would be asked from a font server
_OURS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def is_loopback(host: str) -> bool:
    """True if only this machine can reach an address."""
    return host in ("127.0.0.1", "localhost", "::1")


def check_access(host: str, users: Mapping[str, str] | None) -> None:
    """Raise InputError if others could reach the page without a password."""
    if not is_loopback(host) and not users:
        raise InputError(
            f"At {host} others could use this page without a password.",
            "Name a file of users with --password-file, or leave --host out.",
        )


@contextlib.contextmanager
def serving(
    desk: Desk, *, host: str = "127.0.0.1", port: int = 7860, users: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serve the page until the block ends; gives its address.

    Raises InputError if the port is taken, or others could reach the page without a password.
    """
    check_access(host, users)
    with _environment(desk.folder.path):
        from restore.app_page import build
        from restore.app_words import CSS

        page = build(desk)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                auth=list(users.items()) if users else None,
                app_kwargs={"middleware": [_middleware(desk, host)]},
                max_file_size=MOST_UPLOAD,
                allowed_paths=[],
                blocked_paths=_blocked(desk.folder.path),
                theme=_theme(),
                css=CSS,
                footer_links=["api"],
                share=False,
                show_error=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise InputError(
                f"Port {port} is taken or may not be used.", "Give another one with --port."
            ) from error
        try:
            yield address
        finally:
            desk.stop()  # else what runs would hold the server until its end
            page.close(verbose=False)


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Gradio's variables set by us alone: those around could open folders or share the page."""
    before = dict(os.environ)
    for name in [n for n in os.environ if n.startswith("GRADIO_")]:
        del os.environ[name]
    local = ",".join(filter(None, (before.get("NO_PROXY", ""), "127.0.0.1,localhost")))
    # Gradio asks its own server whether it has started; no proxy may stand between.
    os.environ.update(_OURS, GRADIO_TEMP_DIR=str(folder), NO_PROXY=local, no_proxy=local)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _theme() -> Any:
    """Gradio's own looks with this machine's fonts, and small words dark enough to be read."""
    import gradio

    theme = gradio.themes.Default(font=_FONTS, font_mono=["monospace"])
    small = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
    small |= {f"{name}_dark": "*neutral_400" for name in list(small)}
    return theme.set(**small)


def _middleware(desk: Desk, host: str) -> Any:
    from starlette.middleware import Middleware

    return Middleware(Guard, folder=desk.folder, loopback=is_loopback(host))


def _blocked(folder: Path) -> list[str]:
    """What Gradio must never give out, though the guard would not let it be asked either."""
    own = (Path.home(), Path.cwd())
    return [str(path) for path in own if not folder.is_relative_to(path.resolve())]
