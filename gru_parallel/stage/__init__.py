"""What a stage does with cells: F, B and gradients. Knows no threads and no communication."""
