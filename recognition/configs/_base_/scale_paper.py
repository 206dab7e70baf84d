"""Scale "paper": the published test sets and recipes; each task's are in a file of its own beside this one."""
