import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0013_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="project",
            name="quota_gb",
            field=models.FloatField(
                blank=True,
                help_text="Pictures, datasets, runs and models. Blank: as the site’s settings say. 0: no limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(1000000),
                ],
                verbose_name="GB it may hold",
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="quota_posts",
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text="Blank: as the site’s settings say. 0: no limit.",
                null=True,
                verbose_name="posts it may hold",
            ),
        ),
        migrations.CreateModel(
            name="Place",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(help_text="As it stands in the folder, or “shared”.", max_length=40, unique=True),
                ),
                ("machine", models.CharField(blank=True, help_text="That looked last.", max_length=120)),
                (
                    "asked",
                    models.DateTimeField(blank=True, help_text="When somebody wanted it looked at anew.", null=True),
                ),
                (
                    "rules",
                    models.JSONField(
                        default=list, help_text="By which rules of clean-up it is to be cleaned up at that."
                    ),
                ),
                (
                    "claimed",
                    models.DateTimeField(
                        blank=True, help_text="Since when a machine looks; empty: none does.", null=True
                    ),
                ),
                (
                    "measured",
                    models.DateTimeField(blank=True, help_text="When a look that was finished had begun.", null=True),
                ),
                (
                    "swept",
                    models.DateTimeField(
                        blank=True, help_text="When the rules were last carried out by themselves.", null=True
                    ),
                ),
                ("taken", models.JSONField(default=list, help_text="What takes how much room.")),
                ("found", models.JSONField(default=list, help_text="What may go by which rule, with a few by name.")),
                ("free", models.JSONField(default=list, help_text="Bytes that are free on its disks.")),
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
            ],
            options={
                "ordering": ["machine", "id"],
            },
        ),
        migrations.CreateModel(
            name="Holding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("what", models.CharField(help_text="As pages call it.", max_length=40)),
                ("bytes", models.BigIntegerField()),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="holdings",
                        to="annotate.project",
                    ),
                ),
                (
                    "place",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="holdings",
                        to="annotate.place",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("place", "project", "what"), name="holding_of_a_kind_in_a_place")
                ],
            },
        ),
    ]
