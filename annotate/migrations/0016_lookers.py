from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0015_decided_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="place",
            name="heartbeat",
            field=models.DateTimeField(blank=True, help_text="Of whoever looks; empty: it has not begun.", null=True),
        ),
        migrations.AlterField(
            model_name="place",
            name="claimed",
            field=models.DateTimeField(
                blank=True, help_text="Since when one looks, or is to; empty: none does.", null=True
            ),
        ),
    ]
