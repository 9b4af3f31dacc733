"""Measures whether plans keep their promise: predicted step times, and the plans chosen by them."""
