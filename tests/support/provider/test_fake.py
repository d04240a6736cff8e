"""The fake provider keeps its word: who is answered by what, and what is recorded of it."""

import asyncio
import base64
import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import openai
import orjson
import pytest
import requests

from tests.support.provider.client import RawClient, ask, chat_body, events_of, raw_client
from tests.support.provider.fake import FakeProvider
from tests.support.provider.scripts import (
    Bytes,
    Close,
    End,
    Head,
    Pause,
    Reset,
    Silence,
    WaitFor,
    answer,
    either,
    error,
    stream,
    usage_of,
)

PROMPTLY_S = 5  # Of a script's silence, which would end after 30 s.
PLAIN = {"content-length": "2"}


@pytest.fixture(scope="module")
def fake():
    with FakeProvider() as server:
        yield server


# Default answers


def test_a_prompt_without_a_token_is_echoed_with_usage(fake):
    body = ask(fake, "hello world").json()

    assert body["model"] == "m"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "hello world"}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == usage_of(2, 4)


def test_a_streamed_echo_has_role_text_finish_usage_and_done(fake):
    *chunks, done = events_of(ask(fake, "hello world", stream=True).content)
    chunks = [orjson.loads(each) for each in chunks]

    assert done == b"[DONE]"
    assert len({each["id"] for each in chunks}) == 1
    deltas = [each["choices"][0]["delta"] for each in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta["content"] for delta in deltas[1:-1]) == "hello world"
    assert [each["choices"][0]["finish_reason"] for each in chunks[-3:-1]] == [None, "stop"]
    assert [each["usage"] for each in chunks[:-1]] == [None] * 6
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], usage_of(2, 4))


def test_the_echo_keeps_to_the_limit_of_tokens(fake):
    body = ask(fake, "hello world", max_tokens=2).json()

    assert body["choices"][0]["message"]["content"] == "hello"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_the_openai_client_understands_every_default_answer(fake):
    with openai.OpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as client:
        message = {"role": "user", "content": "hello world"}
        plain = client.chat.completions.create(model="m", messages=[message])
        streamed = client.chat.completions.create(model="m", messages=[message], stream=True)
        deltas = [each.choices[0].delta.content or "" for each in streamed if each.choices]
        vectors = client.embeddings.create(model="m", input=["a", "b"], dimensions=3)
        models = client.models.list()

    assert plain.choices[0].message.content == "".join(deltas) == "hello world"
    assert [item.embedding for item in vectors.data] == [[0.125] * 3] * 2
    assert [model.id for model in models.data] == ["fake-model"]


@pytest.mark.parametrize(("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2], 1), ([[1]], 1)])
def test_embeddings_have_a_vector_for_each_input(fake, given, count):
    url = f"{fake.base_url}/embeddings"
    body = {"model": "m", "input": given, "encoding_format": "base64"}
    data = requests.post(url, json=body, timeout=10).json()["data"]

    assert [item["index"] for item in data] == list(range(count))
    assert len(base64.b64decode(data[0]["embedding"])) == 8 * 4


def test_another_path_is_not_found(fake):
    assert requests.get(f"{fake.base_url}/nothing", timeout=10).status_code == 404


def test_a_body_that_is_no_json_is_refused(fake):
    url = f"{fake.base_url}/chat/completions"
    assert requests.post(url, data=b"{", timeout=10).status_code == 400


# Which script runs


def test_the_last_user_message_chooses_the_script(fake):
    old, new = fake.script(answer("old")), fake.script(answer("new"))
    parts = [{"type": "text", "text": "look: "}, {"type": "text", "text": f"{new}s"}]
    messages = [
        {"role": "user", "content": old},
        {"role": "user", "content": parts},
        {"role": "tool", "content": "42"},
    ]
    assert ask(fake, "", messages=messages).json()["choices"][0]["message"]["content"] == "new"
    assert (fake.count(old), fake.count(new)) == (0, 1)


def test_an_embedding_input_chooses_a_script_too(fake):
    token = fake.script(error(503))
    body = {"model": "m", "input": ["a", token]}
    assert requests.post(f"{fake.base_url}/embeddings", json=body, timeout=10).status_code == 503


def test_each_server_plays_its_own_script_of_a_prompt_that_names_two(fake):
    with FakeProvider() as second:
        prompt = f"{fake.script(error(500))} {second.script(answer('from the second'))}"
        assert ask(fake, prompt).status_code == 500
        assert "from the second" in ask(second, prompt).text
        assert ask(second, "script:0123456789abcdef").json()["usage"]


def test_later_requests_play_later_attempts_and_the_last_repeats(fake):
    token = fake.script_attempts([error(500), error(429), answer("at last")])
    assert [ask(fake, token).status_code for _ in range(4)] == [500, 429, 200, 200]


def test_the_stream_field_chooses_between_two_scripts(fake):
    token = fake.script(either(stream("streamed"), answer("plain")))
    assert "plain" in ask(fake, token).text
    assert "streamed" in ask(fake, token, stream=True).text


def test_scripts_that_run_at_once_do_not_mix(fake):
    tokens = {f"answer {n}": fake.script(stream(f"answer {n}")) for n in range(50)}

    def text_of(token):
        *chunks, _ = events_of(ask(fake, token, stream=True).content)
        chunks = [orjson.loads(each)["choices"] for each in chunks]
        return "".join(each[0]["delta"].get("content", "") for each in chunks if each)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text_of, tokens.values())) == list(tokens)


# Hang-ups


ENDLESS = [Head(), *[Bytes(b"x"), Pause(0.001)] * 30_000]
WAYS_TO_KEEP_A_CLIENT = {
    "silent before the head": [Silence(), End()],
    "silent in the body": [Head(), Bytes(b"x"), Silence(), End()],
    "waiting for a go": [Head(), WaitFor("never"), End()],
    "sending": ENDLESS,
}


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("steps", WAYS_TO_KEEP_A_CLIENT.values(), ids=WAYS_TO_KEEP_A_CLIENT)
def test_a_hang_up_is_noticed_promptly(fake, steps, leave):
    token = fake.script(steps)
    with raw_client(fake, token) as client:
        fake.wait_for_calls(token)
        left_at = time.monotonic()
        client.reset() if leave == "reset" else client.socket.close()
        call = fake.wait_for_hang_up(token)
    assert not call.finished
    assert left_at <= call.hung_up_at < left_at + PROMPTLY_S


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_hang_up_is_noticed_while_the_client_does_not_read(fake, leave):
    token = fake.script([Head(), *[Bytes(bytes(1_000_000))] * 50, End()])
    with raw_client(fake, token) as client:
        assert client.socket.recv(1)
        left_at = time.monotonic()
        client.reset() if leave == "reset" else client.socket.close()
        assert fake.wait_for_hang_up(token).hung_up_at < left_at + PROMPTLY_S


def test_a_client_that_leaves_after_done_has_not_hung_up(fake):
    for _ in range(50):
        token = fake.script(stream("hello"))
        with raw_client(fake, token) as client:
            while b"[DONE]" not in client.seen:
                client.read_some()
        assert fake.wait_for_finish(token).hung_up_at is None


def test_aiohttp_reuses_a_connection_and_its_cancelled_request_is_a_hang_up(fake):
    token = fake.script_attempts([stream("a"), answer("b"), [Head(), Bytes(b"c"), Silence()]])

    async def run():
        url = f"{fake.base_url}/chat/completions"
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(url, json=chat_body(token)) as response:
                    await response.read()
            async with session.post(url, json=chat_body(token)) as response:
                assert await response.content.readany() == b"c"
        return await asyncio.to_thread(fake.wait_for_hang_up, token)

    assert asyncio.run(run()) is fake.calls(token)[2]
    assert len({call.connection for call in fake.calls(token)}) == 1


def test_aiohttp_sees_a_reset_and_a_close(fake):
    async def read(token):
        async with aiohttp.ClientSession() as session:
            url = f"{fake.base_url}/chat/completions"
            async with session.post(url, json=chat_body(token)) as response:
                return await response.read()

    with pytest.raises(aiohttp.ClientPayloadError, match="Connection reset by peer"):
        asyncio.run(read(fake.script([Head(), Bytes(b"x"), Reset()])))
    with pytest.raises(aiohttp.ClientPayloadError, match="not completed") as closed:
        asyncio.run(read(fake.script([Head(), Bytes(b"x"), Close()])))
    assert "reset" not in str(closed.value)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        asyncio.run(read(fake.script([Close()])))


# Records


def test_a_call_keeps_what_was_asked(fake):
    token = fake.script(answer("x"))
    before = time.monotonic()
    url = f"{fake.base_url}/chat/completions?beta=true"
    requests.post(url, json=chat_body(token), headers={"Authorization": "Bearer s"}, timeout=10)
    call = fake.wait_for_finish(token)

    assert (call.method, call.path) == ("POST", "/v1/chat/completions?beta=true")
    assert call.headers["authorization"] == "Bearer s"
    assert orjson.loads(call.body) == call.json == chat_body(token)
    assert before < call.started_at < time.monotonic()
    assert (call.hung_up_at, call.failure) == (None, None)


def test_waiting_ends_when_the_nth_call_comes(fake):
    token = fake.script(answer("x"))
    threads = [threading.Thread(target=ask, args=(fake, token)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert len(fake.wait_for_calls(token, 3)) == 3
    for thread in threads:
        thread.join()


def test_waiting_in_vain_ends_at_the_deadline(fake):
    token = fake.script(answer("x"))
    for wait in (fake.wait_for_calls, fake.wait_for_finish, fake.wait_for_hang_up):
        with pytest.raises(TimeoutError, match=token):
            wait(token, timeout_s=0.001)


def test_only_the_last_calls_are_kept_but_all_are_counted(fake):
    token = fake.script(answer("x"), keep=2)
    for number in range(5):
        ask(fake, token, seed=number)
    assert fake.count(token) == 5
    assert [call.json["seed"] for call in fake.wait_for_calls(token, 5)] == [3, 4]


def test_a_server_without_records_only_counts():
    with FakeProvider(record=False) as quiet:
        token = quiet.script(answer("x"))
        ask(quiet, token)
        ask(quiet, "no script")
        assert (quiet.count(token), quiet.calls(token), quiet.default_count) == (1, [], 1)


def test_forgotten_scripts_are_unknown(fake):
    with FakeProvider() as own:
        token = own.script(error(500))
        own.forget_scripts()
        assert ask(own, token).status_code == 200


# Life


def test_a_refused_port_stays_refused(fake):
    url = fake.closed_port()
    with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        requests.get(f"{url}/models", timeout=10)


def test_stopping_ends_scripts_that_still_run_without_a_word(caplog, capfd):
    with FakeProvider() as server:
        token = server.script([Head(), Silence(), End()])
        clients = [RawClient(server) for _ in range(20)]
        for client, prompt in zip(clients, itertools.cycle([token, None]), strict=False):
            if prompt:
                client.send(prompt)
        server.wait_for_calls(token, 10)
    for client in clients:
        client.socket.close()
    assert not server._thread.is_alive()
    assert server.open_connections == 0
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_a_stopped_server_refuses_and_a_restarted_one_knows_its_scripts():
    with FakeProvider() as server:
        token = server.script(answer("still here"))
        server.stop()
        with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
            ask(server, token)
        server.start()
        assert "still here" in ask(server, token).text


def test_a_taken_port_is_an_error(fake):
    with pytest.raises(OSError, match="in use"), FakeProvider(port=fake.port):
        pass


@contextmanager
def process(*options):
    command = [sys.executable, "-m", "tests.support.provider.fake", "--port", "0", *options]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as running:
        try:
            yield running.stdout.readline().strip()
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=10) == 0


def test_as_a_process_it_paces_its_answers():
    url_and_body = {"json": chat_body("hello", stream=True), "timeout": 10}
    with process("--pieces", "7", "--interval", "0.01", "--think", "0.05") as base_url:
        url = f"{base_url}/chat/completions"
        began = time.monotonic()
        streamed = requests.post(url, **url_and_body)
        stream_s = time.monotonic() - began
        began = time.monotonic()
        plain = requests.post(url, json=chat_body("hello"), timeout=10)
        plain_s = time.monotonic() - began

    assert len(events_of(streamed.content)) == 1 + 7 + 1 + 1 + 1  # role, text, finish, usage, done
    assert stream_s >= 0.07
    assert plain.json()["choices"][0]["message"]["content"] == "hello.."
    assert plain_s >= 0.05


@pytest.mark.proof
def test_it_answers_3000_requests_a_second():
    """One client and one connection, so each request also waits for a round trip."""
    with process() as base_url:
        client = RawClient(type("Server", (), {"port": int(re.findall(r":(\d+)/", base_url)[0])}))
        began = time.monotonic()
        for _ in range(3000):
            client.send("hello")
            client.read_until(b"}}")
        assert time.monotonic() - began < 1.0
        client.socket.close()
