"""/v1 as HTTP: statuses, headers and the shape of errors, as any client or proxy meets them."""

import uuid

import openai
import pytest
import requests

from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import GET_PATHS, HELLO, error_of, send
from tests.support.gateway.wire_client import CHAT, Answer, WireClient
from tests.support.live import DEADLINE_S, data_of, eventually
from tests.support.provider.scripts import answer, stream

HELLO_BYTES = b'{"model":"scripted","messages":[{"role":"user","content":"Hello"}]}'


# Paths


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1//models",
        "/v1/models/",
        "/v1/chat/completions/",
        "/v1/credits/balance/",
        "/v1/generation/",
        "/v1/v1/chat/completions",
        "/v1/%E2%98%83/%00",
    ],
)
def test_a_wrong_path_is_told_the_base_url_and_never_redirected(customer, method, path):
    gateway = customer.gateway
    response = send(gateway, method, path, headers=customer.headers)
    assert response.status_code == 404
    error = error_of(response)
    assert (error["type"], error["code"]) == ("not_found_error", "unknown_url")
    assert error["metadata"] == {"error_type": "not_found"}
    assert f"OpenAI clients take the base URL {gateway.url}/v1, " in error["message"]


def test_who_forgets_v1_is_told_the_base_url(customer):
    url = customer.gateway.url
    with openai.OpenAI(base_url=url, api_key=customer.key_text, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match=f"take the base URL {url}/v1, "):
            client.chat.completions.create(model="scripted", messages=HELLO["messages"])
        with pytest.raises(openai.NotFoundError, match="/v1, "):
            client.embeddings.create(model="scripted", input="Hello")


def test_a_long_wrong_path_is_not_repeated_whole(gateway):
    error = error_of(send(gateway, "GET", "/v1/" + 5000 * "x"))
    assert len(error["message"]) < 300


def test_a_slash_at_the_end_of_a_model_id_is_another_model(customer):
    response = send(customer.gateway, "GET", "/v1/models/scripted/", headers=customer.headers)
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"


@pytest.mark.parametrize("slug", ["maker/with-slash", "maker%2Fwith-slash"])
def test_the_slash_in_a_model_id_may_be_escaped(customer, fake, slug):
    live_route("maker/with-slash", fake.base_url)
    response = customer.get(f"/v1/models/{slug}")
    assert response.json()["id"] == "maker/with-slash"


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [(CHAT, method, "POST") for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE")]
    + [(path, method, "GET, HEAD") for path in GET_PATHS for method in ("POST", "PUT", "DELETE")],
)
def test_a_wrong_method_is_told_the_right_ones(gateway, path, method, allowed):
    response = send(gateway, method, path)
    assert response.status_code == 405
    assert response.headers["Allow"] == allowed
    if method != "HEAD":
        error = error_of(response)
        assert error["code"] == "method_not_allowed"
        assert error["message"] == f"{method} doesn't work here: use {allowed}."


@pytest.mark.parametrize("path", GET_PATHS)
def test_head_says_what_get_would(customer, path):
    get = send(customer.gateway, "GET", path, headers=customer.headers)
    head = send(customer.gateway, "HEAD", path, headers=customer.headers)
    assert (head.status_code, head.content) == (get.status_code, b"")
    rate = {f"x-ratelimit-{what}-requests" for what in ("remaining", "reset")}
    varying = {"x-request-id", "openai-processing-ms", "date", *rate}
    told = [{k: v for k, v in each.headers.items() if k not in varying} for each in (get, head)]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "query",
    ["&".join(f"a{number}=1" for number in range(1000)), "id=%FF", "id=\u2603", "id=%00", "&&=&"],
)
def test_no_query_string_makes_it_stumble(customer, query):
    response = customer.get(f"/v1/generation?{query}")
    assert response.status_code == 400
    assert error_of(response)["param"] == "id"


def test_no_bytes_in_the_query_string_make_it_stumble(customer):
    lines = [b"GET /v1/generation?id=\xff\xfe HTTP/1.1", b"Host: localhost", b"Connection: close"]
    lines.append(f"Authorization: Bearer {customer.key_text}".encode())
    assert exchange(customer.gateway, b"\r\n".join([*lines, b"", b""])).status == 400


# Browsers


@pytest.mark.parametrize("path", [CHAT, *GET_PATHS, "/v1/nothing"])
def test_a_preflight_is_answered_without_a_key(gateway, path):
    asked = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
    }
    response = send(gateway, "OPTIONS", path, headers=asked)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Length" not in response.headers
    assert "Content-Type" not in response.headers
    assert response.headers["Access-Control-Allow-Headers"] == "*, Authorization"
    assert response.headers["Access-Control-Max-Age"] == "86400"
    methods = response.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"GET", "POST"} <= set(methods)
    check_open_to_all_origins(response)


def check_open_to_all_origins(response) -> None:
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Expose-Headers"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers


# Every response


def ask_whole(customer, fake):
    return customer.ask(fake.script(answer("Hello.")))


def ask_stream(customer, fake):
    return customer.ask(fake.script(stream("Hello.")), stream=True)


EVERY_KIND = {
    "whole": (ask_whole, 200),
    "stream": (ask_stream, 200),
    "list": (lambda customer, fake: customer.get("/v1/models"), 200),
    "wrong body": (lambda customer, fake: customer.post([]), 400),
    "no key": (lambda customer, fake: send(customer.gateway, "GET", "/v1/models"), 401),
    "wrong path": (lambda customer, fake: customer.get("/v1/nothing"), 404),
    "wrong method": (lambda customer, fake: customer.get(CHAT), 405),
    "head": (lambda customer, fake: send(customer.gateway, "HEAD", "/v1/models"), 401),
    "preflight": (lambda customer, fake: send(customer.gateway, "OPTIONS", CHAT), 204),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_response_has_an_id_and_no_more_than_it_needs(customer, fake, kind):
    ask, status = EVERY_KIND[kind]
    response = ask(customer, fake)
    assert response.status_code == status
    assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]
    assert 0 <= int(response.headers["openai-processing-ms"]) < 60_000
    check_open_to_all_origins(response)
    for header in ("Server", "X-Powered-By", "Set-Cookie", "Vary", "Location", "Content-Encoding"):
        assert header not in response.headers
    response.close()


def test_two_requests_never_share_an_id(customer):
    ids = {customer.get("/v1/models").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_a_whole_answer_says_its_length(customer, fake):
    response = customer.ask(fake.script(answer("Grüße ☃")))
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert "Transfer-Encoding" not in response.headers
    assert response.json()["choices"][0]["message"]["content"] == "Grüße ☃"


def test_a_stream_is_neither_kept_nor_held_back_nor_compressed(customer, fake):
    response = customer.post(
        HELLO | {"stream": True, "messages": [{"role": "user", "content": "Hello there"}]},
        stream=True,
    )
    assert response.request.headers["Accept-Encoding"].startswith("gzip")
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in response.headers
    assert data_of(response)[-1] == "[DONE]"


def test_a_stream_says_how_its_text_is_written(customer, fake):
    response = customer.ask(fake.script(stream("Grüße ☃")), stream=True)
    lines = list(response.iter_lines(decode_unicode=True))  # It takes Latin-1 unless it's told.
    assert any("☃" in line for line in lines)


# Connections


def exchange(gateway, sent: bytes) -> Answer:
    with WireClient(gateway.port) as client:
        client.send(sent)
        return client.read_to_the_end()


def request_bytes(customer, *, version: str = "1.1", connection: str | None = None) -> bytes:
    lines = [
        f"POST {CHAT} HTTP/{version}",
        "Host: localhost",
        f"Authorization: Bearer {customer.key_text}",
        f"Content-Length: {len(HELLO_BYTES)}",
    ]
    if connection:
        lines.append(f"Connection: {connection}")
    return "\r\n".join([*lines, "", ""]).encode() + HELLO_BYTES


def test_a_client_of_http_1_0_gets_its_answer_and_the_end(customer):
    got = exchange(customer.gateway, request_bytes(customer, version="1.0"))
    assert got.status == 200
    assert got.is_whole
    assert got.headers["connection"] == "close"
    assert "transfer-encoding" not in got.headers
    assert got.cost_nano == customer.settled_request().cost_nano


def connections_and_requests(session: requests.Session) -> tuple[int, int]:
    pools = session.get_adapter("http://").poolmanager.pools
    (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118 - it is no dictionary
    return pool.num_connections, pool.num_requests


def test_one_connection_serves_one_request_after_the_other(customer):
    with requests.Session() as session:
        session.headers.update(customer.headers)
        url = customer.gateway.url + CHAT
        for body in (HELLO, {}, HELLO | {"stream": True}, HELLO):
            session.post(url, json=body, timeout=DEADLINE_S)
        session.get(f"{customer.gateway.url}/v1/nothing", timeout=DEADLINE_S)
        session.options(url, timeout=DEADLINE_S)
        session.post(url, json=HELLO, timeout=DEADLINE_S)
        assert connections_and_requests(session) == (1, 7)
    rows = eventually(customer.requests, lambda rows: len(rows) == 5)
    assert [row.status for row in rows] == [200, 400, 200, 200, 200]


def test_a_refusal_before_the_body_was_read_keeps_the_connection(customer):
    with requests.Session() as session:
        url = customer.gateway.url + CHAT
        body = b" " * 3_000_000
        refused = session.post(url, data=body, timeout=DEADLINE_S)
        answered = session.post(url, json=HELLO, headers=customer.headers, timeout=DEADLINE_S)
        assert connections_and_requests(session) == (1, 2)
    assert (refused.status_code, answered.status_code) == (401, 200)


def test_requests_sent_at_once_are_answered_in_their_order(customer):
    both = request_bytes(customer) + request_bytes(customer, connection="close")
    with WireClient(customer.gateway.port) as client:
        client.send(both)
        client.read_to_the_end()
        received = client.received
    second = received.rindex(b"HTTP/1.1 200 OK\r\n")
    answers = [Answer.of(received[:second]), Answer.of(received[second:])]
    assert [(each.status, each.is_whole) for each in answers] == [(200, True), (200, True)]
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [each.request_id for each in answers] == [str(row.id) for row in rows]
    assert len(customer.usage_entries()) == 2


def test_a_client_that_asks_first_is_told_to_go_on(customer):
    head, _, body = request_bytes(customer, connection="close").partition(b"\r\n\r\n")
    with WireClient(customer.gateway.port) as client:
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        client.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.received = b""
        client.send(body)
        assert client.read_to_the_end().is_whole


def test_a_client_that_asks_first_need_not_send_what_is_refused(customer):
    with WireClient(customer.gateway.port) as client:
        headers = {**customer.headers, "Content-Length": "10000001", "Expect": "100-continue"}
        client.send_head(headers)
        assert client.read_to_the_end().status == 413


def test_what_is_no_http_is_refused_without_a_fault(gateway):
    before = gateway.log.read_text()
    assert exchange(gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").status == 400
    assert "Traceback" not in gateway.log.read_text().removeprefix(before)
