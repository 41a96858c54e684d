"""The ASGI application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application

from xmailadmin.postgresql.connection import limit_waits
from xmailadmin.uploads import Bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")
limit_waits()
application = Bounded(get_asgi_application())
