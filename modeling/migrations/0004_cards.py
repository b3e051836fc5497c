"""Cards to reckon with from the start. Memory and speed are the makers' figures; the prices are examples, to be edited."""

from django.db import migrations, models

CARDS = (
    ("RTX 4090", 24, 165, "0.45"),
    ("A100 40 GB", 40, 312, "1.20"),
    ("L40S", 48, 362, "0.90"),
    ("A100 80 GB", 80, 312, "1.60"),
    ("H100 80 GB", 80, 989, "2.60"),
)


def add(apps, schema_editor):
    card = apps.get_model("modeling", "Card")
    card.objects.bulk_create(card(name=n, gigabytes=g, teraflops=t, price=p) for n, g, t, p in CARDS)


class Migration(migrations.Migration):
    dependencies = [
        ("modeling", "0003_runs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Card",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, unique=True)),
                ("gigabytes", models.PositiveSmallIntegerField()),
                ("teraflops", models.FloatField(help_text="At its peak in bf16, without sparsity.")),
                (
                    "price",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="An hour, in dollars; blank: unknown.",
                        max_digits=6,
                        null=True,
                    ),
                ),
            ],
            options={
                "ordering": ["gigabytes", "teraflops"],
            },
        ),
        migrations.RunPython(add, migrations.RunPython.noop),
    ]
