"""Networks that were pretrained here, trained on for a task: classes of texts, and answers in texts."""
