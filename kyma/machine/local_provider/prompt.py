"""The conversion of messages to tokens, in ChatML.

Only the marks around each turn are special tokens. Text is tokenised separately, as text, and then
joined with them: a user who writes ``<|im_end|>`` writes ten characters and doesn't end the turn.
"""

from kyma.machine.local_provider.engine import Engine
from kyma.machine.local_provider.errors import InvalidRequest

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_messages(body: dict) -> list[tuple[str, str]]:
    """Return the turns as (role, text). Without a system message, SmolLM's own one is added."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list with at least one message.", param="messages")
    turns = [_read_message(message, f"messages.{i}") for i, message in enumerate(messages)]
    if not any(role == "system" for role, _ in turns):
        turns.insert(0, ("system", DEFAULT_SYSTEM))
    return turns


def chat_tokens(engine: Engine, turns: list[tuple[str, str]]) -> list[int]:
    """Return the tokens of the prompt, up to the point where the assistant's answer begins."""
    tokens: list[int] = []
    newline = engine.tokenize("\n")
    for role, text in turns:
        # Tokenise role and text in one piece: a newline that begins the text must merge with the
        # newline after the role, as in the model's training data.
        tokens += engine.turn_start + engine.tokenize(f"{role}\n{text}")
        tokens += engine.turn_end + newline
    return tokens + engine.turn_start + engine.tokenize("assistant\n")


def _read_message(message: object, param: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    role = message.get("role")
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        raise InvalidRequest(
            "Tool calls are not supported by this model.", param=param, code="unsupported_value"
        )
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(
            f"{param}.role must be one of {', '.join(ROLES)}.", param=f"{param}.role"
        )
    return ROLES[role], _read_content(message.get("content"), f"{param}.content")


def _read_content(content: object, param: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise InvalidRequest(f"{param} must be a text or a list of parts.", param=param)
    return "".join(_read_part(part, f"{param}.{i}") for i, part in enumerate(content))


def _read_part(part: object, param: str) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise InvalidRequest(f"{param} must be an object with a type.", param=param)
    if part["type"] != "text":
        raise InvalidRequest(
            f"Content of type {part['type']!r} is not supported by this model; it reads text only.",
            param=param,
            code="unsupported_value",
        )
    if not isinstance(part.get("text"), str):
        raise InvalidRequest(f"{param}.text must be a text.", param=param)
    return part["text"]
