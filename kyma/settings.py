"""Every setting of Kyma. All come from the environment; each names its unit and default.

Without any variable Kyma runs on one machine with embedded parts and keeps its state below
`var/`. With KYMA_PRODUCTION=true nothing is made up: secrets and databases must be given.
`kyma/checks.py` reports contradictions.
"""

from pathlib import Path

import environ

from kyma import databases, inner_ports, own_secrets, schedule
from kyma.limited_connection import LimitedConnection
from kyma.rest_settings import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(env.str("KYMA_STATE_DIR", default=str(BASE_DIR / "var"))).resolve()
PRODUCTION = env.bool("KYMA_PRODUCTION", default=False)
DEBUG = env.bool("DEBUG", default=False)


def _secret(variable: str, file_name: str) -> str:
    """Return a secret from the environment; on one machine, from a file made at the first start."""
    value = env.str(variable, default="")
    return value if value or PRODUCTION else own_secrets.kept(STATE_DIR / file_name)


def _versioned_keys(variable: str, file_name: str) -> str:
    """Return keys as "version:base64", comma-separated. A key made here has version 1."""
    keys = _secret(variable, file_name)
    return keys if ":" in keys or not keys else f"1:{keys}"


SECRET_KEY = _secret("SECRET_KEY", "secret_key")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# Wrap the data keys and the providers' keys: "version:base64 of 32 bytes", comma-separated.
# The highest version seals; older ones still open.
MASTER_KEYS = _versioned_keys("KYMA_MASTER_KEYS", "master_key")
# Sign receipts (Ed25519): "version:base64 of a seed of 32 bytes", comma-separated. The highest
# version signs; the public keys of all are published.
RECEIPT_SIGNING_KEYS = _versioned_keys("RECEIPT_SIGNING_KEYS", "receipt_signing_key")
# Guards /metrics. In production there is no such page without it.
METRICS_TOKEN = _secret("METRICS_TOKEN", "metrics_token")

# Opens /mailbox where there is no mail server (accounts/mailbox.py).
MAILBOX_TOKEN = _secret("MAILBOX_TOKEN", "mailbox_token")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "accounts.apps.StaffAdminConfig",  # Django's admin, with a second factor for staff
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "djstripe",
    "kyma",
    "privacy",
    "chat",
    "gateway",
    "billing",
    "accounts",
    "accounts.keyring",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.signed_in.SignedInMiddleware",
    "kyma.pages.caching.PrivatePagesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "kyma.pages.time_zone.TimeZoneMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.suspension.SuspensionMiddleware",
    "accounts.password_pages.BusyMiddleware",
    "privacy.asking.ProviderChoiceMiddleware",
]

ROOT_URLCONF = "kyma.urls"
ASGI_APPLICATION = "kyma.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "kyma.pages.time_zone.time_zone",
                "accounts.mailbox.local_mailbox",
            ],
        },
    },
]

# --- Databases ---------------------------------------------------------------------------------

# How long to wait for Postgres: for one query of a web process, for one of a job, for one batch of
# group commit, and for a connection of the pool. Migrations and other commands have no limit.
DATABASE_TIMEOUT_S = env.float("DATABASE_TIMEOUT_S", default=2.0)
DATABASE_JOB_TIMEOUT_S = env.float("DATABASE_JOB_TIMEOUT_S", default=300.0)
COMMIT_TIMEOUT_S = env.float("COMMIT_TIMEOUT_S", default=5.0)
DATABASE_POOL_TIMEOUT_S = env.float("DATABASE_POOL_TIMEOUT_S", default=2.0)
# Readiness turns red when nothing was committed for so long although operations wait.
COMMIT_STALLED_AFTER_S = env.float("COMMIT_STALLED_AFTER_S", default=3.0)
_postgres_options = databases.postgres_options(
    LimitedConnection, env.int("DATABASE_POOL_SIZE", default=8), DATABASE_POOL_TIMEOUT_S
)


def _database(variable: str, file_name: str) -> dict:
    """Return one database: Postgres (or SQLite) by URL, or else a SQLite file below STATE_DIR."""
    url = env.str(variable, default="") or f"sqlite:///{STATE_DIR / file_name}"
    test_file = STATE_DIR / f"test-{file_name}"
    return databases.configured(env.db_url_config(url), _postgres_options, test_file=test_file)


DATABASES = {
    "default": _database("DATABASE_URL", "kyma.sqlite3"),
    "keyring": _database("KEYRING_DATABASE_URL", "keyring.sqlite3"),
}
DATABASE_ROUTERS = ["accounts.keyring.router.KeyringRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and jobs ----------------------------------------------------------------------------

EMBEDDED_REDIS = not env.str("REDIS_URL", default="")  # `manage.py up` starts it.
# Of what `manage.py up` starts: kyma/inner_ports.py.
_inner_ports = inner_ports.FIXED if PRODUCTION else inner_ports.remembered(STATE_DIR)
KYMA_REDIS_PORT = env.int("KYMA_REDIS_PORT", default=_inner_ports["redis"])
REDIS_URL = env.str("REDIS_URL", default="") or f"redis://127.0.0.1:{KYMA_REDIS_PORT}/0"
REDIS_TIMEOUT_S = env.float("REDIS_TIMEOUT_S", default=0.3)  # then limits are kept per process
WEB_PROCESSES = env.int("WEB_PROCESSES", default=1)  # that share the limits without Redis
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Otherwise a worker would wait for ever for a Redis that has gone without a word.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "socket_keepalive": True,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
HOLD_SWEEP_INTERVAL_S = env.float("HOLD_SWEEP_INTERVAL_S", default=20.0)
PROBE_INTERVAL_S = env.int("PROBE_INTERVAL_S", default=300)
ROLLUP_INTERVAL_S = env.int("ROLLUP_INTERVAL_S", default=300)
NOTICE_INTERVAL_S = env.int("NOTICE_INTERVAL_S", default=15)
CELERY_BEAT_SCHEDULE = schedule.jobs(
    sweep_s=HOLD_SWEEP_INTERVAL_S,
    probe_s=PROBE_INTERVAL_S,
    rollup_s=ROLLUP_INTERVAL_S,
    notice_s=NOTICE_INTERVAL_S,
)

# --- Cache -------------------------------------------------------------------------------------

# Holds the rate limits of pages. Without Redis each process keeps its own.
CACHES = {
    "default": {
        "BACKEND": "kyma.cache.RedisOrLocalCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "KEY_FUNCTION": "kyma.cache.digest_of",
        "OPTIONS": {
            "socket_timeout": REDIS_TIMEOUT_S,
            "socket_connect_timeout": REDIS_TIMEOUT_S,
        },
    }
}

# --- People ------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
PASSWORD_HASHERS = ["accounts.passwords.KymaArgon2PasswordHasher"]
# A hash takes 64 MiB and a core: so many at once in each process, and the others wait so long.
PASSWORD_HASHES_AT_ONCE = env.int("PASSWORD_HASHES_AT_ONCE", default=2)
PASSWORD_HASH_WAIT_S = env.float("PASSWORD_HASH_WAIT_S", default=2.0)
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "accounts.password_rules.CommonCoreValidator"},
]
SIGNUP_CREDIT_NANO = env.int("SIGNUP_CREDIT_NANO", default=500_000_000)  # nano-dollars: $0.50
# The gifts that one network (IPv4 /24, IPv6 /48) gets in 89 days, and one mail domain in one.
SIGNUP_GIFTS_PER_NETWORK = env.int("SIGNUP_GIFTS_PER_NETWORK", default=5)
SIGNUP_GIFTS_PER_DOMAIN_A_DAY = env.int("SIGNUP_GIFTS_PER_DOMAIN_A_DAY", default=3)
STAFF_MFA_REQUIRED = env.bool("STAFF_MFA_REQUIRED", default=PRODUCTION)  # to enter the admin

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "accounts.forms.SignupForm",
    "add_email": "accounts.forms.AddEmailForm",
    "change_email": "accounts.forms.ChangeEmailForm",
}
ACCOUNT_USER_DISPLAY = "accounts.adapter.display"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_FORMAT = {"numeric": True, "length": 6, "dashed": False}
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_CHANGE_EMAIL = True  # One address for each account: a new one replaces it.
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
# Browsers that the person has signed in with before have buckets of their own
# (accounts/known_browsers.py), so the limit on an address is asked for all others only.
ACCOUNT_RATE_LIMITS = {"login": None, "login_in_unknown_browser": "30/m/ip"}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if PRODUCTION else "http"
MFA_ADAPTER = "accounts.mfa.MfaAdapter"
MFA_FORMS = {"add_webauthn": "accounts.forms.AddPasskeyForm"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Kyma"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION  # http://localhost

SESSION_ENGINE = "accounts.sessions"
KNOWN_BROWSER_COOKIE_NAME = "known_browser"  # accounts/known_browsers.py
SESSION_COOKIE_AGE = 30 * 24 * 60 * 60  # seconds
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

# --- Mail --------------------------------------------------------------------------------------

# EMAIL_URL (smtp+tls://user:password@host:587), or EMAIL_HOST and the variables beside it. With
# neither, Kyma on one machine uses its own mailbox (accounts/mailbox.py), and production refuses
# sign-ups.
EMAIL_HOST = env.str("EMAIL_HOST", default="")
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_SSL = env.bool("EMAIL_USE_SSL", default=False)
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=not EMAIL_USE_SSL)
EMAIL_PORT = env.int("EMAIL_PORT", default=465 if EMAIL_USE_SSL else 587)
if env.str("EMAIL_URL", default=""):
    _email = env.email_url("EMAIL_URL")
    EMAIL_HOST, EMAIL_PORT = _email["EMAIL_HOST"], _email["EMAIL_PORT"] or 25
    EMAIL_HOST_USER = _email["EMAIL_HOST_USER"] or ""
    EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"] or ""
    EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
    EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=5)  # seconds
LOCAL_MAILBOX = not EMAIL_HOST and not PRODUCTION
EMAIL_BACKEND = (
    "accounts.mailbox.MailboxBackend"
    if LOCAL_MAILBOX
    else "django.core.mail.backends.smtp.EmailBackend"
)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Kyma <no-reply@kyma.local>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
OPERATOR_EMAIL = env.str("OPERATOR_EMAIL", default="")  # is warned of ageing evidence; empty: none

# --- Gateway -----------------------------------------------------------------------------------

UPSTREAM_CONNECT_TIMEOUT_S = env.float("UPSTREAM_CONNECT_TIMEOUT_S", default=3.0)
UPSTREAM_FIRST_BYTE_TIMEOUT_S = env.float("UPSTREAM_FIRST_BYTE_TIMEOUT_S", default=30.0)
UPSTREAM_ANSWER_TIMEOUT_S = env.float("UPSTREAM_ANSWER_TIMEOUT_S", default=300.0)  # non-stream
UPSTREAM_IDLE_TIMEOUT_S = env.float("UPSTREAM_IDLE_TIMEOUT_S", default=60.0)
REQUEST_TOTAL_TIMEOUT_S = env.float("REQUEST_TOTAL_TIMEOUT_S", default=600.0)
KEEP_ALIVE_INTERVAL_S = env.float("KEEP_ALIVE_INTERVAL_S", default=10.0)
DRAIN_AFTER_HANG_UP_S = env.float("DRAIN_AFTER_HANG_UP_S", default=30.0)
# Networks beside the public internet in which hosted providers may stand, over plain http too.
HOSTED_PROVIDER_NETWORKS = env.list("HOSTED_PROVIDER_NETWORKS", default=[])
HOLD_GRACE_S = env.float("HOLD_GRACE_S", default=60.0)  # after the total timeout
SETTLE_TIMEOUT_S = env.float("SETTLE_TIMEOUT_S", default=10.0)
ADMISSION_TIMEOUT_S = env.float("ADMISSION_TIMEOUT_S", default=2.0)
CACHE_TTL_S = env.float("CACHE_TTL_S", default=1.0)  # keys and catalogue, in each process
COMMIT_QUEUE_SIZE = env.int("COMMIT_QUEUE_SIZE", default=4096)
# The content that is stored for one account, by tier, and that waits in one process. Beyond it
# answers are given and charged without it.
CONTENT_MB_PER_DAY = env.list("CONTENT_MB_PER_DAY", int, [200, 400, 1000, 2000, 4000])
COMMIT_QUEUE_CONTENT_MB = env.int("COMMIT_QUEUE_CONTENT_MB", default=100)
DRAIN_NOTICE_S = env.float("DRAIN_NOTICE_S", default=0.5)  # readiness red, still accepting
DRAIN_TIMEOUT_S = env.float("DRAIN_TIMEOUT_S", default=120.0)
# Leases of web processes (gateway/commits/leases.py); the sweeper looks each HOLD_SWEEP_INTERVAL_S.
LEASE_BEAT_INTERVAL_S = env.float("LEASE_BEAT_INTERVAL_S", default=10.0)
LEASE_BEAT_TIMEOUT_S = env.float("LEASE_BEAT_TIMEOUT_S", default=5.0)  # to connect and to write
LEASE_LOOK_GAP_S = env.float("LEASE_LOOK_GAP_S", default=15.0)  # between looks that count
LEASE_FRESH_S = env.float("LEASE_FRESH_S", default=40.0)  # then it beats before it reserves
SWEEPER_SILENT_S = env.float("SWEEPER_SILENT_S", default=120.0)  # then /ready is degraded
# The number of the operator's own proxies in front of this process, each of which appends the
# address that it sees to X-Forwarded-For. With 0 the header is ignored; too many allows forgery.
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=0)
SHOWCASE_TTL_S = env.float("SHOWCASE_TTL_S", default=60.0)  # public figures, in each process
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT
LOCAL_PROVIDER_URL = env.str(
    "LOCAL_PROVIDER_URL", default=f"http://127.0.0.1:{_inner_ports['local_provider']}/v1"
)

# --- Deadlines and bounds of connections and bodies ----------------------------------------------

# kyma/connections/ and gateway/wire/pace.py: for everybody, and before Kyma knows the caller. An
# address is an IPv4 address or the /64 of an IPv6 address; behind trusted proxies its requests in
# progress are counted in place of connections.
HEAD_TIMEOUT_S = env.float("HEAD_TIMEOUT_S", default=10.0)  # for a complete head
KEEP_ALIVE_S = env.int("KEEP_ALIVE_S", default=75)  # between two requests
BODY_TIMEOUT_S = env.float("BODY_TIMEOUT_S", default=10.0)  # after it a body must keep its rate
BODY_BYTES_PER_S = env.int("BODY_BYTES_PER_S", default=10_000)
MAX_HEAD_BYTES = env.int("MAX_HEAD_BYTES", default=64_000)
MAX_HEADERS = env.int("MAX_HEADERS", default=100)
MAX_URL_BYTES = env.int("MAX_URL_BYTES", default=8_000)
CONNECTIONS_PER_ADDRESS = env.int("CONNECTIONS_PER_ADDRESS", default=100)  # without a valid key
UNKNOWN_KEYS_PER_MINUTE = env.int("UNKNOWN_KEYS_PER_MINUTE", default=60)  # of one address, at /v1
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=10_000_000)  # with a prompt or pictures
MAX_SMALL_BODY_BYTES = env.int("MAX_SMALL_BODY_BYTES", default=64_000)  # all others
MAX_IMPORT_BODY_BYTES = env.int("MAX_IMPORT_BODY_BYTES", default=25_000_000)  # when signed in
# Django writes no upload and no body to disk: the bounds above are smaller than its memory.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * max(MAX_BODY_BYTES, MAX_IMPORT_BODY_BYTES)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES  # A temporary chat sends its pictures each time.

# --- Chat --------------------------------------------------------------------------------------

CHAT_SEARCHES_PER_MINUTE = env.int("CHAT_SEARCHES_PER_MINUTE", default=20)  # pages and API together
CHAT_SEARCH_TIME_S = env.float("CHAT_SEARCH_TIME_S", default=2.0)  # then it can be gone on with
CHAT_BYTES_PER_PERSON = env.int("CHAT_BYTES_PER_PERSON", default=500_000_000)  # chat/quota.py
UNTRUSTED_WAIT_S = env.float("UNTRUSTED_WAIT_S", default=1.0)  # for highlighting a page's code

# --- The developers' API -------------------------------------------------------------------------

# For all keys and sessions of one person, for one key, and for one address without either.
API_REQUESTS_PER_MINUTE = {
    "person": env.int("API_REQUESTS_PER_MINUTE", default=300),
    "key": env.int("API_REQUESTS_PER_MINUTE_PER_KEY", default=120),
    "address": env.int("API_REQUESTS_PER_MINUTE_PER_ADDRESS", default=60),
}

# --- Stripe ------------------------------------------------------------------------------------

STRIPE_LIVE_MODE = env.bool("STRIPE_LIVE_MODE", default=False)
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

# --- Transport, static files, time -------------------------------------------------------------

SECURE_SSL_REDIRECT = PRODUCTION
SECURE_REDIRECT_EXEMPT = [r"^(health|ready)$"]  # A load balancer asks without TLS.
SECURE_HSTS_SECONDS = 63_072_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SESSION_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_SECURE = PRODUCTION
if PRODUCTION:  # Browsers accept these names only from this exact host, over TLS.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    KNOWN_BROWSER_COOKIE_NAME = "__Host-known_browser"
SECURE_REFERRER_POLICY = "same-origin"
# Everything comes from this host, and nothing is inline (P6). `data:` is for people's own images.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="WARNING")},
    "loggers": {
        name: {"level": "INFO"}
        for name in ("kyma", "privacy", "chat", "gateway", "billing", "accounts")
    }
    # Scanners ask for hosts that aren't here. That is no fault of ours and needs no traceback.
    | {"django.security.DisallowedHost": {"level": "CRITICAL"}},
}
