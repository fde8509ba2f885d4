"""Every HTML page, table for people and figure; nothing is computed here."""
