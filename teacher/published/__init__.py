"""Published checkpoints as annotators: own classes on bare encoders, loaded strictly, no remote code."""
