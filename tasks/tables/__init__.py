"""ONE's cache tables: fetched, read as a catalogue, and written of a mirrored tree."""
