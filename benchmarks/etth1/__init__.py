"""How well models forecast ETTh1: this library's, and those they are compared with."""
