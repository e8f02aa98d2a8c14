"""What conversions of published files share: a ledger of tensors, reading, prompts, and writing a checkpoint."""
