"""Who may measure when: tickets, the queue, and the child processes that do the work."""
