"""From text to checked settings: the schema of conf/, overrides, and what is wrong with them."""
