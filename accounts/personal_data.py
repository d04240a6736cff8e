"""The rows and fields of this app that say something about a person.

Each app has a module like this: plain data that imports nothing of `privacy`, which reads it.
A test demands that every model of ours is in one of the two dictionaries, and every field of a
model with personal data in one of its four groups:

PERSONAL_DATA, by model:
    person      how to find the rows of one person: a lookup from the row to accounts.User, or,
                where no foreign key can point there, to a column with the person's id.
                Where the row holds neither, it is a pair of a column and another registered
                model: the column holds the ids of that model's rows.
    identity    fields that name the person, or by which they prove who they are
    content     fields with text that the person wrote or got as an answer, sealed or not
    metadata    fields that say what the person did, when, how much and with which settings
    plain       links, row ids and flags that say nothing without the rest

NO_PERSONAL_DATA, by model: the reason why it has none.
"""

PERSONAL_DATA = {
    "accounts.User": {
        "person": "id",
        "identity": ["email", "password"],
        "content": [],
        "metadata": [
            "last_login",
            "created_at",
            "state",
            "is_active",
            "provider_choice",
            "session_epoch",
        ],
        "plain": ["id", "is_staff", "is_superuser"],
    },
    "accounts.User_groups": {
        "person": "user",
        "identity": [],
        "content": [],
        "metadata": ["group"],
        "plain": ["id", "user"],
    },
    "accounts.User_user_permissions": {
        "person": "user",
        "identity": [],
        "content": [],
        "metadata": ["permission"],
        "plain": ["id", "user"],
    },
    "accounts.ApiKey": {
        "person": "user",
        "identity": ["digest", "start", "end", "allowed_networks"],
        "content": ["name"],
        "metadata": [
            "retention_days",
            "allowed_models",
            "requests_per_minute",
            "is_management",
            "scopes",
            "created_at",
            "expires_at",
            "disabled_at",
            "revoked_at",
        ],
        "plain": ["id", "user"],
    },
    "accounts.Notice": {
        "person": "user",
        "identity": ["sealed"],
        "content": [],
        "metadata": ["template", "created_at", "claimed_at"],
        "plain": ["id", "user"],
    },
    # In the keyring's own database. Erasing this row makes all sealed content unreadable.
    "keyring.DataKey": {
        "person": "owner",
        "identity": ["owner", "sealed"],
        "content": [],
        "metadata": ["created_at"],
        "plain": [],
    },
}

NO_PERSONAL_DATA: dict[str, str] = {
    "accounts.DisposableDomain": "domains of throw-away mailboxes, of nobody in particular",
}

# The models of other packages that hold data of people here, described like our own. A third member
# of `person` names the column of the other model, where that isn't its id.
OTHERS_PERSONAL_DATA = {
    "account.EmailAddress": {
        "person": "user",
        "identity": ["email"],
        "content": [],
        "metadata": ["verified", "primary"],
        "plain": ["id", "user"],
    },
    # Stays empty, because codes and links are kept in sessions, or signed.
    "account.EmailConfirmation": {
        "person": "email_address__user",
        "identity": ["key"],
        "content": [],
        "metadata": ["created", "sent"],
        "plain": ["id", "email_address"],
    },
    "mfa.Authenticator": {
        "person": "user",
        "identity": ["data"],
        "content": [],
        "metadata": ["type", "created_at", "last_used_at"],
        "plain": ["id", "user"],
    },
    "usersessions.UserSession": {
        "person": "user",
        # `data` holds address and browser, sealed; allauth's columns for them are blanked.
        "identity": ["data", "ip", "user_agent", "session_key"],
        "content": [],
        "metadata": ["created_at", "last_seen_at"],
        "plain": ["id", "user"],
    },
    "sessions.Session": {
        "person": ("session_key", "usersessions.UserSession", "session_key"),
        "identity": ["session_key"],
        "content": ["session_data"],
        "metadata": ["expire_date"],
        "plain": [],
    },
    "admin.LogEntry": {
        "person": "user",
        "identity": [],
        "content": ["object_repr", "change_message"],
        "metadata": ["action_time", "action_flag", "content_type", "object_id"],
        "plain": ["id", "user"],
    },
}
