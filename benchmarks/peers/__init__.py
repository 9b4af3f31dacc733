"""Measures this library against others that do its job."""
