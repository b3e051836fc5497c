import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0008_label_studio"),
        ("modeling", "0002_frozen"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("recipe", models.CharField(blank=True, help_text="The preset it was started from.", max_length=60)),
                ("config", models.JSONField(help_text="All that the trainer is told, as its config.json.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting for a card"),
                            ("running", "Running"),
                            ("stopped", "Stopped"),
                            ("interrupted", "Interrupted"),
                            ("failed", "Failed"),
                            ("done", "Done"),
                        ],
                        default="queued",
                        max_length=12,
                    ),
                ),
                ("heartbeat", models.DateTimeField(blank=True, null=True)),
                ("stop_asked", models.BooleanField(default=False)),
                ("interruptions", models.PositiveSmallIntegerField(default=0)),
                ("doing", models.CharField(blank=True, max_length=80)),
                ("step", models.PositiveIntegerField(default=0)),
                ("steps", models.PositiveIntegerField(default=0)),
                (
                    "latest",
                    models.JSONField(default=dict, help_text="Loss, learning rate, pace and memory, as last told."),
                ),
                ("scores", models.JSONField(default=dict, help_text="Of the best evaluation on the validation split.")),
                ("receipt", models.JSONField(default=dict)),
                ("error", models.TextField(blank=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("started", models.DateTimeField(blank=True, null=True)),
                ("ended", models.DateTimeField(blank=True, null=True)),
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
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="modeling.dataset"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="annotate.project"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="RunPoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=12)),
                ("step", models.PositiveIntegerField()),
                ("told", models.JSONField()),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="points",
                        to="modeling.run",
                    ),
                ),
            ],
            options={
                "ordering": ["run", "kind", "step"],
                "constraints": [models.UniqueConstraint(fields=("run", "kind", "step"), name="point_by_step")],
            },
        ),
    ]
