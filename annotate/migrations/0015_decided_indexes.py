from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0014_quotas"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="disagreement",
            index=models.Index(
                condition=models.Q(("was_state", ""), _negated=True),
                fields=["project", "closed", "id"],
                include=("why", "was_source", "was_label", "label", "stream", "answers"),
                name="decided_by_time",
            ),
        ),
        migrations.AddIndex(
            model_name="disagreement",
            index=models.Index(
                models.F("project"),
                models.F("why"),
                models.Func(models.F("id"), function="hashint8"),
                models.F("id"),
                condition=models.Q(models.Q(("was_state", ""), _negated=True), ("label__isnull", False)),
                name="decided_by_lot",
            ),
        ),
    ]
