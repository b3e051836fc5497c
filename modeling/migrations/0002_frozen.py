"""What is frozen stays as it is: the database refuses to change it. Only a post that had to go leaves a gap, in every
dataset that held it, in the very statement that deletes it, whoever deletes it and how."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION frozen_items_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM modeling_dataset WHERE id = NEW.dataset_id AND state = 'frozen')
    AND NOT (TG_OP = 'UPDATE' AND NEW.removed IS NOT NULL AND NEW.text = '' AND NEW.image = '') THEN
    RAISE EXCEPTION 'A frozen dataset never changes.' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER frozen_items_stay BEFORE INSERT OR UPDATE ON modeling_datasetitem
  FOR EACH ROW EXECUTE FUNCTION frozen_items_stay();

CREATE FUNCTION removed_posts_leave_datasets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE modeling_datasetitem AS item
  SET removed = now(), post_id = NULL, external_id = '', text = '', image = '', source = '', template = '',
    meta = '{}', votes = '[]', reviews = '[]'
  FROM gone WHERE item.post_id = gone.id;
  RETURN NULL;
END $$;

CREATE TRIGGER removed_posts_leave_datasets AFTER DELETE ON annotate_post
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION removed_posts_leave_datasets();
"""

BACKWARD = """
DROP TRIGGER removed_posts_leave_datasets ON annotate_post;
DROP FUNCTION removed_posts_leave_datasets();
DROP TRIGGER frozen_items_stay ON modeling_datasetitem;
DROP FUNCTION frozen_items_stay();
"""


class Migration(migrations.Migration):
    dependencies = [("modeling", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
