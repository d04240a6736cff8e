"""The addresses at which providers may stand.

A hosted provider stands in the public internet and is asked over TLS: a private address would be a
server of the operator's own, which a slip or a changed DNS entry must not hand requests and a key
to. A self-hosted one may stand anywhere but at a cloud's metadata service, which gives away the
machine's credentials. HOSTED_PROVIDER_NETWORKS lists exceptions, such as an outgoing proxy.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # containers at AWS
        "169.254.170.23",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure
    )
)
_NAT64 = ip_network("64:ff9b::/96")
_WELL_KNOWN_PORTS = {"http": 80, "https": 443}


def may_ask(address: str, *, is_tls: bool, is_self_hosted: bool) -> bool:
    """Return True if a provider may stand at this IP address."""
    ip = _inner(ip_address(address.partition("%")[0]))
    if ip in METADATA:
        return False
    if is_self_hosted or any(ip in network for network in _exceptions()):
        return True
    return is_tls and ip.is_global and not ip.is_multicast


def problem_of(base_url: str, *, is_self_hosted: bool) -> str:
    """Return why no provider may stand at `base_url`, or "" if nothing speaks against it.

    A host that doesn't resolve now passes: each connection checks its address once more.
    """
    parts = urlsplit(base_url)
    is_tls = parts.scheme == "https"
    try:
        port = parts.port or _WELL_KNOWN_PORTS[parts.scheme]
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError, KeyError):
        found = []
    wrong = [
        address
        for *_, (address, *_) in found
        if not may_ask(str(address), is_tls=is_tls, is_self_hosted=is_self_hosted)
    ]
    if is_self_hosted:
        return "No provider may stand at a cloud's metadata service." if wrong else ""
    if wrong or not (found or is_tls):
        return (
            "A hosted provider needs an https address in the public internet. Mark the provider "
            "as self-hosted if the server is your own."
        )
    return ""


def _exceptions() -> list:
    return [ip_network(text) for text in settings.HOSTED_PROVIDER_NETWORKS]


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
