"""How well one model of many series of unequal lengths forecasts them, beside baselines."""
