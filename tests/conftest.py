import pytest
from django.conf import settings

from annotate import database

# Before Django opens a connection: a PostgreSQL of our own that may forget everything, unless DATABASE_URL names one.
settings.DATABASE_POOL = 0
settings.DATABASES["default"]["OPTIONS"].pop("pool", None)
database.attach(settings.VAR_DIR / "postgres-test", throwaway=True)


@pytest.fixture(autouse=True)
def _own_files(settings, tmp_path):
    """No test writes where the product keeps its data."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
