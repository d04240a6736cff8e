"""What tests of the bounds of connections share: an impatient process, and raw sockets."""

import contextlib
import re
import socket
import time
from pathlib import Path

from tests.support.gateway.wire_client import WireClient
from tests.support.live import DEADLINE_S

HEAD_S = 1
IDLE_S = 2
BODY_S = 1
BYTES_PER_S = 10_000
CONNECTIONS = 30
UNKNOWN_KEYS = 5
IMPATIENT = {
    "HEAD_TIMEOUT_S": str(HEAD_S),
    "KEEP_ALIVE_S": str(IDLE_S),
    "BODY_TIMEOUT_S": str(BODY_S),
    "BODY_BYTES_PER_S": str(BYTES_PER_S),
    "CONNECTIONS_PER_ADDRESS": str(CONNECTIONS),
    "UNKNOWN_KEYS_PER_MINUTE": str(UNKNOWN_KEYS),
}


def ended_after_s(client: WireClient) -> float:
    """Wait until the server ends the connection. Returns after how many seconds."""
    begun_at = time.monotonic()
    client.read_to_the_end()
    return time.monotonic() - begun_at


def send_unless_ended(client: WireClient, data: bytes) -> bool:
    """Send `data`. Returns False if the server has ended the connection."""
    try:
        client.send(data)
    except ConnectionError:
        return False
    return True


def is_open(client: WireClient) -> bool:
    """Return False if the server has ended the connection, or has sent anything."""
    client.socket.settimeout(0)
    try:
        return bool(client.socket.recv(1, socket.MSG_PEEK) and False)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        with contextlib.suppress(OSError):
            client.socket.settimeout(DEADLINE_S)


def memory_of(pid: int, what: str) -> int:
    """Return VmRSS, or VmHWM for the peak, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024


def begin_new_peak(pid: int) -> int:
    """Return the bytes of memory in use now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_of(pid, "VmRSS")
