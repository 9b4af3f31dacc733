"""The colours of timelines, and what they mean, in every picture and on every page."""

from gru_parallel.schedule import Op

# Okabe and Ito's palette: apart for every common colour blindness, and in a print without colour.
COLOURS = {Op.F: "#0072B2", Op.B: "#E69F00", Op.W: "#009E73"}
MEANING = {Op.F: "forward (F)", Op.B: "backward (B)", Op.W: "weights' gradient (W)"}
IDLE_COLOUR = "#E9E9E9"
IDLE_MEANING = "idle (bubble)"
