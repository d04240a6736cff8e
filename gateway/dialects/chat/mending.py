"""A provider's answer, mended where it arrives: plain texts, and tool calls as OpenAI writes them.

Some providers send content in parts. Some give each call the same index, or none; repeat id and
name in every fragment; leave out ids and types; or write arguments as an object. Sound members
stay as they came. Every API reads the mended answer.
"""

from dataclasses import dataclass, field

import orjson

from gateway.dialects.chat.answer import (
    finish_meaning,
    index_of,
    make_plain,
    name_and_arguments,
    thought_in,
)

# The last characters of an answer's id that go into ids made for its calls. Some providers refuse
# ids of more than 40 characters when a call is sent back.
_TAIL = 24


class _Ids:
    """The ids of the calls in one choice. Each call gets one, and no two calls the same."""

    def __init__(self, answer_id: str, owner: int):
        self._stem = f"call_{answer_id.removeprefix('chatcmpl-')[-_TAIL:]}_{owner}"
        self._taken: set[str] = set()

    def of(self, call: dict) -> str:
        """Return the provider's id of the call, or a new one if that is missing or taken."""
        own = _given_id(call)
        if not own or own in self._taken:
            own = f"{self._stem}_{len(self._taken)}"
        self._taken.add(own)
        return own


def _given_id(call: dict) -> str:
    return call["id"] if type(call.get("id")) is str else ""


def _complete(call: dict, ids: _Ids, name: str, arguments: str) -> None:
    """Add the members that a whole call, or the first fragment of a call, must have."""
    if (own := ids.of(call)) != call.get("id"):
        call["id"] = own
    if call.get("type") != "function":
        call["type"] = "function"
    if type(call.get("function")) is not dict:
        call["function"] = {}
    function = call["function"]
    if function.get("name") != name:
        function["name"] = name
    if function.get("arguments") != arguments:
        function["arguments"] = arguments


def mend_whole(answer: dict) -> None:
    """Mend a whole answer in place."""
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        make_plain(message)
        if not message.get("reasoning") and (
            thought := thought_in(message.get("reasoning_details"))
        ):
            message["reasoning"] = thought
        if message.get("tool_calls"):
            _mend_calls(message["tool_calls"], choice, answer["id"])


def _mend_calls(calls: list[dict], choice: dict, answer_id: str) -> None:
    ids = _Ids(answer_id, index_of(choice))
    nothing = "" if _is_cut_off(choice) else "{}"
    for call in calls:
        name, arguments = name_and_arguments(call)
        _complete(call, ids, name, arguments if arguments.strip() else nothing)


def _is_cut_off(choice: dict) -> bool:
    """True when the answer may lack its end. Then a call may lack arguments that were to come."""
    return finish_meaning(choice.get("finish_reason")) in ("length", "content_filter")


@dataclass(slots=True)
class _Call:
    index: int
    given_id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    def is_followed_by(self, given: str, name: str, arguments: str) -> bool:
        """True when a fragment with this call's index or id begins another call."""
        if not name:
            return False
        if given and self.given_id and given != self.given_id:
            return True
        if name != self.name:  # A name may come in pieces, but it comes before the arguments.
            return bool(self.name and self.pieces)
        return not given and arguments.lstrip().startswith("{") and self._is_whole()

    def _is_whole(self) -> bool:
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            orjson.loads("".join(self.pieces))
        except orjson.JSONDecodeError:
            return False
        return True


class Mender:
    """Mends the chunks of one streamed answer. The calls of each choice get indexes from 0 on."""

    def __init__(self, answer_id: str):
        self._answer_id = answer_id
        self._choices: dict[int, _Fragments] = {}

    def mend(self, chunk: dict) -> None:
        for choice in chunk["choices"]:
            if delta := choice.get("delta"):
                make_plain(delta)
                if calls := delta.get("tool_calls"):
                    self._mend_calls(index_of(choice), calls)
            if self._choices and choice.get("finish_reason") and not _is_cut_off(choice):
                self._end(choice)

    def _mend_calls(self, owner: int, calls: list[dict]) -> None:
        if owner not in self._choices:
            self._choices[owner] = _Fragments(_Ids(self._answer_id, owner))
        for fragment in calls:
            self._choices[owner].mend(fragment)

    def _end(self, choice: dict) -> None:
        fragments = self._choices.get(index_of(choice))
        if fragments and (missing := fragments.missing()):
            delta = choice.get("delta") or {}
            calls = [*(delta.get("tool_calls") or ()), *missing]
            choice["delta"] = {**delta, "tool_calls": calls}


class _Fragments:
    """The fragments of the calls in one choice."""

    def __init__(self, ids: _Ids):
        self._ids = ids
        self._calls: list[_Call] = []
        self._known: dict[int | str, _Call] = {}  # by the provider's index, or the id without one

    def mend(self, fragment: dict) -> None:
        name, arguments = name_and_arguments(fragment)
        given, index = _given_id(fragment), fragment.get("index")
        place = index if type(index) is int else given
        call = self._known.get(place)
        if call is None and place is given and self._calls:
            call = self._calls[-1]
        if call is None or call.is_followed_by(given, name, arguments):
            call = self._begin(place, given, name)
            _complete(fragment, self._ids, name, arguments)
        else:
            _continue(call, fragment, given, name, arguments)
        if arguments:
            call.pieces.append(arguments)
        if type(index) is not int or index != call.index:
            fragment["index"] = call.index

    def missing(self) -> list[dict]:
        """Return `{}` as the arguments of each call without any, since clients parse them."""
        calls = [call for call in self._calls if not "".join(call.pieces).strip()]
        for call in calls:
            call.pieces.append("{}")
        return [{"index": call.index, "function": {"arguments": "{}"}} for call in calls]

    def _begin(self, place: int | str, given: str, name: str) -> _Call:
        call = _Call(len(self._calls), given, name)
        self._calls.append(call)
        if place != "":
            self._known[place] = call
        return call


def _continue(call: _Call, fragment: dict, given: str, name: str, arguments: str) -> None:
    """Remove id and name from a later fragment if the call's first fragment had them."""
    if fragment.get("id"):
        call.given_id = call.given_id or given
        del fragment["id"]
        fragment.pop("type", None)
    if name and name == call.name:
        del fragment["function"]["name"]
    else:
        call.name += name
    function = fragment.get("function")
    if function and type(function.get("arguments")) not in (str, type(None)):
        function["arguments"] = arguments
