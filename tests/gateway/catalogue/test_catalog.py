import datetime as dt
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from billing.models import PriceVersion
from billing.pricing import nano
from gateway.catalogue import files as catalogue_files
from gateway.catalogue import loading
from gateway.catalogue.files import STATEMENT_FIELDS, CatalogError
from gateway.models import Model, Provider, Route
from tests.support.gateway.small_catalogue import models_answer, rewrite, server, write

LOCAL = {"LOCAL_PROVIDER_URL": "http://127.0.0.1:8791/v1"}


@pytest.fixture
def books(books):
    """Without the catalogue of other tests' commits: out of the way until the rollback."""
    for kind in (Provider, Model):
        for number, row in enumerate(kind.objects.all()):
            kind.objects.filter(pk=row.pk).update(slug=f"old-{number}", enabled=False)


@pytest.fixture
def files(tmp_path):
    """A folder with a small catalogue, which a test may rewrite."""
    write(tmp_path)
    return tmp_path


def load(folder, **environment) -> loading.Outcome:
    return loading.load(catalogue_files.read(folder), environment={**LOCAL, **environment})


def everything() -> list:
    """All that a load may write."""
    return [
        list(kind.objects.order_by("id").values())
        for kind in (Provider, Model, Route, PriceVersion)
    ]


def counts() -> list[int]:
    return [kind.objects.count() for kind in (Provider, Model, Route, PriceVersion)]


def growth(before: list[int]) -> list[int]:
    return [new - old for new, old in zip(counts(), before, strict=True)]


def price_through(provider: str) -> PriceVersion:
    return Route.objects.get(provider__slug=provider).price_version


# --- Loading -------------------------------------------------------------------------------------


def test_it_loads_models_routes_and_prices(books, files):
    before = counts()
    outcome = load(files)
    assert growth(before) == [4, 2, 3, 3]
    assert [outcome.models, outcome.routes] == counts()[1:3]
    assert outcome.new_prices == 3
    assert Model.objects.get(slug="llama-3.1-8b").released == dt.date(2024, 7, 23)
    local = Route.objects.get(provider__slug="local")
    assert (local.upstream_model, local.context_length) == ("demo-135m", None)
    assert local.price_version.verified
    through_openrouter = price_through("openrouter")
    assert through_openrouter.input_nano == nano("0.04")
    assert through_openrouter.cached_input_nano == nano("0.03")
    assert through_openrouter.output_nano == nano("0.05")
    assert through_openrouter.request_nano == nano("0.001")
    assert through_openrouter.image_nano == nano("0.002")
    assert not through_openrouter.verified


def test_a_cached_token_costs_a_tenth_rounded_up_unless_it_is_said(books, files):
    load(files)
    assert price_through("local").cached_input_nano == nano("0.001")
    assert price_through("groq").input_nano == 55
    assert price_through("groq").cached_input_nano == 6


def test_loading_twice_changes_nothing(books, files):
    load(files, GROQ_API_KEY="gsk-secret")
    before = everything()
    assert load(files, GROQ_API_KEY="gsk-secret").new_prices == 0
    assert everything() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('input = "0.01"', 'input = "0.011"'),
        ('output = "0.02"', 'output = "0.021"'),
        ('output = "0.02"', 'output = "0.02"\ncached_input = "0"'),
        ('output = "0.02"', 'output = "0.02"\nrequest = "0.1"'),
        ('output = "0.02"', 'output = "0.02"\nimage = "0.1"'),
        ("source_date = 2026-01-02", "source_date = 2026-02-03"),
        ('source = "Kyma\'s own price"', 'source = "elsewhere"'),
        ("verified = true", "verified = false"),
    ],
)
def test_a_changed_price_is_one_new_version_and_the_old_one_stays(books, files, old, new):
    load(files)
    first = price_through("local")
    before = counts()
    rewrite(files, old, new)
    assert load(files).new_prices == 1
    assert growth(before) == [0, 0, 0, 1]
    assert price_through("local") != first
    assert first in PriceVersion.objects.filter(input_nano=nano("0.01"), source_date="2026-01-02")
    assert load(files).new_prices == 0


def test_a_price_written_another_way_is_the_same_price(books, files):
    load(files)
    rewrite(files, 'input = "0.01"', 'input = "0.010"\ncached_input = "0.001"')
    assert load(files).new_prices == 0


def test_the_files_win_over_the_database(books, files):
    load(files)
    Model.objects.filter(slug="demo").update(name="Changed", max_output_tokens=5)
    Route.objects.filter(provider__slug="local").update(upstream_model="changed")
    Provider.objects.filter(slug="groq").update(name="Changed", base_url="https://x.example")
    load(files)
    demo = Model.objects.get(slug="demo")
    assert (demo.name, demo.max_output_tokens) == ("Demo", None)
    assert Route.objects.get(provider__slug="local").upstream_model == "demo-135m"
    groq = Provider.objects.get(slug="groq")
    assert (groq.name, groq.base_url) == ("Groq", "https://api.groq.example/openai/v1")


def test_what_the_operator_disabled_stays_disabled(books, files):
    load(files, GROQ_API_KEY="gsk-secret")
    for kind in (Provider, Model, Route):
        kind.objects.update(enabled=False)
    outcome = load(files, GROQ_API_KEY="gsk-other")
    for kind in (Provider, Model, Route):
        assert not kind.objects.filter(enabled=True).exists()
    assert outcome.routable == []
    assert Provider.objects.get(slug="groq").api_key == "gsk-other"


def test_rows_that_no_file_names_are_left_alone(books, files):
    Provider.objects.create(slug="own", name="Own", base_url="http://10.0.0.1/v1")
    Model.objects.create(slug="own-model", name="Own", maker="Us", context_length=10)
    load(files)
    rewrite(files, 'slug = "demo"', 'slug = "demo-2"')
    load(files)
    assert Provider.objects.get(slug="own").enabled
    assert set(Model.objects.filter(enabled=True).values_list("slug", flat=True)) == {
        "demo",
        "demo-2",
        "llama-3.1-8b",
        "own-model",
    }
    assert Route.objects.filter(model__slug="demo").exists()


def test_a_faulty_file_changes_nothing(books, files):
    load(files)
    before = everything()
    rewrite(files, 'name = "Demo"', 'name = "New"')
    rewrite(files, 'input = "0.04"', 'input = "free"')
    with pytest.raises(CatalogError):
        load(files)
    assert everything() == before


def test_two_loads_at_once_make_each_row_once(committed_books, files):
    before = counts()
    barrier = threading.Barrier(2)
    failures = []

    def run():
        try:
            barrier.wait(10)
            load(files, GROQ_API_KEY="gsk-secret")
        except Exception as error:  # told in the test's own thread
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert growth(before) == [4, 2, 3, 3]


# --- Keys and base URLs from the environment -----------------------------------------------------


def test_without_keys_only_the_local_provider_is_routable(books, files):
    outcome = load(files, GROQ_API_KEY=" ")
    assert outcome.routable == ["local"]
    assert outcome.withheld == []
    local = Provider.objects.get(slug="local")
    assert local.base_url == LOCAL["LOCAL_PROVIDER_URL"]
    assert local.self_hosted
    assert not Provider.objects.get(slug="groq").enabled


def test_a_key_makes_a_providers_models_routable_at_once(books, files):
    load(files)
    outcome = load(files, GROQ_API_KEY=" gsk-secret\n")
    assert outcome.routable == ["groq", "local"]
    groq = Provider.objects.get(slug="groq")
    assert groq.enabled
    assert not groq.self_hosted
    assert groq.api_key == "gsk-secret"
    assert b"gsk-secret" not in bytes(groq.api_key_sealed)


def test_a_provider_stays_on_when_its_variable_vanishes(books, files):
    load(files, GROQ_API_KEY="gsk-secret")
    assert load(files).routable == ["groq", "local"]
    assert Provider.objects.get(slug="groq").api_key == "gsk-secret"


def test_a_key_that_no_longer_opens_is_sealed_anew(books, files):
    load(files, GROQ_API_KEY="gsk-secret")
    Provider.objects.filter(slug="groq").update(api_key_sealed=b"\x01" + bytes(40))
    load(files, GROQ_API_KEY="gsk-secret")
    assert Provider.objects.get(slug="groq").api_key == "gsk-secret"


def test_it_names_the_providers_that_are_withheld_by_the_data_policy(books, files):
    outcome = load(files, GROQ_API_KEY="a", OPENROUTER_API_KEY="b")
    assert outcome.routable == ["groq", "local", "openrouter"]
    assert outcome.withheld == ["groq", "openrouter"]


@pytest.mark.parametrize(("age", "withheld"), [(0, []), (89, []), (90, ["groq"])])
def test_evidence_older_than_90_days_withholds_a_provider(books, files, age, withheld):
    today = dt.datetime.now(dt.UTC).date()
    rewrite(files, str(today), str(today - dt.timedelta(days=age)), "providers.toml")
    rewrite(files, '"abuse_30d"', '"none"', "providers.toml")
    outcome = load(files, GROQ_API_KEY="a")
    assert outcome.withheld == withheld
    assert any("days old" in one for one in outcome.warnings) == (age >= 60)


@pytest.mark.parametrize(("days", "stays"), [(1, True), (0, False), (-1, False)])
def test_a_statement_with_newer_evidence_survives_the_next_load(books, files, days, stays):
    load(files)
    today = dt.datetime.now(dt.UTC).date()
    rewrite(files, str(today), str(today - dt.timedelta(days=9)), "providers.toml")
    theirs = ("abuse_30d", "https://groq.example/data", today - dt.timedelta(days=9))
    ours = ("none", "https://groq.example/zdr", theirs[2] + dt.timedelta(days=days))
    Provider.objects.filter(slug="groq").update(**dict(zip(STATEMENT_FIELDS, ours, strict=True)))
    Provider.objects.filter(slug="groq").update(name="Of the admin")
    for _ in range(2):
        load(files)
    row = Provider.objects.get(slug="groq")
    assert tuple(getattr(row, name) for name in STATEMENT_FIELDS) == (ours if stays else theirs)
    assert row.name == "Groq"


def test_evidence_that_the_files_lack_survives_the_next_load(books, files):
    load(files)
    today = dt.datetime.now(dt.UTC).date()
    found = {"retention": "none", "retention_evidence_date": today}
    Provider.objects.filter(slug="openrouter").update(**found)
    load(files)
    assert Provider.objects.filter(slug="openrouter", **found).exists()


# --- Servers that list their models --------------------------------------------------------------


def test_each_model_of_a_server_becomes_a_free_one(books, files):
    answer = models_answer(
        {"id": "Qwen2.5:7b"}, {"id": "Meta-Llama/Llama-3-8B", "max_model_len": 4096}
    )
    with server(answer) as (address, seen):
        outcome = load(files, OLLAMA_BASE_URL=address)
        assert outcome.routable == ["local", "ollama"]
        assert outcome.withheld == outcome.warnings == []
        before = everything()
        load(files, OLLAMA_BASE_URL=address)
        assert everything() == before
    assert seen == [("/v1/models", None)] * 2

    provider = Provider.objects.get(slug="ollama")
    assert (provider.base_url, provider.self_hosted) == (f"{address}/v1", True)
    qwen = Model.objects.get(slug="qwen2.5-7b")
    assert (qwen.name, qwen.maker, qwen.context_length) == ("Qwen2.5:7b", "self-hosted", 8192)
    llama = Model.objects.get(slug="meta-llama-llama-3-8b")
    assert llama.context_length == 4096
    route = llama.routes.get()
    assert route.upstream_model == "Meta-Llama/Llama-3-8B"
    price = route.price_version
    assert (price.input_nano, price.cached_input_nano, price.output_nano) == (0, 0, 0)
    assert (price.source, price.verified) == ("self-hosted", True)


def test_a_model_of_the_catalogue_gets_another_route_from_a_server(books, files):
    answer = models_answer({"id": "llama-3.1:8b"})
    with server(answer) as (address, _):
        load(files, OLLAMA_BASE_URL=address)
    model = Model.objects.get(slug="llama-3.1-8b")
    assert (model.maker, model.context_length) == ("Meta", 131072)
    assert model.routes.get(provider__slug="ollama").context_length == 8192
    assert model.routes.count() == 3


def test_what_the_operator_changed_on_a_discovered_route_stays(books, files):
    with server(models_answer({"id": "own"})) as (address, _):
        load(files, OLLAMA_BASE_URL=address)
        price = PriceVersion.objects.create(input_nano=5, cached_input_nano=1, output_nano=5)
        Route.objects.filter(provider__slug="ollama").update(price_version=price, enabled=False)
        Model.objects.filter(slug="own").update(name="Our own", context_length=999)
        load(files, OLLAMA_BASE_URL=address)
    route = Route.objects.get(provider__slug="ollama")
    assert (route.price_version, route.enabled) == (price, False)
    assert (route.model.name, route.model.context_length) == ("Our own", 999)


def test_a_model_with_an_odd_or_taken_id_is_left_out_and_told(books, files):
    answer = models_answer({"id": "a:b"}, {"id": "a/b"}, {"id": "模型"}, {"id": "x" * 161})
    with server(answer) as (address, _):
        outcome = load(files, OLLAMA_BASE_URL=address)
    assert len(outcome.warnings) == 3
    assert Route.objects.get(provider__slug="ollama").upstream_model == "a:b"


def test_a_server_that_is_down_is_a_warning(books, files):
    with server(b"") as (address, _):
        pass
    outcome = load(files, OLLAMA_BASE_URL=address)
    assert outcome.warnings == [
        f"ollama at {address}/v1 can't be reached (ConnectionError): its models are not updated"
    ]
    assert outcome.routable == ["local"]
    assert Provider.objects.get(slug="ollama").enabled


def test_a_warning_does_not_repeat_a_password_in_an_address(books, files):
    with server(b"") as (address, _):
        pass
    load(files)
    secret = address.replace("http://", "http://me:hidden@")
    Provider.objects.filter(slug="ollama").update(base_url=secret, enabled=True)
    (warning,) = load(files).warnings
    assert warning.startswith(f"ollama at {address.removeprefix('http://')} can't be reached")
    assert "hidden" not in warning


def test_a_known_server_is_asked_again_without_its_variable(books, files):
    with server(models_answer({"id": "first"})) as (address, seen):
        load(files, OLLAMA_BASE_URL=address)
        provider = Provider.objects.get(slug="ollama")
        provider.set_api_key("ollama-secret")
        provider.save()
        load(files)
    assert seen == [("/v1/models", None), ("/v1/models", "Bearer ollama-secret")]


def test_a_server_that_the_operator_disabled_is_not_asked(books, files):
    with server(models_answer({"id": "first"})) as (address, seen):
        load(files, OLLAMA_BASE_URL=address)
        Provider.objects.filter(slug="ollama").update(enabled=False)
        load(files, OLLAMA_BASE_URL=address)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "given",
    [
        "ftp://x",
        "http://",
        "http://me:secret@host",
        "http://host/?key=secret",
        "http://" + "x" * 200,
        "http://[bad",
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_without_repeating_it(books, files, given):
    with pytest.raises(CatalogError, match="OLLAMA_BASE_URL: ") as refused:
        load(files, OLLAMA_BASE_URL=given)
    assert "secret" not in str(refused.value)


# --- The command ---------------------------------------------------------------------------------


@pytest.fixture
def no_keys(monkeypatch):
    """An environment without any provider's variable."""
    for preset in catalogue_files.read().presets:
        monkeypatch.delenv(preset.env, raising=False)
    return monkeypatch


def test_the_command_loads_the_shipped_files_and_says_so_in_one_line(books, no_keys, capfd):
    no_keys.setenv("GROQ_API_KEY", "gsk-secret")
    no_keys.setenv("OPENROUTER_API_KEY", "or-secret")
    prices_before = PriceVersion.objects.count()
    out, err = StringIO(), StringIO()
    call_command("load_catalog", stdout=out, stderr=err)
    line = (
        f"{Model.objects.count()} models, {Route.objects.count()} routes, "
        f"{PriceVersion.objects.count() - prices_before} new prices; "
        "providers routable: groq, local, openrouter; "
        "only with a person's consent (P7): groq, openrouter\n"
    )
    said = out.getvalue()
    assert said == line
    # The shipped evidence grows old, and the command warns of it.
    assert [one for one in err.getvalue().splitlines() if "evidence is" not in one] == []
    assert "secret" not in said + "".join(capfd.readouterr())


def test_the_command_takes_the_local_provider_from_the_settings(books, no_keys, settings):
    settings.LOCAL_PROVIDER_URL = "http://127.0.0.1:9999/v1"
    call_command("load_catalog", stdout=StringIO())
    assert Provider.objects.get(slug="local").base_url == "http://127.0.0.1:9999/v1"


def test_the_command_warns_of_a_server_that_is_down(books, no_keys):
    with server(b"") as (address, _):
        pass
    no_keys.setenv("VLLM_BASE_URL", address)
    out, err = StringIO(), StringIO()
    call_command("load_catalog", stdout=out, stderr=err)
    assert err.getvalue().startswith(f"Warning: vllm at {address}/v1 can't be reached")
    assert out.getvalue().count("\n") == 1


def test_the_command_names_the_faults_of_a_file(books, no_keys, files):
    rewrite(files, 'input = "0.01"', "input = 0.01")
    read = catalogue_files.read
    no_keys.setattr(catalogue_files, "read", lambda: read(files))
    with pytest.raises(CommandError, match="model demo through local: input"):
        call_command("load_catalog")
