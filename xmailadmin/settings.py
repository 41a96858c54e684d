"""The one settings module. Everything that differs between portals comes from the environment."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _
from kombu import Exchange, Queue

from xmailadmin import environment, home, logs, oidc_settings

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = home.directory()

# --- Where the portal answers -------------------------------------------------------------------
BIND = environment.as_it_is("XMAILADMIN_BIND", "127.0.0.1:8000")
# HTTPS by the portal itself (`up --tls`), with a pair of its own making: xmailadmin/tls.py.
TLS = environment.flag("XMAILADMIN_TLS", default=False)
ALLOW_HTTP = environment.flag("XMAILADMIN_ALLOW_HTTP", default=False)
PORTAL_URL = environment.address(
    "XMAILADMIN_URL",
    f"http{'s' if TLS else ''}://localhost:{BIND.rpartition(':')[2] or 8000}",
)
_url = urlsplit(PORTAL_URL)
_host = _url.hostname or "localhost"
PORTAL_HOST = f"[{_host}]" if ":" in _host else _host
HTTPS = _url.scheme == "https"
if TLS and not HTTPS:
    raise home.HomeError(f"with --tls XMAILADMIN_URL must begin with https://, not {PORTAL_URL}.")
ALLOWED_HOSTS = [
    *dict.fromkeys([PORTAL_HOST, "localhost", "127.0.0.1", "[::1]"]),
    *environment.host_names("XMAILADMIN_ALLOWED_HOSTS"),
]
CSRF_TRUSTED_ORIGINS = [f"{_url.scheme}://{_url.netloc}"]

# --- Secrets ------------------------------------------------------------------------------------
SECRET_KEY = environment.secret_key("XMAILADMIN_SECRET_KEY", "secret.key")
# The vault reads the master keys itself and only when it needs them: they are no setting,
# so that no settings dump, error page or shell session shows them.

# --- The production profile follows the public address ------------------------------------------
DEBUG = False
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_HTTPONLY = True
# So named, browsers take them from no other host of the domain, and from nobody by plain HTTP.
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
# Not with a certificate of our own: where nobody knows it any more, HSTS would lock people out.
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS and not TLS else 0
# For this name alone unless asked for: names below a mail domain need not all speak HTTPS, and a
# browser that has remembered otherwise cannot be told so.
_hsts = environment.one_of("XMAILADMIN_HSTS", ["", "subdomains", "preload"])
SECURE_HSTS_INCLUDE_SUBDOMAINS = bool(SECURE_HSTS_SECONDS and _hsts)
SECURE_HSTS_PRELOAD = bool(SECURE_HSTS_SECONDS and _hsts == "preload")
# Django's check would have these two for every site.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "xmailadmin.views.errors.csrf_failure"
# Whom to believe about the client's address and whether it came by HTTPS. A proxy that ends TLS
# is usually on this machine; anybody else's X-Forwarded-* headers are dropped.
TRUSTED_PROXIES = environment.networks(
    "XMAILADMIN_TRUSTED_PROXIES", ["127.0.0.1", "::1"] if HTTPS and not TLS else []
)
# The largest thing that people send is a CSV file of hosts. asgi.py holds the same limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000  # a deployment may choose thousands of hosts
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
# Whoever watches the portal asks it directly, not through the proxy that ends TLS.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
if HTTPS and not TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],  # Bootstrap's form marks are data: images in its style sheet
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- Applications -------------------------------------------------------------------------------
INSTALLED_APPS = [
    "xmailadmin",
    "certs",
    "hosts",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "bootstrap",
    "crispy_forms",
    "crispy_bootstrap5",
    "django_filters",
    "django_htmx",
    "django_structlog",
    "django_tables2",
]
MIDDLEWARE = [
    "django_structlog.middlewares.RequestMiddleware",
    "xmailadmin.proxies.TrustedProxiesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "xmailadmin.middleware.StaticFilesMiddleware",
    "xmailadmin.sessions.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "xmailadmin.middleware.ViewerTimeZoneMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "xmailadmin.sessions.SessionActivityMiddleware",
    "xmailadmin.access.AccessMiddleware",
    # Behind the one above, which knows how to lead to the sign-in page from a part of a page.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "xmailadmin.middleware.NoStoreMiddleware",
    "xmailadmin.middleware.BusyMiddleware",
]
ROOT_URLCONF = "xmailadmin.urls"
ASGI_APPLICATION = "xmailadmin.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hosts.health.trouble",
            ],
        },
    },
]
CRISPY_ALLOWED_TEMPLATE_PACKS = CRISPY_TEMPLATE_PACK = "bootstrap5"
DJANGO_TABLES2_TEMPLATE = "components/table.html"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database -----------------------------------------------------------------------------------
DATABASES = {
    "default": environment.database("DATABASE_URL", f"sqlite:///{HOME / 'xmailadmin.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE takes the write lock at BEGIN: two writers queue instead of failing midway.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    from xmailadmin.postgresql.connection import OPTIONS

    DATABASES["default"]["ENGINE"] = "xmailadmin.postgresql"
    DATABASES["default"]["OPTIONS"] = {**OPTIONS, **DATABASES["default"].get("OPTIONS", {})}
    # A connection that a restart of the server has broken is replaced, not tried.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# What is only worth minutes (limits, codes that were used) must hold for every web process.
CACHES = {
    "default": {
        "BACKEND": "xmailadmin.json_cache.DatabaseCache",
        "LOCATION": "xmailadmin_cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
    # Counts of what anybody may ask for, and what the provider of single sign-on says of itself: in
    # memory, so that strangers never write to the database. Each web process has its own.
    "addresses": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "addresses",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
# How often the page for mail users and its files may be asked for from one address.
READER_REQUESTS_A_MINUTE = environment.number("XMAILADMIN_READER_REQUESTS_A_MINUTE", 120)

# --- Celery -------------------------------------------------------------------------------------
CELERY_BROKER_URL = environment.broker("CELERY_BROKER_URL", "memory://localhost//")
EMBEDDED = CELERY_BROKER_URL.startswith("memory://localhost//")
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"polling_interval": 0.05}
    if EMBEDDED
    else {"socket_connect_timeout": 2, "socket_timeout": 30, "visibility_timeout": 300}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # however long it is away
# A message is only a doorbell for rows (hosts/turns.py): one that is lost is rung again by the
# sweep, so publishing never retries and never keeps a page waiting.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
# For the same reason a message is done with as soon as a worker begins: the lease on the rows, not
# the message, brings back what a dead worker left. A message that waited to be acknowledged would
# keep a worker from getting over the loss of the broker.
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = not EMBEDDED  # leave what this worker cannot begin to another
# What was begun when the broker went away goes on, and costs no place for what comes afterwards.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
# Threads: a chunk of hosts is one event loop in one of them, and all of it waits for sockets. A
# signal reaches the one process there is, which can then hand over what it has in hand.
CELERY_WORKER_POOL = "xmailadmin.thread_pool:TaskPool"
CELERY_WORKER_CONCURRENCY = 4
# A worker takes from each queue in turn, so that a diagnosis of every host delays no deployment.
CELERY_TASK_QUEUES = [
    Queue(name, Exchange("xmailadmin"), routing_key=name)
    for name in ("quick", "hosts", "diagnosis")
]
CELERY_TASK_DEFAULT_EXCHANGE = "xmailadmin"
CELERY_TASK_DEFAULT_QUEUE = CELERY_TASK_DEFAULT_ROUTING_KEY = "quick"
CELERY_TASK_ROUTES = {
    "hosts.tasks.install_hosts": {"queue": "hosts"},
    "hosts.tasks.diagnose_*": {"queue": "diagnosis"},
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Redis may be shared: where a queue's name is something else there, a worker tries again, too.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# Whoever gets into the broker shall be able to ask nothing, and to stop nothing.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "hosts.ticker:Ticker"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "hosts.tasks.sweep", "schedule": 5.0},
    "diagnose": {"task": "hosts.tasks.diagnose_all", "schedule": 3600.0},
}

# --- People -------------------------------------------------------------------------------------
AUTH_USER_MODEL = "xmailadmin.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "xmailadmin.hashing.LimitedArgon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_ADAPTER = "xmailadmin.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_LOGIN_TIMEOUT = 300  # between the password and the second factor
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
SESSION_ENGINE = "xmailadmin.sessions"
SESSION_COOKIE_AGE = 12 * 3600  # from the sign-in on, however it is used
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# xmailadmin/limits.py counts those, and spares known browsers behind the same address.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None, "change_password": None}
ACCOUNT_FORMS = {
    "login": "xmailadmin.forms.LoginForm",
    "reauthenticate": "xmailadmin.forms.ReauthenticateForm",
    "set_password": "xmailadmin.forms.FirstPasswordForm",
    "change_password": "xmailadmin.forms.ChangePasswordForm",
}
MFA_ADAPTER = "xmailadmin.second_factor.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_TOLERANCE = 1  # clocks of phones are never quite right
MFA_FORMS = {
    "authenticate": "xmailadmin.second_factor.AuthenticateForm",
    "reauthenticate": "xmailadmin.second_factor.ReauthenticateForm",
    "authenticate_webauthn": "xmailadmin.second_factor.AuthenticateWebAuthnForm",
    "reauthenticate_webauthn": "xmailadmin.second_factor.ReauthenticateWebAuthnForm",
    "activate_totp": "xmailadmin.second_factor.ActivateTOTPForm",
    "add_webauthn": "xmailadmin.second_factor.AddWebAuthnForm",
    "edit_webauthn": "xmailadmin.second_factor.EditWebAuthnForm",
}
SOCIALACCOUNT_ADAPTER = "xmailadmin.single_sign_on.SocialAccountAdapter"
SOCIALACCOUNT_PROVIDERS = oidc_settings.providers()
AUDIT_GUARD = True

# --- Mail ---------------------------------------------------------------------------------------
# Only where EMAIL_URL is set, such as smtp+tls://user:password@mail.example.jp:587
MAIL = bool(home.from_environment("EMAIL_URL"))
vars().update(environment.mail("EMAIL_URL"))
EMAIL_TIMEOUT = 10  # seconds for each step: a person waits for the page with the link
DEFAULT_FROM_EMAIL = environment.as_it_is("XMAILADMIN_MAIL_FROM", f"xmailadmin@{_url.hostname}")

# --- Languages and time -------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ja", _("Japanese"))]
LOCALE_PATHS = [BASE_DIR / "xmailadmin" / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = environment.time_zone("XMAILADMIN_TIME_ZONE")

# --- Static files -------------------------------------------------------------------------------
# WhiteNoise serves straight from the installed packages: there is no collecting step to forget.
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

# --- Client notes -------------------------------------------------------------------------------
# A note that nobody has confirmed for so many days is marked as ageing.
NOTE_AGE_DAYS = environment.number("XMAILADMIN_NOTE_AGE_DAYS", 365)

# --- Being watched ------------------------------------------------------------------------------
# Who knows this may read /metrics; without it there is no such page.
METRICS_TOKEN = home.from_environment("XMAILADMIN_METRICS_TOKEN")

# --- Hosts --------------------------------------------------------------------------------------
# Where configured, MailRoots must lie below one of these directories, and addresses inside one of
# these networks.
MAILROOT_BASES = environment.directories("XMAILADMIN_MAILROOT_BASES")
ALLOWED_NETWORKS = environment.networks("XMAILADMIN_ALLOWED_NETWORKS")
# A switch by CTRL that broke between key and certificate is finished over a login in clear, which
# somebody in between could relay. "0": never, but a person finishes it by hand.
CTRL_CLEAR_RECOVERY = environment.flag("XMAILADMIN_CTRL_CLEAR_RECOVERY", default=True)

# --- Log ----------------------------------------------------------------------------------------
LOGGING = logs.configuration(environment.one_of("XMAILADMIN_LOG", ["text", "json"]))
vars().update({f"DJANGO_STRUCTLOG_{name}": level for name, level in logs.LEVELS.items()})
DJANGO_STRUCTLOG_CELERY_ENABLED = True
# Neither is needed to find a line, and the one costs a query and the other believes any header.
DJANGO_STRUCTLOG_USER_ID_FIELD = None
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
