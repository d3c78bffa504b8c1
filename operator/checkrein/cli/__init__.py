"""The command `checkrein`: what people ask of what was kept."""
