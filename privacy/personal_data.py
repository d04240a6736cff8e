"""The personal data in this app's tables; `accounts/personal_data.py` explains the format."""

PERSONAL_DATA = {
    "privacy.ProviderConsent": {
        "person": "user",
        "identity": [],
        "content": [],
        "metadata": ["created_at", "before", "after", "text_version"],
        "plain": ["id", "user"],
    },
}

NO_PERSONAL_DATA: dict[str, str] = {}
