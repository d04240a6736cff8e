"""Probes of providers and tests of routes: what each finds, keeps and says."""

import http.server
import time

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.urls import reverse

from gateway import tasks
from gateway.models import Provider
from gateway.providers import probes
from gateway.providers.probes import Note, probe_provider
from kyma.celery import app as celery_app
from tests.support.factories import make_model, make_provider, make_route, make_user
from tests.support.gateway.endpoint_answers import VECTORS, vectors_answer
from tests.support.gateway.receipts import LEAK, LEAKED
from tests.support.gateway.small_catalogue import models_answer, server
from tests.support.provider.scripts import (
    Bytes,
    Close,
    End,
    Head,
    RawBytes,
    Reset,
    Silence,
    Split,
    answer,
    either,
    error,
    json_answer,
    stream,
    usage_of,
)

SECRET = "gsk-a-key-that-nobody-may-see"
USAGE = usage_of(3, 1)
GOOD = either(stream("p", usage=USAGE), answer("p", extra={"usage": USAGE}))

pytestmark = pytest.mark.usefixtures("books")


# --- A provider ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status", "note"),
    [
        (models_answer({"id": "x"}), 200, Note.ANSWERS),
        (b'[{"id": "x"}]', 200, Note.ANSWERS),
        (b'{"error": "bad key"}', 401, Note.KEY_REFUSED),
        (b'{"error": "bad key"}', 403, Note.KEY_REFUSED),
        (b"<html>", 200, Note.ODD),
        (b'{"data": null}', 200, Note.ODD),
        (b"", 200, Note.ODD),
        (b"[]", 404, Note.ODD),
        (b"[]", 500, Note.ODD),
        (b"[]", 302, Note.ODD),
    ],
)
def test_what_a_provider_says_is_one_of_few_findings(said, status, note):
    with server(said, status) as (address, seen):
        provider = make_provider(base_url=f"{address}/v1/")
        provider.set_api_key(SECRET)
        probe = probe_provider(provider)
    assert (probe.note, probe.status, probe.ok) == (note, status, note == Note.ANSWERS)
    assert seen == [("/v1/models", f"Bearer {SECRET}")]


def test_a_provider_without_a_key_is_asked_without_one():
    with server(models_answer()) as (address, seen):
        assert probe_provider(make_provider(base_url=f"{address}/v1")).ok
    assert seen == [("/v1/models", None)]


def test_a_provider_that_cannot_be_reached(fake):
    probe = probe_provider(make_provider(base_url=fake.closed_port()))
    assert (probe.note, probe.status) == (Note.UNREACHABLE, None)


def test_a_provider_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(probes, "READ_TIMEOUT_S", 0.05)
    with http.server.HTTPServer(("127.0.0.1", 0), None) as listening:  # accepts, never answers
        base_url = f"http://127.0.0.1:{listening.server_port}/v1"
        assert probe_provider(make_provider(base_url=base_url)).note == Note.UNREACHABLE


def test_a_list_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(probes, "MAX_BYTES", 1000)
    with server(models_answer({"id": "x" * 2000})) as (address, _):
        assert probe_provider(make_provider(base_url=address)).note == Note.ODD


def test_a_key_that_does_not_open_is_told():
    provider = make_provider()
    provider.api_key_sealed = b"x" * 40
    assert probe_provider(provider).note == Note.KEY_UNREADABLE


def test_what_was_found_is_kept_and_switches_nothing_off(fake):
    good, bad = make_provider(base_url=fake.base_url), make_provider(base_url=fake.closed_port())
    probes.refresh(Provider.objects.all())
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.probe_ok, good.probe_note) == (True, "answers")
    assert (bad.probe_ok, bad.probe_note) == (False, "unreachable")
    assert good.probed_at
    assert bad.probed_at
    assert bad.enabled


def test_a_probe_has_a_time_and_a_finding():
    for fields in ({"probe_ok": True}, {"probe_note": "answers"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            make_provider(**fields)


@pytest.fixture
def eager():
    """Tasks that are asked for run at once."""
    celery_app.conf.task_always_eager = True
    yield
    celery_app.conf.task_always_eager = False


def test_the_job_probes_each_provider_that_is_enabled(eager, fake, caplog):
    on = make_provider(base_url=fake.base_url)
    off = make_provider(base_url=fake.base_url, enabled=False)
    with caplog.at_level("INFO", "gateway.tasks"):
        tasks.probe_providers()
    on.refresh_from_db()
    off.refresh_from_db()
    assert (on.probe_ok, off.probe_ok) == (True, None)
    assert "probing 1 providers" in caplog.text
    assert f"provider {on.slug} answers (status 200" in caplog.text


def test_the_schedule_asks_for_the_job(settings):
    entry = settings.CELERY_BEAT_SCHEDULE["probe providers"]
    assert entry["task"] == tasks.probe_providers.name
    assert entry["schedule"] == settings.PROBE_INTERVAL_S == 300


def test_a_task_that_comes_late_expires(monkeypatch, settings):
    asked = []
    monkeypatch.setattr(tasks.probe_provider, "apply_async", lambda *args, **how: asked.append(how))
    make_provider()
    tasks.probe_providers()
    assert asked == [{"expires": settings.PROBE_INTERVAL_S}]


def test_a_provider_that_was_switched_off_meanwhile_is_left_alone(fake):
    off = make_provider(base_url=fake.base_url, enabled=False)
    tasks.probe_provider(off.id.hex)
    off.refresh_from_db()
    assert off.probe_ok is None


# --- A route -------------------------------------------------------------------------------------


@pytest.fixture
def route(fake):
    provider = make_provider("tested", base_url=fake.base_url)
    provider.set_api_key(SECRET)
    provider.save()
    return make_route("model-of-tests", provider=provider)


def outcome_of(monkeypatch, fake, route, steps) -> probes.RouteTest:
    monkeypatch.setattr(probes, "PROMPT", fake.script(steps))
    return probes.test_route(route)


def test_one_token_is_asked_for_whole_and_streamed(monkeypatch, fake, route):
    prompt = fake.script(GOOD)
    monkeypatch.setattr(probes, "PROMPT", prompt)
    outcome = probes.test_route(route)
    assert outcome.ok
    assert outcome.reports_usage
    assert "3 + 1 tokens" in str(outcome)
    whole, streamed = fake.calls(prompt)
    assert (whole.json["stream"], streamed.json["stream"]) == (False, True)
    assert streamed.json["stream_options"] == {"include_usage": True}
    for call in (whole, streamed):
        assert (call.json["model"], call.json["max_tokens"]) == (route.upstream_model, 1)
        assert call.headers["authorization"] == f"Bearer {SECRET}"


def test_what_the_provider_rejects_is_left_out(monkeypatch, fake, route):
    route.provider.unsupported = ["stream_options"]
    route.provider.wants_max_completion_tokens = True
    prompt = fake.script(GOOD)
    monkeypatch.setattr(probes, "PROMPT", prompt)
    assert probes.test_route(route).ok
    for call in fake.calls(prompt):
        assert "stream_options" not in call.json
        assert call.json["max_completion_tokens"] == 1


def test_an_answer_without_usage_is_told_and_is_no_failure(monkeypatch, fake, route):
    steps = either(stream("p", usage=None), answer("p", prompt_tokens=None))
    outcome = outcome_of(monkeypatch, fake, route, steps)
    assert outcome.ok
    assert not outcome.reports_usage
    assert str(outcome).count("answers without usage") == 2


def test_a_model_that_only_embeds_is_asked_for_a_vector(monkeypatch, fake, route):
    route.model.capabilities = ["embedding"]
    prompt = fake.script_attempts([vectors_answer(VECTORS[:1]), answer("p")])
    monkeypatch.setattr(probes, "PROMPT", prompt)
    outcome = probes.test_route(route)
    assert outcome.ok
    assert "7 + 0 tokens" in str(outcome)
    (call,) = fake.calls(prompt)
    assert call.path.endswith("/embeddings")
    assert probes.test_route(route).whole.problem.startswith("garbled")


def test_the_local_provider_and_its_model_pass(smollm):
    assert probe_provider(smollm.provider).ok
    outcome = probes.test_route(smollm)
    assert outcome.ok
    assert outcome.whole.usage.completion == outcome.streamed.usage.completion == 1


JSON = Head(200, {"content-type": "application/json"})
FAULTS = {
    "reset": ([Reset()], "broken"),
    "closed": (either([Head(), Close()], [JSON, Bytes(b"{"), Close()]), "broken"),
    "no HTTP": ([RawBytes(b"SMTP ready\r\n\r\n"), Close()], "broken"),
    "500": (error(500, LEAK), "faulty, status 500"),
    "401": (error(401, LEAK), "faulty, status 401"),
    "429": (error(429, LEAK), "overloaded, status 429"),
    "redirect": ([Head(307, {"location": "/", "content-length": "0"}), End()], "faulty"),
    "HTML": ([Head(200, {"content-type": "text/html"}), Bytes(b"<html>"), End()], "garbled"),
    "no answer": (either([Head(), End()], json_answer({"choices": []})), ""),
    "no chunk": (either([Head(), Bytes(b"data: {\n\n")], json_answer({"choices": [1]})), "garbled"),
    "error inside": (json_answer({"error": {"message": LEAK}}), "faulty"),
    "the wrong kind": (either(answer("p"), stream("p")), "garbled"),
}


@pytest.mark.parametrize(("steps", "told"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_without_the_providers_words(monkeypatch, fake, route, steps, told):
    outcome = outcome_of(monkeypatch, fake, route, steps)
    assert not outcome.ok
    for one in (outcome.whole, outcome.streamed):
        assert one.problem
        assert told in one.problem
    assert not LEAKED.search(str(outcome))


def test_only_words_about_the_request_itself_are_told_and_cleaned(monkeypatch, fake, route):
    outcome = outcome_of(monkeypatch, fake, route, error(400, f"No such field top_q. {LEAK}"))
    assert "declined, status 400: The provider declined the request: No such" in str(outcome)
    assert not LEAKED.search(str(outcome))


@pytest.mark.parametrize(
    "steps", [[Silence()], [Head(), Split(b": \n\n" * 999, every=4, gap_s=0.1)]]
)
def test_a_route_that_takes_too_long_is_given_up(monkeypatch, fake, route, steps):
    monkeypatch.setattr(probes, "TOKEN_TIMEOUT_S", 0.3)
    begun = time.monotonic()
    outcome = outcome_of(monkeypatch, fake, route, steps)
    assert outcome.whole.problem.startswith("silent")
    assert outcome.streamed.problem.startswith("silent")
    assert time.monotonic() - begun < 20  # By themselves they would end after 30 s and 100 s.


def test_a_route_that_cannot_be_reached(fake):
    assert probes.test_route(make_route(base_url=fake.closed_port())).whole.problem == "refused"


# --- The command ---------------------------------------------------------------------------------


def test_the_command_says_a_line_for_each_route_and_fails_if_one_does(fake, route, capsys):
    make_route("model-of-tests", provider=make_provider("closed", base_url=fake.closed_port()))
    with pytest.raises(SystemExit) as exit_code:
        call_command("test_route", "model-of-tests")
    assert exit_code.value.code == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("FAILED model-of-tests via closed: whole: refused (")
    assert second.startswith("ok model-of-tests via tested: whole: answers (")
    assert SECRET not in first + second


def test_the_command_tests_one_provider_alone_even_if_it_is_off(fake, route, capsys):
    Provider.objects.update(enabled=False)
    make_route("model-of-tests", provider=make_provider("closed", base_url=fake.closed_port()))
    call_command("test_route", "model-of-tests", provider="tested")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("ok model-of-tests via tested (switched off): ")


def test_the_command_knows_what_it_cannot_test(route):
    make_model("unreachable")
    for arguments in (["unreachable"], ["model-of-tests", "--provider", "nobody"]):
        with pytest.raises(CommandError, match="there is no route to"):
            call_command("test_route", *arguments)


# --- The admin -----------------------------------------------------------------------------------


@pytest.fixture
def operator(client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def act(client, rows: list, action: str) -> list[str]:
    """The messages after an action of the list on `rows`."""
    address = reverse(f"admin:gateway_{rows[0]._meta.model_name}_changelist")
    fields = {"action": action, "_selected_action": [row.pk for row in rows]}
    response = client.post(address, fields)
    assert response.status_code in (302, 403)
    return [f"{one.level_tag}: {one}" for one in get_messages(response.wsgi_request)]


def test_an_operator_tests_keys_and_addresses(operator, client, fake, route):
    closed = make_provider("closed", base_url=fake.closed_port())
    said = act(client, [route.provider, closed], "probe")
    assert any(one.startswith("success: tested answers (status 200, ") for one in said)
    assert any(one.startswith("error: closed can't be reached (") for one in said)
    assert Provider.objects.get(slug="closed").probe_ok is False
    assert LogEntry.objects.filter(change_message__startswith="Probed: ").count() == 2
    html = client.get(reverse("admin:gateway_provider_changelist")).content.decode()
    assert "can&#x27;t be reached" in html


def test_an_operator_asks_for_a_token(monkeypatch, operator, client, fake, route):
    good = "success: model-of-tests via tested: whole: answers ("
    assert act(client, [route], "ask_for_a_token")[0].startswith(good)
    monkeypatch.setattr(probes, "PROMPT", fake.script(error(401, f"{LEAK} {SECRET}")))
    said = act(client, [route], "ask_for_a_token")[-1]
    assert said.startswith("error: model-of-tests via tested: whole: faulty, status 401 (")
    logged = "".join(LogEntry.objects.values_list("change_message", flat=True))
    assert logged.count("Tested: ") == 2
    assert SECRET not in said + logged
    assert not LEAKED.search(said + logged)


def test_missing_usage_is_a_warning(monkeypatch, operator, client, fake, route):
    steps = either(stream("p", usage=None), answer("p", prompt_tokens=None))
    monkeypatch.setattr(probes, "PROMPT", fake.script(steps))
    assert act(client, [route], "ask_for_a_token")[0].startswith("warning: ")


def test_who_may_only_look_cannot_test(client, fake, route):
    client.force_login(make_user("viewer@example.org", is_staff=True))
    assert act(client, [route.provider], "probe") == []
    assert act(client, [route], "ask_for_a_token") == []
    route.provider.refresh_from_db()
    assert route.provider.probe_ok is None
