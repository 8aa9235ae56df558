"""Running the bot as a service: logs, the audit mirror, metrics, systemd, files that survive a power cut."""
