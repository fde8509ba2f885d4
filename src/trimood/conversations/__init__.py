"""ECF annotation files, the utterance table and its splits; no torch here."""
