"""`checkrein rollout`: what a person reads of a rollout, and says to it. Every word is a change of the spec."""
