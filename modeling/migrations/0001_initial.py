import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("annotate", "0007_removals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        max_length=60,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9._-]*\\Z",
                                "A name is letters, digits, dots, dashes and underscores, such as v1.",
                            )
                        ],
                    ),
                ),
                ("recipe", models.JSONField(default=dict, help_text="What was asked for.")),
                (
                    "facts",
                    models.JSONField(
                        default=dict, help_text="Question, labels, weights: what a trainer reads beside the posts."
                    ),
                ),
                ("composition", models.JSONField(default=dict, help_text="How many of what, and what was left out.")),
                (
                    "told",
                    models.JSONField(
                        default=dict, help_text="For the card: voters, reviewers, agreement, error, as they were."
                    ),
                ),
                ("content_hash", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
                            ("freezing", "Being frozen"),
                            ("frozen", "Frozen"),
                            ("failed", "Failed"),
                            ("cancelled", "Stopped"),
                        ],
                        default="queued",
                        max_length=12,
                    ),
                ),
                ("heartbeat", models.DateTimeField(blank=True, null=True)),
                ("stop_asked", models.BooleanField(default=False)),
                ("total", models.PositiveIntegerField(default=0)),
                ("done", models.PositiveIntegerField(default=0)),
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
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="datasets", to="annotate.project"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="DatasetItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("external_id", models.CharField(max_length=200)),
                ("text", models.TextField(blank=True)),
                ("image", models.CharField(blank=True, help_text="The picture's hash and ending.", max_length=80)),
                ("source", models.CharField(blank=True, max_length=120)),
                ("at", models.DateTimeField()),
                ("template", models.CharField(blank=True, max_length=80)),
                ("meta", models.JSONField(default=dict)),
                ("label", models.CharField(max_length=60)),
                (
                    "label_source",
                    models.CharField(
                        choices=[
                            ("", "No label"),
                            ("consensus", "Consensus of voters"),
                            ("review", "Review by people"),
                            ("model", "Tuned model"),
                            ("import", "Known at import"),
                        ],
                        max_length=12,
                    ),
                ),
                ("incongruous", models.BooleanField(null=True)),
                ("confidence", models.FloatField(help_text="The least that a voter for this label stated.", null=True)),
                (
                    "split",
                    models.CharField(
                        choices=[
                            ("train", "Train"),
                            ("validation", "Validation"),
                            ("test", "Test"),
                            ("holdout", "Locked test set"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "kin",
                    models.PositiveIntegerField(
                        help_text="Posts alike in picture or words share this number, and a split."
                    ),
                ),
                ("votes", models.JSONField(default=list)),
                ("reviews", models.JSONField(default=list)),
                (
                    "removed",
                    models.DateTimeField(help_text="The post had to go; of it nothing is left here.", null=True),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="modeling.dataset",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="annotate.post",
                    ),
                ),
            ],
            options={
                "ordering": ["dataset", "position"],
            },
        ),
        migrations.CreateModel(
            name="Preview",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(help_text="A hash of the recipe and of the project's tallies.", max_length=64),
                ),
                ("recipe", models.JSONField()),
                ("composition", models.JSONField(null=True)),
                ("asked", models.DateTimeField(null=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="previews", to="annotate.project"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="dataset_name_is_unique_in_a_project"),
        ),
        migrations.AddIndex(
            model_name="datasetitem",
            index=models.Index(fields=["dataset", "split", "position"], name="item_by_split"),
        ),
        migrations.AddIndex(
            model_name="datasetitem",
            index=models.Index(fields=["dataset", "external_id"], name="item_by_external_id"),
        ),
        migrations.AddConstraint(
            model_name="datasetitem",
            constraint=models.UniqueConstraint(fields=("dataset", "position"), name="item_by_position"),
        ),
        migrations.AddConstraint(
            model_name="preview",
            constraint=models.UniqueConstraint(fields=("project", "key"), name="preview_by_key"),
        ),
    ]
