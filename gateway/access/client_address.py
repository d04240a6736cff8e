"""Finds the IP address of a request in a way that the client can't forge.

A proxy appends the address that it sees at the right end of X-Forwarded-For; everything to the
left came with the request. So behind n proxies of the operator the n-th entry from the right is
true. Without a proxy the client may have written the whole header.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded: list[str], trusted_proxies: int) -> str:
    """Return the caller's address; `forwarded` holds the X-Forwarded-For headers in order.

    If the entry is missing or isn't an address, return `peer`, which opened the connection.
    """
    address = _forwarded_address(forwarded, trusted_proxies)
    if address is None and ":" in peer:  # The kernel writes an IPv4 peer in its one form already.
        address = parse(peer)
    return str(address) if address else peer


def parse(text: str) -> Address | None:
    """Return the address in `text`, or None; a port is dropped, and IPv4 inside IPv6 unwrapped."""
    try:
        address = ip_address(_without_port(text.strip()))
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def client_of(address: str) -> str:
    """Return the name under which what comes from `address` is counted.

    One client has all of an IPv6 /64.
    """
    parsed = parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return str(parsed or address)


def _forwarded_address(forwarded: list[str], trusted_proxies: int) -> Address | None:
    entries = ",".join(forwarded).split(",")
    if not 0 < trusted_proxies <= len(entries):
        return None
    return parse(entries[-trusted_proxies])


def _without_port(text: str) -> str:
    if text.startswith("["):  # [2001:db8::1]:443
        host, _, port = text[1:].partition("]")
        return host if not port or _is_port(port) else ""
    host, colon, port = text.rpartition(":")
    return host if colon and ":" not in host and _is_port(f":{port}") else text


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdecimal()
