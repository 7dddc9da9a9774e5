-- What a version's workers may reach: JSON with lists of host patterns.
ALTER TABLE version ADD COLUMN egress TEXT NOT NULL DEFAULT '{}';
