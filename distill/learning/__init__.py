"""What teachers and students learn with: loss, splits, loop, checkpoints. Needs torch."""
