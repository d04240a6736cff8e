"""The personal data in the chat; `accounts/personal_data.py` explains the form."""

PERSONAL_DATA = {
    "chat.Import": {
        "person": "user",
        "identity": [],
        "content": [],
        "metadata": ["bytes", "created_at"],
        "plain": ["id", "user"],
    },
    "chat.Conversation": {
        "person": "user",
        "identity": [],
        "content": ["title", "system_prompt"],
        "metadata": [
            "model",
            "parameters",
            "pinned_at",
            "archived_at",
            "created_at",
            "updated_at",
        ],
        "plain": ["id", "user", "leaf", "part_of"],
    },
    "chat.Message": {
        "person": "conversation__user",
        "identity": [],
        "content": ["text", "reasoning", "images", "error_text"],
        "metadata": [
            "role",
            "state",
            "model",
            "provider",
            "prompt_tokens",
            "completion_tokens",
            "estimated",
            "cost_nano",
            "error",
            "stop_requested_at",
            "created_at",
            "updated_at",
        ],
        "plain": ["id", "conversation", "parent", "request_id"],
    },
}

NO_PERSONAL_DATA: dict[str, str] = {}
