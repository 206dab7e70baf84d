"""Scale "paper": the published data sets; each task's are in a file of its own beside this one."""
