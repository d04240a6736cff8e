"""Chat messages in the order that strict chat templates demand.

Rules (system and developer messages) come first and in one message, tool results directly follow
their calls, and no two user messages stand in a row. Templates refuse any other order: "System
message must be at the beginning" (Qwen), "Conversation roles must alternate" (Gemma). A rule always
gets the role system, because some templates don't know developer messages and silently skip them.
"""

_RULES = frozenset({"system", "developer"})


def in_turns(messages: list[dict]) -> list[dict]:
    """Return the messages in that order, and change none of them in place.

    A rule after the beginning becomes part of a user message where it stands. Moving it to the
    beginning would change the prompt from there on, and no prompt cache would match any more.
    """
    turns: list[list[dict]] = []
    for message in messages:
        begins = not turns or (len(turns) == 1 and turns[0][0]["role"] in _RULES)
        if message["role"] in _RULES and not begins:
            message = {"role": "user", "content": _reminder(message["content"])}
        last = turns[-1] if turns else None
        if last and _belong_together(last[-1], message):
            last.append(message)
        elif last and message["role"] == "tool" and last[-1]["role"] == "user":
            turns.insert(-1, [message])
        else:
            turns.append([message])
    return [_one_of(turn) for turn in turns]


def _belong_together(last: dict, message: dict) -> bool:
    if message["role"] == "user":
        return last["role"] == "user"
    return message["role"] in _RULES and last["role"] in _RULES


def _one_of(turn: list[dict]) -> dict:
    role = "system" if turn[0]["role"] in _RULES else turn[0]["role"]
    if len(turn) == 1:
        return {**turn[0], "role": role}
    return {"role": role, "content": _joined([message["content"] for message in turn])}


def _reminder(content: str | list[dict]) -> str | list[dict]:
    if isinstance(content, str):
        return _in_tags(content)
    return [
        {**part, "text": _in_tags(part["text"])} if part["type"] == "text" else part
        for part in content
    ]


def _in_tags(rule: str) -> str:
    """Wrap a rule in the tags that agents use for their own reminders in user messages."""
    return f"<system-reminder>\n{rule}\n</system-reminder>"


def _joined(contents: list[str | list[dict]]) -> str | list[dict]:
    """Join texts into one text, which all templates know, and parts into one list of parts."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [part for content in contents for part in _parts(content)]


def _parts(content: str | list[dict]) -> list[dict]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
