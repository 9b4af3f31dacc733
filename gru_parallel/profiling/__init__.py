"""Measures what planning has to know: how long layers, hand-overs and a step's ends take here."""
