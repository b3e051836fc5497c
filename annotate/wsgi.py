import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

if not settings.DATABASE_URL:
    raise ImproperlyConfigured("Set DATABASE_URL, or start with `manage.py up`, which brings its own PostgreSQL.")

application = get_wsgi_application()
