"""A page in the browser on which a person tries trained models on a clip and words."""
