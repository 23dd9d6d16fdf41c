"""What the papers claim, each claim one study, with a command of its own."""
