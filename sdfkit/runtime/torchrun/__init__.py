"""The processes of a command that torchrun has started."""
