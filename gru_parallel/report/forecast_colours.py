"""The colours of what came and of what was forecast, in every picture and on every page."""

# Of Okabe and Ito's palette, beside a dark grey: apart for every common colour blindness.
CAME, FORECAST = "#27313A", "#D55E00"
