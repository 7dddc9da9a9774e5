-- When a version's `scheduled` handler is called: JSON with a list of cron expressions.
ALTER TABLE version ADD COLUMN crons TEXT NOT NULL DEFAULT '[]';
