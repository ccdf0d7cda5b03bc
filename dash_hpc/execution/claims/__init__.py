"""Who may write to a folder or a run, and which runs killed their worker."""
