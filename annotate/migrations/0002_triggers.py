"""Counts kept by statement triggers over what each statement changed, and an event log that cannot be rewritten."""

from django.db import migrations

TALLY_COLUMNS = "project_id, state, label_id, label_source, vote_count > 0, holdout"
INSERT_TALLY = "INSERT INTO annotate_tally (project_id, state, label_id, label_source, voted, holdout, posts)"
INSERT_VOTES = "INSERT INTO annotate_votetally (voter_id, label_id, votes, cost)"

FORWARD = f"""
CREATE FUNCTION tally_posts_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_TALLY} SELECT {TALLY_COLUMNS}, count(*) FROM added GROUP BY 1, 2, 3, 4, 5, 6;
  RETURN NULL;
END $$;

CREATE FUNCTION tally_posts_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_TALLY} SELECT {TALLY_COLUMNS}, -count(*) FROM gone GROUP BY 1, 2, 3, 4, 5, 6;
  RETURN NULL;
END $$;

CREATE FUNCTION tally_posts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_TALLY}
  SELECT a, b, c, d, e, f, sum(n) FROM (
    SELECT {TALLY_COLUMNS}, 1 FROM added UNION ALL SELECT {TALLY_COLUMNS}, -1 FROM gone
  ) AS moved (a, b, c, d, e, f, n) GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0;
  RETURN NULL;
END $$;

CREATE TRIGGER posts_added AFTER INSERT ON annotate_post
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_posts_added();
CREATE TRIGGER posts_gone AFTER DELETE ON annotate_post
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION tally_posts_gone();
CREATE TRIGGER posts_changed AFTER UPDATE ON annotate_post
  REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_posts_changed();

CREATE FUNCTION tally_votes_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_VOTES} SELECT voter_id, label_id, count(*), coalesce(sum(cost), 0) FROM added GROUP BY 1, 2;
  RETURN NULL;
END $$;

CREATE FUNCTION tally_votes_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_VOTES} SELECT voter_id, label_id, -count(*), -coalesce(sum(cost), 0) FROM gone GROUP BY 1, 2;
  RETURN NULL;
END $$;

CREATE FUNCTION tally_votes_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {INSERT_VOTES}
  SELECT voter_id, label_id, sum(n), sum(c) FROM (
    SELECT voter_id, label_id, 1, coalesce(cost, 0) FROM added
    UNION ALL SELECT voter_id, label_id, -1, -coalesce(cost, 0) FROM gone
  ) AS moved (voter_id, label_id, n, c) GROUP BY 1, 2 HAVING sum(n) <> 0 OR sum(c) <> 0;
  RETURN NULL;
END $$;

CREATE TRIGGER votes_added AFTER INSERT ON annotate_vote
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_votes_added();
CREATE TRIGGER votes_gone AFTER DELETE ON annotate_vote
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION tally_votes_gone();
CREATE TRIGGER votes_changed AFTER UPDATE ON annotate_vote
  REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_votes_changed();

CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'events are append only';
END $$;
CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON annotate_event
  FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();
"""

BACKWARD = """
DROP TRIGGER posts_added ON annotate_post;
DROP TRIGGER posts_gone ON annotate_post;
DROP TRIGGER posts_changed ON annotate_post;
DROP TRIGGER votes_added ON annotate_vote;
DROP TRIGGER votes_gone ON annotate_vote;
DROP TRIGGER votes_changed ON annotate_vote;
DROP TRIGGER events_stay ON annotate_event;
DROP FUNCTION tally_posts_added, tally_posts_gone, tally_posts_changed;
DROP FUNCTION tally_votes_added, tally_votes_gone, tally_votes_changed;
DROP FUNCTION events_are_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("annotate", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
