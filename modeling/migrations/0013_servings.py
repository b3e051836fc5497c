import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("modeling", "0012_questions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Serving",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
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
                ("machine", models.CharField(blank=True, max_length=120)),
                ("interruptions", models.PositiveSmallIntegerField(default=0)),
                ("doing", models.CharField(blank=True, max_length=80)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("error", models.TextField(blank=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("started", models.DateTimeField(blank=True, null=True)),
                ("ended", models.DateTimeField(blank=True, null=True)),
                (
                    "form",
                    models.CharField(
                        choices=[
                            ("merged", "Merged, 16 bits"),
                            ("8bit", "Merged, 8 bits"),
                            ("4bit", "Merged, 4 bits"),
                            ("lora", "Adapter alone"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "folder",
                    models.CharField(
                        blank=True, help_text="Where it was wanted; blank: among our data.", max_length=400
                    ),
                ),
                (
                    "told",
                    models.JSONField(default=dict, help_text="How it is asked, in the words that it was trained on."),
                ),
                ("deleted", models.DateTimeField(blank=True, help_text="Its folder is gone since.", null=True)),
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
                        on_delete=django.db.models.deletion.CASCADE, related_name="servings", to="annotate.project"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="servings", to="modeling.run"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ServedCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
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
                ("machine", models.CharField(blank=True, max_length=120)),
                ("interruptions", models.PositiveSmallIntegerField(default=0)),
                ("doing", models.CharField(blank=True, max_length=80)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("error", models.TextField(blank=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("started", models.DateTimeField(blank=True, null=True)),
                ("ended", models.DateTimeField(blank=True, null=True)),
                (
                    "way",
                    models.CharField(choices=[("server", "A server"), ("folder", "The folder itself")], max_length=8),
                ),
                ("url", models.CharField(blank=True, help_text="Of a server.", max_length=400)),
                ("model", models.CharField(blank=True, help_text="As the server calls it.", max_length=200)),
                (
                    "split",
                    models.CharField(
                        choices=[
                            ("train", "Train"),
                            ("validation", "Validation"),
                            ("test", "Test"),
                            ("holdout", "Locked test set"),
                            ("fold", "Fold"),
                            ("pool", "Folds"),
                        ],
                        max_length=12,
                    ),
                ),
                ("told", models.JSONField(default=dict, help_text="All figures, see likeness.py.")),
                (
                    "against",
                    models.ForeignKey(
                        blank=True,
                        help_text="Of the run itself.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="modeling.evaluation",
                    ),
                ),
                (
                    "asked",
                    models.ForeignKey(
                        blank=True,
                        help_text="Of the folder.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="modeling.evaluation",
                    ),
                ),
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
                    "serving",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="checks", to="modeling.serving"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "abstract": False,
            },
        ),
    ]
