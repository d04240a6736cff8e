"""The errors of this provider, in the format of OpenAI's API.

ApiError
├── InvalidRequest           400, the caller can fix the request
│   └── ContextLengthExceeded    400, code context_length_exceeded
├── ModelNotFound            404
└── Abandoned                503, the answer was given up: client gone, or shutting down
"""


class ApiError(Exception):
    status = 500
    type = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict:
        return error_body(self.message, type=self.type, param=self.param, code=self.code)


class InvalidRequest(ApiError):
    status = 400
    type = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    def __init__(self, *, tokens: int, limit: int, param: str):
        super().__init__(
            f"This model's maximum context length is {limit} tokens and one of them must be left "
            f"for an answer, but the input has {tokens} tokens.",
            param=param,
            code="context_length_exceeded",
        )


class ModelNotFound(ApiError):
    status = 404
    type = "invalid_request_error"

    def __init__(self, model: str):
        super().__init__(
            f"The model {model!r} does not exist here.", param="model", code="model_not_found"
        )


class Abandoned(ApiError):
    status = 503

    def __init__(self):
        super().__init__("The answer was given up before it was complete.")


def error_body(message: str, *, type: str, param: str | None, code: str | None) -> dict:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}
