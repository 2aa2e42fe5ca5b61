"""What a training is run with: strategies, schedules, callbacks, checkpoints."""
