import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import modeling.models.run


class Migration(migrations.Migration):
    dependencies = [
        ("modeling", "0011_prelabelling"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Answerer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("machine", models.CharField(default=modeling.models.run.this_machine, max_length=120)),
                (
                    "heartbeat",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="By the database’s clock."
                    ),
                ),
                (
                    "loaded",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(),
                        default=list,
                        help_text="The runs whose models are ready.",
                        size=None,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Question",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "batch",
                    models.UUIDField(default=uuid.uuid4, editable=False, help_text="Shared by what was asked at once."),
                ),
                ("name", models.CharField(blank=True, help_text="As whoever asks calls it.", max_length=200)),
                ("text", models.TextField(blank=True)),
                (
                    "picture",
                    models.BinaryField(
                        help_text="As it was cleaned; of a program’s question until the answer.", null=True
                    ),
                ),
                ("picture_format", models.CharField(blank=True, max_length=8)),
                ("thumbnail", models.BinaryField(help_text="WebP, for the page.", null=True)),
                ("fingerprint", models.BigIntegerField(null=True)),
                (
                    "by_page",
                    models.BooleanField(
                        default=False, help_text="Asked in the playground: a person looks at it again."
                    ),
                ),
                (
                    "near",
                    models.JSONField(
                        help_text="The nearest training posts by dataset, once they are found.", null=True
                    ),
                ),
                ("asked", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="questions", to="annotate.project"
                    ),
                ),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.CreateModel(
            name="Reply",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("answered", "Answered"), ("failed", "Failed")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                (
                    "scores",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), help_text="As a prediction holds them.", null=True, size=None
                    ),
                ),
                ("error", models.TextField(blank=True)),
                ("taken_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0, help_text="How often a worker took it.")),
                ("ended", models.DateTimeField(null=True)),
                (
                    "question",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="replies",
                        to="modeling.question",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="modeling.run"),
                ),
                (
                    "taken_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="modeling.answerer",
                    ),
                ),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(fields=["batch", "id"], name="question_by_batch"),
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(fields=["by", "asked"], name="question_by_asker"),
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(fields=["asked"], name="question_by_age"),
        ),
        migrations.AddIndex(
            model_name="reply",
            index=models.Index(condition=models.Q(("state", "waiting")), fields=["run", "id"], name="reply_that_waits"),
        ),
        migrations.AddConstraint(
            model_name="reply",
            constraint=models.UniqueConstraint(fields=("question", "run"), name="reply_by_question_and_run"),
        ),
    ]
