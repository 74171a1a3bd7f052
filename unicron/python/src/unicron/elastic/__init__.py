"""Level 2: training in which the survivors of a failure keep the running iteration. Needs PyTorch."""
