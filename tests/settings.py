"""Settings of the test run: the portal's own, with a data directory that is thrown away."""

import atexit
import os
import shutil
import tempfile

_home = tempfile.mkdtemp(prefix="xmailadmin-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("XMAILADMIN_")]:
    del os.environ[_name]
os.environ["XMAILADMIN_HOME"] = _home

from xmailadmin.settings import *  # noqa: E402, F403

CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, for tests alone
ACCOUNT_RATE_LIMITS = False  # type: ignore[assignment]
AUDIT_GUARD = False  # tests empty the tables between them
