"""What the chat refuses. `str(error)` tells the person why, `error.code` the program.

ChatError
├── NotAllowed          it isn't what the rules take: too long, no image, a number out of range
│   ├── StillAnswering  a reply is being written: one at a time in a conversation
│   ├── NoVision        images for a model that sees none
│   └── ImportRefused   a file that is no conversation, or too large
"""


class ChatError(Exception):
    code = "chat_error"


class NotAllowed(ChatError):
    code = "not_allowed"


class StillAnswering(NotAllowed):
    code = "still_answering"


class NoVision(NotAllowed):
    code = "no_vision"


class ImportRefused(NotAllowed):
    code = "import_refused"
