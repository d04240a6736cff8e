"""kyma → privacy → chat → gateway → billing → accounts: an app imports only to its right."""

import pytest

from tests.support.sources import LAYERS, files, imports, name_of


def importers_of(package: str) -> set[str]:
    """The files that import `package` or something of it."""
    return {
        name_of(path)
        for path in files()
        for _, module in imports(path)
        if module == package or module.startswith(f"{package}.")
    }


@pytest.mark.parametrize("app", LAYERS)
def test_an_app_imports_only_apps_to_its_right(app):
    to_the_left = LAYERS[: LAYERS.index(app)]
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in files(app)
        for line, module in imports(path)
        if module.split(".")[0] in (*to_the_left, "tests")
    ]
    assert wrong == []


def test_the_registers_of_personal_data_import_nothing():
    registers = [path for path in files() if path.name == "personal_data.py"]
    assert [name_of(path) for path in registers if list(imports(path))] == []


def test_only_one_module_talks_to_stripe():
    assert importers_of("stripe") <= {"billing/stripe_api.py"}


def test_only_one_module_talks_to_providers_while_requests_wait():
    ours = {
        one for one in importers_of("aiohttp") if not one.startswith("kyma/machine/local_provider/")
    }
    assert ours <= {"gateway/providers/upstream.py"}


def test_only_jobs_and_commands_use_a_client_that_blocks():
    clients = ("requests", "urllib.request", "http.client", "httpx", "urllib3")
    users = set().union(*(importers_of(client) for client in clients))
    assert users <= {
        "gateway/catalogue/discovery.py",  # asks the operator's own servers what they serve
        "gateway/catalogue/sessions.py",  # checks where the sessions of these two lead
        "gateway/providers/probes.py",  # asked by jobs and people, by no request
        "kyma/machine/programs.py",  # waits until what `manage.py up` has started answers
    }


def test_only_one_module_imports_what_another_package_calls_internal():
    importers = {
        name_of(path)
        for path in files()
        for _, module in imports(path)
        if "internal" in module.split(".")
    }
    assert importers == {"accounts/allauth_internals.py"}


def test_the_local_provider_knows_nothing_of_kyma():
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in files("kyma/machine/local_provider")
        for line, module in imports(path)
        if module.split(".")[0] in (*LAYERS, "django")
        and not module.startswith("kyma.machine.local_provider")
    ]
    assert wrong == []
