"""What voters were last asked, brought to the voters themselves, where datasets can tell it."""

from django.db import migrations

FORWARD = """
UPDATE annotate_voter AS voter SET words = latest.text
FROM (
  SELECT DISTINCT ON (part.voter_id) part.voter_id, wording.text
  FROM labeling_wording AS wording JOIN labeling_part AS part ON part.id = wording.part_id
  ORDER BY part.voter_id, wording.id DESC
) AS latest WHERE latest.voter_id = voter.id
"""


class Migration(migrations.Migration):
    dependencies = [("labeling", "0003_wordings_and_replacements"), ("annotate", "0007_removals")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
