import datetime as dt

import pytest

from gateway.catalogue import files as catalogue_files
from gateway.catalogue.files import CAPABILITIES, SLUG, CatalogError
from tests.support.gateway.small_catalogue import rewrite, write


@pytest.fixture
def files(tmp_path):
    """A folder with a small catalogue, which a test may rewrite."""
    write(tmp_path)
    return tmp_path


def test_the_shipped_catalogue_is_sound():
    catalogue = catalogue_files.read()
    assert len(catalogue.listings) >= 20
    providers = {preset.slug for preset in catalogue.presets}
    assert providers == {
        "local",
        "groq",
        "together",
        "fireworks",
        "deepinfra",
        "cerebras",
        "sambanova",
        "openrouter",
        "mistral",
        "ollama",
        "vllm",
    }
    for listing in catalogue.listings:
        assert SLUG.fullmatch(listing.model.slug)
        assert set(listing.model.capabilities) <= CAPABILITIES
        assert listing.model.released is None or isinstance(listing.model.released, dt.date)
        for offer in listing.offers:
            assert offer.provider in providers
            assert offer.price.source
            assert isinstance(offer.price.source_date, dt.date)
            assert offer.price.input_nano > 0
            assert offer.price.output_nano > 0 or listing.model.capabilities == ["embedding"]
            assert offer.price.cached_input_nano <= offer.price.input_nano


def test_each_shipped_provider_has_a_policy_and_stands_behind_its_retention():
    for preset in catalogue_files.read().presets:
        assert preset.provider.privacy_policy_url.startswith("https://")
        assert preset.env == (
            "LOCAL_PROVIDER_URL"
            if preset.slug == "local"
            else f"{preset.slug.upper()}_BASE_URL"
            if preset.lists_its_models
            else f"{preset.slug.upper()}_API_KEY"
        )
        if not preset.provider.self_hosted and preset.provider.retention != "unknown":
            assert preset.provider.retention_evidence_url.startswith("https://")
            assert isinstance(preset.provider.retention_evidence_date, dt.date)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('input = "0.01"', "input = 0.01", "model demo through local: input: not a string"),
        ('input = "0.01"', 'input = "0.0000000001"', "input: not a string with a decimal"),
        ('input = "0.01"', 'input = "-1"', "input: not a string with a decimal"),
        ('output = "0.02"', "", "model demo through local: output: it is missing"),
        ('source = "Kyma\'s own price"', "", "source: it is missing"),
        ("source_date = 2026-01-02", 'source_date = "soon"', "source_date: “soon” value"),
        ("verified = true", "verifed = true", "model demo through local: verifed: unknown field"),
        ('provider = "local"', 'provider = "lokal"', "provider 'lokal' isn't in providers.toml"),
        ('slug = "demo"', 'slug = "De mo"', "model De mo: the slug doesn't match"),
        ('slug = "demo"', 'slug = "llama-3.1-8b"', "model llama-3.1-8b: it is listed twice"),
        ('capabilities = ["json"]', 'capabilities = ["magic"]', "capabilities: one is unknown"),
        ("context_length = 8192", 'context_length = "long"', "context_length: “long” value"),
        ("context_length = 8192", "", "context_length: This field cannot be null"),
        ('provider = "openrouter"', 'provider = "groq"', "route through groq: it is listed"),
        ("[[model]]", "[[model", "catalog.toml: "),
    ],
)
def test_a_faulty_catalogue_is_refused_by_name_of_the_fault(files, old, new, fault):
    rewrite(files, old, new)
    with pytest.raises(CatalogError) as refused:
        catalogue_files.read(files)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('retention = "unknown"', 'retention = "none"', "openrouter: retention: no evidence"),
        ('retention = "unknown"', 'retention = "maybe"', "openrouter: retention: Value 'maybe'"),
        ('base_url = "https://api.groq.example/openai/v1"', "", "groq: base_url must be given"),
        ('env = "GROQ_API_KEY"', 'env = "GROQ"', "groq: env: it must be *_API_KEY"),
        ("[groq]", '["gr oq"]', "provider gr oq: the slug doesn't match"),
    ],
)
def test_a_faulty_provider_is_refused_by_name_of_the_fault(files, old, new, fault):
    rewrite(files, old, new, "providers.toml")
    with pytest.raises(CatalogError) as refused:
        catalogue_files.read(files)
    assert fault in str(refused.value)
