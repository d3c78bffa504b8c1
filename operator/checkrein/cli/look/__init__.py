"""What a person looks at: the tree of resources, why one is not ready, logs, speed, and the installation itself."""
