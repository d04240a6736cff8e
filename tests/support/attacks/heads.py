"""Heads without an end: headers, one header, and a URL, until the server ends the connection."""

from tests.support.attacks.sockets import at_once, opened, until

AT_ONCE = 4
START = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
MB = 1_000_000
ENDLESS = (
    (START, b"".join(b"X-%d: %b\r\n" % (n, b"x" * 50) for n in range(15_000))),
    (START + b"X: ", b"x" * MB),
    (b"GET /", b"x" * MB),
    (START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: x\r\n" * (MB // 14)),
)


def run(address: str, *, seconds: float) -> None:
    goes_on = until(seconds)

    def attack(number: int) -> None:
        start, more = ENDLESS[number % len(ENDLESS)]
        while goes_on():
            one = opened(address, start)
            if one is None:
                continue
            try:
                while goes_on():
                    one.sendall(more)
            except OSError:
                pass
            finally:
                one.close()

    at_once(AT_ONCE, attack)
