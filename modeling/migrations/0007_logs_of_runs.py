from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("modeling", "0006_machines"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="log",
            field=models.TextField(blank=True, help_text="The last lines of its log, as its machine told them."),
        ),
    ]
