"""The object store: keys, verified reads, conditional writes, artifacts, sessions.

It speaks S3, and is the only place that imports an S3 client.
"""
