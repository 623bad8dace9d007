"""What is on offer: models, batches, execution paths, and ways to change an encoder on purpose. Free of torch."""
