"""`python -m kyma.machine.local_provider --host 127.0.0.1 --port 8791`"""

import argparse
import socket

from aiohttp import web

from kyma.machine.local_provider.app import create_app
from kyma.machine.local_provider.engine import MODEL_ID, load_engine

# On SIGTERM a generation ends at its next token. A handler that takes longer is cancelled.
SHUTDOWN_TIMEOUT_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="kyma.machine.local_provider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8791)
    parser.add_argument("--fd", type=int, help="A listening socket to use instead.")
    arguments = parser.parse_args()
    if arguments.fd is None:
        place, port = {"host": arguments.host, "port": arguments.port}, arguments.port
    else:
        listener = socket.socket(fileno=arguments.fd)
        place, port = {"sock": listener}, listener.getsockname()[1]
    engine = load_engine()
    line = (
        f"Local provider on http://{arguments.host}:{port}/v1, model {MODEL_ID}, "
        f"engine {engine.name} ({engine.note})"
    )
    web.run_app(
        create_app(engine),
        **place,
        access_log=None,
        # A client that hangs up must free the model.
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        # aiohttp calls this once the port is open. Our line replaces its banner.
        print=lambda _banner: print(line, flush=True),
    )


if __name__ == "__main__":
    main()
