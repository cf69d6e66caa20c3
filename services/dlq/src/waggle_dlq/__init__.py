"""The service of the dead letter queue: retention, automatic retries, redrives, and the commands of operators."""
