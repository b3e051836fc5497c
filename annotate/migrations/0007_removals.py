import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0006_targeting"),
    ]

    operations = [
        migrations.AddField(
            model_name="voter",
            name="words",
            field=models.TextField(
                blank=True, editable=False, help_text="All that it read beside the post, when last asked."
            ),
        ),
        migrations.CreateModel(
            name="Removal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("post_id", models.BigIntegerField(help_text="The number it had, by which its events are found.")),
                ("content_hash", models.CharField(max_length=64)),
                ("id_hash", models.CharField(help_text="Of its external id.", max_length=64)),
                ("reason", models.CharField(max_length=300)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="removals", to="annotate.project"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["project", "content_hash"], name="removal_by_content"),
                    models.Index(fields=["project", "id_hash"], name="removal_by_id"),
                ],
            },
        ),
    ]
