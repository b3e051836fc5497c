import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.db import connections

from annotate.operating import shared_counts
from annotate.operating.slow_clients import SlowClients

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

if not settings.DATABASE_URL:
    raise ImproperlyConfigured("Set DATABASE_URL, or start with `manage.py up`, which brings its own PostgreSQL.")

shared_counts.choose(settings.VAR_DIR)  # before anything counts


def give_back_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


application = SlowClients(get_wsgi_application(), settings.WEB_THREADS, give_back_connections)
