"""The ASGI application that uvicorn serves."""

import gc
import os
from importlib import import_module

from django.conf import settings
from django.core.asgi import get_asgi_application

from xmailadmin.postgresql.connection import limit_waits
from xmailadmin.uploads import Bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")
limit_waits()
application = Bounded(get_asgi_application())
# What is loaded now stays, so that no page ever waits until a collection of garbage has walked
# through it (some 50 ms).
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
