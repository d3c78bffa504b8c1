"""The decision log: what a record says, how records are chained, sealed and stored, and how all of that is proved."""
