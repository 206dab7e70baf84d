"""Parts that several methods share: masks, losses, heads, teachers."""
