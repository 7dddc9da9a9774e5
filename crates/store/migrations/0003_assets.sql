-- Static files of a version: JSON of model::Assets, empty for none.
ALTER TABLE version ADD COLUMN assets TEXT NOT NULL DEFAULT '';
