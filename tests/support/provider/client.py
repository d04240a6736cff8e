"""Clients that ask the fake provider: a plain one, and one that sees bytes."""

import socket
import struct
from contextlib import contextmanager

import orjson
import requests


def chat_body(prompt, **fields):
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}


def ask(fake, prompt, **fields):
    url = f"{fake.base_url}/chat/completions"
    return requests.post(url, json=chat_body(prompt, **fields), timeout=10)


def events_of(body):
    return [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]


class RawClient:
    """A client that sees bytes, not responses."""

    def __init__(self, fake):
        self.socket = socket.create_connection(("127.0.0.1", fake.port), timeout=10)
        self.seen = b""

    def send(self, prompt, **fields):
        body = orjson.dumps(chat_body(prompt, **fields))
        head = f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def read_until(self, end):
        while not self.seen.endswith(end):
            self.read_some()
        taken, self.seen = self.seen, b""
        return taken

    def read_to_close(self):
        while part := self.socket.recv(65536):
            self.seen += part
        return self.seen

    def read_some(self):
        part = self.socket.recv(65536)
        assert part, f"closed after {self.seen!r}"
        self.seen += part

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def raw_client(fake, prompt=None, **fields):
    client = RawClient(fake)
    try:
        if prompt:
            client.send(prompt, **fields)
        yield client
    finally:
        client.socket.close()
