"""Serving the page, which Gradio does: layout.py says where its parts stand, handlers.py what they do.

Nothing is loaded from another host: fonts are the system's, and Gradio's telemetry is off.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidOption, first_line
from ..files import temporary_folder
from . import html
from .address import free_port, is_taken
from .clients import Visitors
from .guard import Guard
from .handlers import Handlers
from .layout import lay_out
from .picture_list import MOST_BYTES
from .session import FOLDER
from .workshop import Workshop


@dataclass(frozen=True)
class Running:
    """A page that is being served; `close` ends it."""

    url: str
    close: Callable[[], None]


def serve(shop: Workshop, *, host: str = "127.0.0.1", port: int | None = None) -> Running:
    """Serve the explorer and return at once.

    Args:
        shop: the model and the pictures.
        host: the address to listen on; the default can be reached from this machine only.
        port: the first free one from 7860 on when not given.

    Raises InvalidOption where Gradio is missing or refuses to serve, the address is not this machine's, or the port is
    taken.
    """
    gr = gradio()
    from starlette.middleware import Middleware

    uploads = temporary_folder(FOLDER)
    os.environ["GRADIO_TEMP_DIR"] = uploads.name  # Gradio asks when its parts are made
    guard: Any = Middleware(Guard, host=host, folder=Path(uploads.name))  # pyright: ignore[reportArgumentType]
    visitors = Visitors(shop)
    try:
        demo, url = _launched(lambda: _page(gr, visitors), _theme(gr), guard, host, port)
    except InvalidOption:
        uploads.cleanup()
        raise

    def close() -> None:
        demo.close(verbose=False)
        shop.desk.close()  # before the files of its jobs go
        visitors.close()
        uploads.cleanup()

    return Running(url, close)


def _launched(build: Callable[[], Any], theme: Any, guard: Any, host: str, port: int | None) -> tuple[Any, str]:
    """The page and its address. Where no port was asked for and another process took ours meanwhile, the next one."""
    while True:
        wanted = free_port(host, port)
        try:
            demo = build()
            _, url, _ = demo.queue(default_concurrency_limit=None, api_open=False).launch(
                server_name=f"[{host}]" if ":" in host.strip("[]") else host,
                server_port=wanted,
                app_kwargs={"middleware": [guard]},
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                max_file_size=MOST_BYTES,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
                theme=theme,
                css=html.asset("explorer.css"),
            )
        except Exception as error:  # of whatever kind: a proxy between this machine and itself, for example
            if port is None and isinstance(error, OSError) and is_taken(host, wanted):
                continue
            raise InvalidOption(f"the page cannot be served at {host}, port {wanted}: {first_line(error)}") from error
        return demo, url


def gradio() -> Any:
    """The package, with its telemetry off. Raises InvalidOption where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise InvalidOption(f"the explorer needs gradio ({error}): pip install 'neuronscope[app]'") from error
    return gradio


def _theme(gr: Any) -> Any:
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=system, font_mono=["ui-monospace", "monospace"]
    )


def _page(gr: Any, visitors: Visitors) -> Any:
    with gr.Blocks(
        title="neuronscope explorer", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
    ) as demo:
        Handlers(gr, visitors, lay_out(gr, visitors.shop)).connect(demo)
    return demo
