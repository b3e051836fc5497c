"""The floor: what a bare Django site takes for the same work. It is the settings, the addresses and the views in one.

A session, a user, a claim in one statement, and an answer in one transaction: no roles, no cards, nothing refused.
"""

import json
from typing import Any

from annotate import settings

SECRET_KEY = settings.SECRET_KEY
ALLOWED_HOSTS = settings.ALLOWED_HOSTS
DATABASES = settings.DATABASES
AUTH_USER_MODEL = settings.AUTH_USER_MODEL
DEFAULT_AUTO_FIELD = settings.DEFAULT_AUTO_FIELD
LOGGING = settings.LOGGING
USE_TZ = True
INSTALLED_APPS = [  # the tables that ours need, and nothing that stands in the way of a request
    "annotate", "django_q", "django.contrib.admin.apps.SimpleAdminConfig", "django.contrib.auth",
    "django.contrib.contenttypes", "django.contrib.sessions",
]  # fmt: skip
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.bench.bare_queue"

CLAIM = """
UPDATE annotate_disagreement SET holder_id = %s, held_until = now() + interval '5 minutes'
WHERE id = (
  SELECT id FROM annotate_disagreement
  WHERE project_id = %s AND stream = 1 AND closed IS NULL AND (held_until IS NULL OR held_until < now())
  ORDER BY rank, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, post_id
"""
STORE = """
INSERT INTO annotate_review (project_id, disagreement_id, reviewer_id, key, label_id, instead, note, final, saw, at)
VALUES (%s, %s, %s, %s, %s, '', '', FALSE, '{}', now()) ON CONFLICT DO NOTHING RETURNING id
"""
CLOSE = """
UPDATE annotate_disagreement SET closed = now(), holder_id = NULL, held_until = NULL, label_id = %s,
  was_state = 'contested' WHERE id = %s AND holder_id = %s AND closed IS NULL RETURNING post_id
"""
SETTLE = "UPDATE annotate_post SET state = 'settled', label_id = %s, label_source = 'review' WHERE id = %s"


def claim(request: Any) -> Any:
    from django.db import connection
    from django.http import JsonResponse

    sent = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [request.user.pk, sent["project"]])
        row = cursor.fetchone()
        cursor.execute("SELECT text FROM annotate_post WHERE id = %s", [row[1]])
        return JsonResponse({"id": row[0], "text": cursor.fetchone()[0]})


def decide(request: Any) -> Any:
    from django.db import connection, transaction
    from django.http import JsonResponse

    sent, person = json.loads(request.body), request.user.pk
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(STORE, [sent["project"], sent["id"], person, sent["key"], sent["label"]])
        cursor.execute(CLOSE, [sent["label"], sent["id"], person])
        cursor.execute(SETTLE, [sent["label"], *cursor.fetchone()])
    return JsonResponse({"id": sent["id"]})


def __getattr__(name: str) -> Any:
    """Read as settings before Django is set up, and as addresses only afterwards."""
    if name == "urlpatterns":
        from django.urls import path

        return [path("next", claim), path("decide", decide)]
    raise AttributeError(name)
