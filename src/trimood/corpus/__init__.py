"""Annotation files, clips and words as tables of utterances: read, checked, split."""
