"""Django-Q's broker on PostgreSQL, but for a task that this machine cannot read."""

import logging
from datetime import timedelta

from django.utils import timezone
from django_q.brokers.orm import ORM

AGAIN = timedelta(seconds=30)


class Broker(ORM):  # type: ignore[misc]
    def fail(self, task_id: int) -> None:
        """Signed with another key than ours: left to a worker that holds it, where Django-Q would throw it away."""
        self.get_connection().filter(pk=task_id).update(lock=timezone.now() + AGAIN)
        logging.getLogger(__name__).error(
            "This machine has another SECRET_KEY than the site and cannot read its tasks: start it with the site’s."
        )
