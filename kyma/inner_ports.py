"""The ports of the programs that serve one Kyma alone: the embedded Redis and the local provider.

They are found free once and remembered in the state folder, so every command that works on this
folder knows them, and two Kymas on one machine don't meet. The settings read them: this module
can't use the settings.
"""

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"
NAMES = ("redis", "local_provider")
# Production starts neither program; it has no state folder to remember anything in.
FIXED = {"redis": 8793, "local_provider": 8791}
MAX_PORT = 65_535


def remembered(state_dir: Path) -> dict[str, int]:
    """Return the port of each program, the same at every call for one state folder."""
    path = _file(state_dir)
    if ports := _read(path):
        return ports
    draft = _draft(path)
    try:
        os.link(draft, path)  # Fails if another process was first: then its ports count.
    except FileExistsError:
        if not _read(path):  # A full disk may have cut the file off.
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return remembered(state_dir)


def replace(state_dir: Path) -> None:
    """Find and remember another free port for each program."""
    path = _file(state_dir)
    _draft(path).replace(path)


def _file(state_dir: Path) -> Path:
    return state_dir / "ports.json"


def _read(path: Path) -> dict[str, int] | None:
    try:
        ports = json.loads(path.read_text())
        is_whole = all(0 < ports[name] <= MAX_PORT for name in NAMES)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return ports if is_whole else None


def _draft(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(_find()))
    return draft


def _find() -> dict[str, int]:
    """Return a free port for each program. All are bound at once, so no two are the same."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in NAMES}
        for one in sockets.values():
            one.bind((HOST, 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}
