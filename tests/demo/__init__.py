"""The demo: from an empty machine to a trained policy that acts, is replaced and rolled back."""
