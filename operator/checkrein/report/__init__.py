"""Recordings as pages: pure, from numbers to one HTML file that needs nothing from elsewhere."""
