"""Administrative tables: who may use the API. No service but the API uses them, and no request for tasks."""
