"""From result records to tables, figures and one offline page. Reads files only: no model, no torch."""
