"""Serving the dashboard: from Python with ``serve``, from the command line with ``vpp dash RUN``."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vpp.kernel.errors import VppError

PORT = 8050


def serve(
    run: Path, host: str = "127.0.0.1", port: int = PORT, *, open_browser: bool = False, benches: Sequence[Path] = ()
) -> None:
    """Serve the dashboard of a run until Ctrl-C.

    Args:
        run: the run directory; the run may still be going.
        host: address to listen on; others than this machine see the run when it is not a loopback address.
        port: TCP port, 0 for any free one.
        open_browser: show it at once.
        benches: directories of the test bench that are shown with it.

    Raises:
        RunError: there is no run, or it is damaged.
        VppError: the address cannot be used, for example because the port is taken.
    """
    import uvicorn

    from dashboards.app import create_app

    listener = listen(host, port)
    try:
        app = create_app(Path(run), benches)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        typer.echo(f"The dashboard of {run} is at {url} (Ctrl-C ends it)")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        if open_browser:
            typer.launch(url)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=30, timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is done; raises VppError with what to do about it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use; choose another one with --port" if taken else f"cannot be used: {error}"
        raise VppError(f"port {port} on {host} {reason}") from error
    return listener


def dash(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, of a finished or a running run.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port, 0 for any free one.", min=0, max=65535)] = PORT,
    bench: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A directory of vpp hil bench; may be repeated. Those beside the run are found."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")] = False,
) -> None:
    """Show a run in the browser: overview, network, HIL."""
    serve(run, host, port, open_browser=browser, benches=bench or ())
