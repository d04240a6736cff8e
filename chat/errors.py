"""What the chat refuses. `str(error)` tells the person why, `error.code` the program.

ChatError
├── NotAllowed          it isn't what the rules take: too long, no image, a number out of range
│   ├── Deleted         the conversation is gone since it was looked up
│   ├── StillAnswering  a reply is being written: one at a time in a conversation
│   ├── NoCredit        there is none left
│   ├── NoVision        images for a model that sees none
│   ├── ChatsFull       so much is stored already that nothing more is
│   └── ImportRefused   a file that is no conversation, or too large
"""


class ChatError(Exception):
    code = "chat_error"


class NotAllowed(ChatError):
    code = "not_allowed"


class Deleted(NotAllowed):
    code = "deleted"


class StillAnswering(NotAllowed):
    code = "still_answering"


class NoCredit(NotAllowed):
    code = "insufficient_credits"


class NoVision(NotAllowed):
    code = "no_vision"


class ChatsFull(NotAllowed):
    code = "chats_full"


class ImportRefused(NotAllowed):
    code = "import_refused"
