"""The rules of the product: pure, standard library only. No I/O, no clock, no chance."""
