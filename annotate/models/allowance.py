from django.db import models


class Allowance(models.Model):
    """How much of a limit somebody has used, told by when all of it is given back; a row in the past says nothing.

    The table is not logged: a crash of PostgreSQL forgives everybody, and no request waits for the disk.
    """

    key = models.CharField(max_length=120, primary_key=True)
    full_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
