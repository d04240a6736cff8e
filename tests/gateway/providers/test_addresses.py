"""Where providers may stand, and that no name that leads elsewhere is followed."""

import asyncio
import datetime as dt

import pytest

from gateway.catalogue.discovery import ServerSilent, models_of
from gateway.models.addresses import METADATA, may_ask, problem_of
from gateway.providers.connection import Pool, Unreachable
from gateway.providers.probes import Note, probe_provider
from tests.gateway.conftest import live_route
from tests.support.factories import make_provider
from tests.support.gateway.small_catalogue import models_answer, server
from tests.support.provider.scripts import answer

PUBLIC = ["8.8.8.8", "2606:4700::1111"]
PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%1", "fc00::1", "ff02::1"),
    # IPv4 addresses inside IPv6 ones: mapped, 6to4, NAT64
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
]
HIDDEN_METADATA = ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]


@pytest.fixture(autouse=True)
def _no_exceptions(settings):
    settings.HOSTED_PROVIDER_NETWORKS = []


@pytest.mark.parametrize("address", [*PUBLIC, *PRIVATE])
def test_a_hosted_provider_stands_in_the_public_internet_behind_tls(address):
    assert may_ask(address, is_tls=True, is_self_hosted=False) == (address in PUBLIC)
    assert not may_ask(address, is_tls=False, is_self_hosted=False)
    for is_tls in (True, False):
        assert may_ask(address, is_tls=is_tls, is_self_hosted=True)


@pytest.mark.parametrize("address", [*map(str, METADATA), *HIDDEN_METADATA])
def test_nobody_stands_at_a_metadata_service(address, settings):
    for networks in ([], ["0.0.0.0/0", "::/0"]):
        settings.HOSTED_PROVIDER_NETWORKS = networks
        for is_tls in (True, False):
            for is_self_hosted in (True, False):
                assert not may_ask(address, is_tls=is_tls, is_self_hosted=is_self_hosted)


def test_an_exception_counts_for_its_network_alone(settings):
    settings.HOSTED_PROVIDER_NETWORKS = ["10.0.0.0/24"]
    assert may_ask("10.0.0.9", is_tls=False, is_self_hosted=False)
    assert not may_ask("10.0.1.9", is_tls=True, is_self_hosted=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]"]
)
def test_a_host_is_resolved_before_it_is_saved(host):
    assert problem_of(f"https://{host}/v1", is_self_hosted=False)
    assert not problem_of(f"https://{host}/v1", is_self_hosted=True)


@pytest.mark.parametrize("url", ["https://nowhere.invalid/v1", f"https://{'a' * 64}.invalid/v1"])
def test_a_host_that_does_not_resolve_yet_may_be_saved(url):
    assert problem_of(url, is_self_hosted=False) == ""
    assert problem_of(url.replace("https", "http"), is_self_hosted=False)


# --- When a connection is made -------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_name_that_leads_inside_is_not_followed_by_the_gateway(host, fake, caplog):
    async def ask(url: str, *, is_self_hosted: bool) -> int:
        pool = Pool()
        try:
            connection = await pool.post(url, "sk-1", b"{}", is_self_hosted=is_self_hosted)
            connection.end()
            return connection.status
        finally:
            pool.close()

    url = fake.base_url.replace("127.0.0.1", host) + "/chat/completions"
    with pytest.raises(Unreachable):
        asyncio.run(ask(url, is_self_hosted=False))
    assert f"no provider may stand at the address of {host}" in caplog.text
    assert asyncio.run(ask(url, is_self_hosted=True))


def test_a_connection_of_a_self_hosted_provider_is_not_lent_to_a_hosted_one(fake):
    async def ask_twice() -> None:
        pool = Pool()
        url = f"{fake.base_url}/models"
        connection = await pool.post(url, None, b"{}", is_self_hosted=True)
        await connection.read()
        connection.end()
        with pytest.raises(Unreachable):
            await pool.post(url, None, b"{}", is_self_hosted=False)
        pool.close()

    asyncio.run(ask_twice())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_probes_and_discovery_follow_no_such_name_either(host, books):
    with server(models_answer({"id": "x"})) as (address, seen):
        url = f"{address.replace('127.0.0.1', host)}/v1"
        assert probe_provider(make_provider(base_url=url)).note is Note.UNREACHABLE
        assert seen == []
        assert probe_provider(make_provider(base_url=url, self_hosted=True)).ok
        assert [one.slug for one in models_of(url)] == ["x"]
    with pytest.raises(ServerSilent):
        models_of("http://169.254.169.254/v1")


@pytest.mark.gateway_with(HOSTED_PROVIDER_NETWORKS="")
def test_a_caller_hears_nothing_of_the_address(customer, fake):
    live_route(
        "led-inside",
        fake.base_url.replace("127.0.0.1", "localhost"),
        self_hosted=False,
        retention="none",
        retention_evidence_date=dt.datetime.now(dt.UTC).date(),
    )
    token = fake.script(answer("Hello."))
    refused = customer.ask(token, model="led-inside")
    assert (refused.status_code, fake.count(token)) == (503, 0)
    assert "localhost" not in refused.text
