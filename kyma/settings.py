"""Every setting of Kyma. All come from the environment; each names its unit and default.

Without any variable Kyma runs on one machine with embedded parts and keeps its state below
`var/`. With KYMA_PRODUCTION=true nothing is made up: secrets and databases must be given.
Contradictions fail in `kyma/checks.py`.
"""

import base64
import os
import secrets
from pathlib import Path

import environ

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(env.str("KYMA_STATE_DIR", default=str(BASE_DIR / "var"))).resolve()
PRODUCTION = env.bool("KYMA_PRODUCTION", default=False)
DEBUG = env.bool("DEBUG", default=False)


def _secret(variable: str, file_name: str) -> str:
    """A secret from the environment; on one machine, from a file made at the first start."""
    value = env.str(variable, default="")
    if value or PRODUCTION:
        return value
    path = STATE_DIR / file_name
    if not path.exists():
        STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        try:
            os.link(draft, path)  # Fails if another process was first: then its secret counts.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def _versioned_keys(variable: str, file_name: str) -> str:
    """Keys as "version:base64", comma-separated; the one that was made here has version 1."""
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
# Guards /metrics; without it, in production, there is no such page.
METRICS_TOKEN = _secret("METRICS_TOKEN", "metrics_token")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
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
    # Every page is for who is signed in, unless its view says `login_not_required`.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "kyma.time_zone.TimeZoneMiddleware",
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
                "kyma.time_zone.time_zone",
            ],
        },
    },
]

# --- Databases ---------------------------------------------------------------------------------

SQLITE_OPTIONS = {
    # IMMEDIATE, or concurrent writers get "database is locked"; FULL survives a power loss.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": ("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON"),
}
POSTGRES_OPTIONS = {
    # Else a failed INSERT writes the user's text into the server's log.
    "server_side_binding": True,
    "prepare_threshold": None,
    "pool": {"min_size": 0, "max_size": env.int("DATABASE_POOL_SIZE", default=8), "timeout": 5},
}


def _database(variable: str, file_name: str) -> dict:
    """One database: Postgres (or SQLite) by URL, else a SQLite file below STATE_DIR."""
    url = env.str(variable, default="") or f"sqlite:///{STATE_DIR / file_name}"
    config = env.db_url_config(url)
    is_sqlite = config["ENGINE"].endswith("sqlite3")
    options = SQLITE_OPTIONS if is_sqlite else POSTGRES_OPTIONS
    config["OPTIONS"] = {**options, **config.get("OPTIONS", {})}
    config["CONN_MAX_AGE"] = 0  # Above zero leaks connections under ASGI.
    config["DISABLE_SERVER_SIDE_CURSORS"] = True  # A transaction pooler may stand between.
    # Threads and other processes use the test database too, so it is a file.
    config["TEST"] = {"NAME": str(STATE_DIR / f"test-{file_name}")} if is_sqlite else {}
    return config


DATABASES = {
    "default": _database("DATABASE_URL", "kyma.sqlite3"),
    "keyring": _database("KEYRING_DATABASE_URL", "keyring.sqlite3"),
}
DATABASE_ROUTERS = ["accounts.keyring.router.KeyringRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and jobs ----------------------------------------------------------------------------

EMBEDDED_REDIS = not env.str("REDIS_URL", default="")  # `manage.py up` starts it.
KYMA_REDIS_PORT = env.int("KYMA_REDIS_PORT", default=8793)  # of the embedded one
REDIS_URL = env.str("REDIS_URL", default="") or f"redis://127.0.0.1:{KYMA_REDIS_PORT}/0"
REDIS_TIMEOUT_S = env.float("REDIS_TIMEOUT_S", default=0.5)  # then limits are kept per process
WEB_PROCESSES = env.int("WEB_PROCESSES", default=1)  # how many share the limits without Redis
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
HOLD_SWEEP_INTERVAL_S = env.int("HOLD_SWEEP_INTERVAL_S", default=30)
PROBE_INTERVAL_S = env.int("PROBE_INTERVAL_S", default=300)
ROLLUP_INTERVAL_S = env.int("ROLLUP_INTERVAL_S", default=300)
CELERY_BEAT_SCHEDULE = {
    "sweep expired holds": {
        "task": "gateway.tasks.sweep_holds",
        "schedule": HOLD_SWEEP_INTERVAL_S,
    },
    "make content partitions": {
        "task": "gateway.tasks.make_partitions",
        "schedule": 24 * 60 * 60,
    },
    "probe providers": {
        "task": "gateway.tasks.probe_providers",
        "schedule": PROBE_INTERVAL_S,
        "options": {"expires": PROBE_INTERVAL_S},
    },
    "purge content": {
        "task": "gateway.tasks.purge_content",
        "schedule": 60 * 60,
    },
    "fold usage": {
        "task": "gateway.tasks.fold_usage",
        "schedule": ROLLUP_INTERVAL_S,
        "options": {"expires": ROLLUP_INTERVAL_S},
    },
    "fold late usage": {
        "task": "gateway.tasks.fold_late_usage",
        "schedule": 60 * 60,
    },
}

# --- People ------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SIGNUP_CREDIT_NANO = env.int("SIGNUP_CREDIT_NANO", default=500_000_000)  # nano-dollars: $0.50

# --- Gateway -----------------------------------------------------------------------------------

UPSTREAM_CONNECT_TIMEOUT_S = env.float("UPSTREAM_CONNECT_TIMEOUT_S", default=3.0)
UPSTREAM_FIRST_BYTE_TIMEOUT_S = env.float("UPSTREAM_FIRST_BYTE_TIMEOUT_S", default=30.0)
UPSTREAM_ANSWER_TIMEOUT_S = env.float("UPSTREAM_ANSWER_TIMEOUT_S", default=300.0)  # non-stream
UPSTREAM_IDLE_TIMEOUT_S = env.float("UPSTREAM_IDLE_TIMEOUT_S", default=60.0)
REQUEST_TOTAL_TIMEOUT_S = env.float("REQUEST_TOTAL_TIMEOUT_S", default=600.0)
KEEP_ALIVE_INTERVAL_S = env.float("KEEP_ALIVE_INTERVAL_S", default=10.0)
DRAIN_AFTER_HANG_UP_S = env.float("DRAIN_AFTER_HANG_UP_S", default=30.0)
HOLD_GRACE_S = env.float("HOLD_GRACE_S", default=60.0)  # after the total timeout
SETTLE_TIMEOUT_S = env.float("SETTLE_TIMEOUT_S", default=10.0)
ADMISSION_TIMEOUT_S = env.float("ADMISSION_TIMEOUT_S", default=2.0)
CACHE_TTL_S = env.float("CACHE_TTL_S", default=1.0)  # keys and catalogue, in each process
COMMIT_QUEUE_SIZE = env.int("COMMIT_QUEUE_SIZE", default=4096)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=10_000_000)
BODY_TIMEOUT_S = env.float("BODY_TIMEOUT_S", default=30.0)
DRAIN_NOTICE_S = env.float("DRAIN_NOTICE_S", default=0.5)  # readiness red, still accepting
DRAIN_TIMEOUT_S = env.float("DRAIN_TIMEOUT_S", default=120.0)
# Proxies of the operator's own before this process, each of which appends the address that it
# sees to X-Forwarded-For. With 0 that header counts for nothing; too many lets callers forge it.
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=0)
SHOWCASE_TTL_S = env.float("SHOWCASE_TTL_S", default=60.0)  # public figures, in each process
LOCAL_PROVIDER_URL = env.str("LOCAL_PROVIDER_URL", default="http://127.0.0.1:8791/v1")

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
SECURE_REFERRER_POLICY = "same-origin"
# Everything comes from here, nothing is inline (P6). `data:` is for images that a person sends.
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
        name: {"level": "INFO"} for name in ("kyma", "privacy", "chat", "gateway", "billing")
    },
}
