"""Worker processes of this machine: the executor that feeds them, and what runs inside one."""
