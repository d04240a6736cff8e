"""The errors of the chat: `str(error)` is for the person, `error.code` for programs.

ChatError
├── NotAllowed          the rules don't allow it: too long, no image, a number out of range
│   ├── Deleted         the conversation was deleted after it was looked up
│   ├── StillAnswering  another reply is being written: a conversation has one at a time
│   ├── NoCredit        the account has no credit left
│   ├── NoConsent       the account allows no provider of the model
│   ├── NoVision        the message has images, and the model can't see images
│   ├── ChatsFull       the person has stored as much as they may
│   └── ImportRefused   the file is no conversation, or too large
│       └── ImportBusy  this process is importing another file
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


class NoConsent(NotAllowed):
    code = "no_route"  # as at /v1


class NoVision(NotAllowed):
    code = "no_vision"


class ChatsFull(NotAllowed):
    code = "chats_full"


class ImportRefused(NotAllowed):
    code = "import_refused"


class ImportBusy(ImportRefused):
    code = "import_busy"
