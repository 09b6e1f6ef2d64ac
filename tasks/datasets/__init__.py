"""What a selection means: sessions, datasets and file records, from Alyx's REST interface or from tables."""
