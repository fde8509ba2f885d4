"""What a training left, put to use: utterances of one's own, and the model as MLflow keeps and serves it."""
