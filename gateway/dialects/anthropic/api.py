"""Anthropic's Messages API in terms of chat completions: pure translation, without any I/O.

    chat_body       a request as a chat request
    message         a whole answer as a Message
    shows_thinking  true when a request wants the model's thoughts in the answer
    MessageStream   the chunks of an answer as the events of a stream
    count_tokens    the size of a prompt
    error_body      an error
    limit_headers   the rate limits as headers

wire.body.parse has read each request and a Meter has counted each answer, so both have the shape
of JSON.
"""

from gateway.dialects.anthropic.errors import error_body
from gateway.dialects.anthropic.limits import limit_headers
from gateway.dialects.anthropic.message import message, shows_thinking
from gateway.dialects.anthropic.request import chat_body, count_tokens
from gateway.dialects.anthropic.stream import MessageStream

__all__ = [
    "MessageStream",
    "chat_body",
    "count_tokens",
    "error_body",
    "limit_headers",
    "message",
    "shows_thinking",
]
