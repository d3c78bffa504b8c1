"""Trackers: each is told of the training in a process of its own, so that none can stop it, slow it or break it.

`points` is what they are told, `relay` the trainer's end of the pipe, `follow` the tracker's.
"""
