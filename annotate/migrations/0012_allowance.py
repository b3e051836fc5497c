from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0011_webhooks"),
    ]

    operations = [
        migrations.CreateModel(
            name="Allowance",
            fields=[
                ("key", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("full_at", models.DateTimeField()),
            ],
        ),
        # Room on each page, so that a changed row stays where it is and no index is touched.
        migrations.RunSQL(
            "ALTER TABLE annotate_allowance SET UNLOGGED; ALTER TABLE annotate_allowance SET (fillfactor = 50)",
            "ALTER TABLE annotate_allowance SET LOGGED",
        ),
    ]
