"""The command `checkrein`: what people ask of agents and of what was kept, and say to rollouts."""
