"""Emotion recognition in conversation from words, faces and voices."""
