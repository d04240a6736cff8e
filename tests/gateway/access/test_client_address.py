"""Whose address a request comes from: nobody can claim another's."""

import pytest

from gateway.access.client_address import client_address

PEER = "10.0.0.9"
TRUE = "203.0.113.7"
FORGED = "198.51.100.1"

# (trusted proxies, X-Forwarded-For headers, the address that counts)
SPOOFS = {
    "without a proxy the header is a claim": (0, [FORGED], PEER),
    "a negative count trusts nobody": (-1, [FORGED], PEER),
    "no header": (1, [], PEER),
    "an empty header": (1, [""], PEER),
    "what one proxy saw": (1, [TRUE], TRUE),
    "the client's entry stands to the left": (1, [f"{FORGED}, {TRUE}"], TRUE),
    "many entries of the client's": (1, [f"{', '.join(50 * [FORGED])},{TRUE}"], TRUE),
    "a header of the client's own before the proxy's": (1, [FORGED, TRUE], TRUE),
    "two proxies": (2, [f"{FORGED}, {TRUE}, 10.0.0.2"], TRUE),
    "two proxies that add headers": (2, [FORGED, TRUE, "10.0.0.2"], TRUE),
    "fewer entries than proxies": (3, [f"{FORGED}, {TRUE}"], PEER),
    "a port": (1, [f"{TRUE}:4711"], TRUE),
    "IPv6": (1, ["2001:DB8:0::1"], "2001:db8::1"),
    "IPv6 in brackets": (1, ["[2001:db8::1]"], "2001:db8::1"),
    "IPv6 with a port": (1, ["[2001:db8::1]:443"], "2001:db8::1"),
    "IPv4 mapped into IPv6": (1, [f"::ffff:{TRUE}"], TRUE),
    "IPv4 mapped into IPv6, with a port": (1, [f"[::ffff:{TRUE}]:443"], TRUE),
    "blanks": (1, [f"{FORGED} ,\t {TRUE} "], TRUE),
    "garbage": (1, [f"{TRUE}, unknown"], PEER),
    "nothing after the last comma": (1, [f"{TRUE},"], PEER),
    "a port that is none": (1, [f"{TRUE}:http"], PEER),
    "garbage after the bracket": (1, [f"[2001:db8::1]{TRUE}"], PEER),
    "an open bracket": (1, ["[2001:db8::1"], "2001:db8::1"),
    "a network is no address": (1, [f"{TRUE}/24"], PEER),
    "a number is no address": (1, ["3405803783"], PEER),
    "leading zeros are no address": (1, ["203.000.113.007"], PEER),
    "digits of another script": (1, ["٢٠٣.0.113.7"], PEER),
}


@pytest.mark.parametrize("case", SPOOFS)
def test_the_address_that_counts(case):
    trusted_proxies, forwarded, address = SPOOFS[case]
    assert client_address(PEER, forwarded, trusted_proxies) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("", ""), ("unix:", "unix:")],
)
def test_the_peer_itself(peer, address):
    assert client_address(peer, [], 0) == address
