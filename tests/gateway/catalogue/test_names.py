"""The names of a model at OpenRouter and Hugging Face, and the names most like an unknown one."""

from types import SimpleNamespace

import pytest

from gateway.catalogue import files as catalogue_files
from gateway.catalogue import names
from gateway.catalogue.aliases import ALIASES
from gateway.catalogue.files import CatalogError
from tests.support.gateway.small_catalogue import rewrite, write


@pytest.fixture(scope="module")
def models() -> dict[str, SimpleNamespace]:
    """The models of the catalogue's file."""
    found = [one.model for one in catalogue_files.read().listings]
    return {one.slug: model(one.slug, one.hugging_face_id) for one in found}


def model(slug: str, hugging_face_id: str = "") -> SimpleNamespace:
    return SimpleNamespace(slug=slug, names=names.all_of(slug, hugging_face_id))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("deepseek-v3.2", "deepseek-v3.2"),
        ("DeepSeek-V3.2", "deepseek-v3.2"),
        ("deepseek/deepseek-v3.2", "deepseek-v3.2"),
        ("deepseek/deepseek-v3.2-20251201", "deepseek-v3.2"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-v3.2"),
        ("DEEPSEEK-AI/deepseek-v3.2", "deepseek-v3.2"),
        ("qwen/qwen3-coder", "qwen3-coder-480b-a35b-instruct"),
        ("qwen/qwen3-235b-a22b-2507", "qwen3-235b-a22b-instruct-2507"),
        ("z-ai/glm-4.5-air", "glm-4.5-air"),
        ("zai-org/GLM-4.5-Air", "glm-4.5-air"),
        ("baai/bge-m3", "bge-m3"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    ],
)
def test_each_name_of_a_model_means_it(models, name, slug):
    assert names.named(name, models).slug == slug


@pytest.mark.parametrize("name", ["deepseek/deepseek-v3.2:free", "acme/deepseek-v3.2", "", "/"])
def test_another_name_means_none(models, name):
    assert names.named(name, models) is None


def test_no_name_means_two_models_or_an_alias(models):
    for one in models.values():
        for name in one.names:
            assert [two for two in models.values() if name in two.names] == [one]
            assert name not in ALIASES


def test_a_slug_wins_over_another_models_name():
    theirs, own = model("first", "acme/Own"), model("acme/own")
    assert names.named("Acme/OWN", {"first": theirs, "acme/own": own}) is own


# --- Names that are most like one


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("deepseek/deepseek-r1-0528:free", "deepseek-r1-0528"),
        ("deepseek/deepseek-v3.2:exacto", "deepseek-v3.2"),
        ("qwen/qwen3-coder:online", "qwen3-coder-480b-a35b-instruct"),
        ("qwen/qwen3-coder:free", "qwen3-coder-480b-a35b-instruct"),
        ("OpenAI/GPT-OSS-120", "gpt-oss-120b"),
        ("glm5.2", "glm-5.2"),
    ],
)
def test_at_most_three_are_named_and_the_nearest_first(models, name, first):
    found = names.nearest(name, models.values())
    assert found[0] == first
    assert len(found) == len({*found}) <= names.MOST_SUGGESTED
    assert {*found} <= {*models}


@pytest.mark.parametrize("name", ["", "/", "anthropic/claude-opus-4.5", 1000 * "x"])
def test_what_is_like_nothing_gets_no_names(models, name):
    assert names.nearest(name, models.values()) == []
    assert names.nearest(name, []) == []


def test_only_the_beginning_of_a_name_is_compared(models, monkeypatch):
    compared = []

    def note(name, *_, **__):
        compared.append(name)
        return []

    monkeypatch.setattr(names.difflib, "get_close_matches", note)
    names.nearest(100_000 * "x", models.values())
    assert compared == [names.MAX_NAMED * "x"]


# --- In the files


def test_another_name_needs_author_and_slug(tmp_path):
    write(tmp_path)
    rewrite(tmp_path, 'slug = "demo"', 'slug = "demo"\nother_names = ["demo 2"]')
    with pytest.raises(
        CatalogError, match=r"model demo: other_names: one isn't of the form author/slug"
    ):
        catalogue_files.read(tmp_path)
