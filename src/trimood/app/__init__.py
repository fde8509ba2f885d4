"""A web page for trying trained models on a clip and words."""
