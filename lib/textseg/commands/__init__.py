"""What the commands of the command line do. Each imports what it needs, so that `textseg info` starts without torch."""
