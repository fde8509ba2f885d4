"""Checks a copy of the corpus: annotations, clips and splits. Always writes a report, whatever it finds."""
