"""Clips of utterances from whole episodes: spans, episode files, cutting, and a table of what became of each."""

from trimood.pipelines.cut_clips.pipeline import create_pipeline

__all__ = ["create_pipeline"]
