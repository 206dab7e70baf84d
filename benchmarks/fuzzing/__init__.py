"""What benchmarks/fuzz.py is made of: kinds of input, how each is damaged, and the processes that read them."""
