"""Builders of the objects that Checkrein creates: plain data in, plain data out."""
