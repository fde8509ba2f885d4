"""LanguageBind towers, LoRA adapters and the classifier on top."""
