"""Whose address a request comes from, so that nobody can claim another's.

A proxy writes the address that it sees at the right end of X-Forwarded-For; everything to the
left is what it was told. So behind n proxies of the operator's own the n-th entry from the right
is true, and without a proxy the whole header is a claim of the client's.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded: list[str], trusted_proxies: int) -> str:
    """The caller's address; `forwarded` are the X-Forwarded-For headers in their order.

    An entry that is missing or no address leaves `peer`, who opened the connection.
    """
    address = _forwarded_address(forwarded, trusted_proxies)
    if address is None and ":" in peer:  # Anything else stands as the kernel writes it.
        address = parse(peer)
    return str(address) if address else peer


def parse(text: str) -> Address | None:
    """The address that `text` is, perhaps with a port; one mapped into IPv6 as the IPv4 it is."""
    try:
        address = ip_address(_without_port(text.strip()))
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


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
