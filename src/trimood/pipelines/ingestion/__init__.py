"""Reads annotation files into utterance tables, describes the corpus and splits it."""
