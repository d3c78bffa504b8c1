"""The decision server: one process that answers observations with actions, by one policy at a time."""
