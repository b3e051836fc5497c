import uuid

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0010_silent_voters"),
    ]

    operations = [
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mark", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "event",
                    models.BigIntegerField(
                        help_text="Bare, as the log's own keys are; a test tells of none.", null=True
                    ),
                ),
                ("kind", models.CharField(max_length=60)),
                ("body", models.TextField(help_text="As it is signed and sent, each time the same.")),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("delivered", "Delivered"), ("failed", "Given up")],
                        default="waiting",
                        max_length=12,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                (
                    "asked",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="From then on it is tried for a day."
                    ),
                ),
                ("due", models.DateTimeField(default=django.utils.timezone.now)),
                ("tried", models.DateTimeField(blank=True, null=True)),
                ("code", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("ms", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "said",
                    models.CharField(
                        blank=True, help_text="What was answered, in short, or what went wrong.", max_length=300
                    ),
                ),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("address", models.CharField(max_length=500)),
                ("note", models.CharField(blank=True, max_length=120)),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), help_text="What it is told of.", size=None
                    ),
                ),
                (
                    "private",
                    models.BooleanField(
                        default=False, help_text="A site admin allowed an address inside our own network."
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("on", "On"), ("paused", "Paused"), ("off", "Switched off")],
                        default="on",
                        max_length=8,
                    ),
                ),
                ("why", models.TextField(blank=True, help_text="Why it was switched off.")),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("seed", models.CharField(editable=False, max_length=64)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("old_seed", models.CharField(blank=True, editable=False, max_length=64)),
                ("old_until", models.DateTimeField(blank=True, null=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AlterModelOptions(
            name="event",
            options={"ordering": ["-at", "-id"]},
        ),
        migrations.RemoveIndex(
            model_name="event",
            name="event_by_project",
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["project", "at", "id"], name="event_of_project"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["project", "verb", "at", "id"], name="event_of_project_by_verb"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["project", "user", "at", "id"], name="event_of_project_by_person"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["at", "id"], name="event_by_time"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["verb", "at", "id"], name="event_by_verb"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["user", "at", "id"], name="event_by_person"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass("data", "jsonb_path_ops"), name="event_by_object"
            ),
        ),
        migrations.AddField(
            model_name="webhook",
            name="by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="webhook",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="webhooks", to="annotate.project"
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="webhook",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="annotate.webhook"
            ),
        ),
        migrations.AddConstraint(
            model_name="webhook",
            constraint=models.CheckConstraint(
                condition=models.Q(("kinds__len__gt", 0)), name="webhook_is_told_of_something"
            ),
        ),
        migrations.AddConstraint(
            model_name="webhook",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["on", "paused", "off"])), name="webhook_state_is_known"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["webhook", "-id"], name="delivery_by_webhook"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["webhook", "due"], name="delivery_due"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["created"], name="delivery_by_age"),
        ),
    ]
