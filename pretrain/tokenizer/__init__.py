"""The visual tokenizer of BEiT and CAE: its models, its training, and stored tokens."""
