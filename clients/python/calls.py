"""Uses the client that openapi-python-client generates: submits a task, lists it, and reads a refusal. Prints what it saw as JSON."""

import json
import sys

from generated import AuthenticatedClient
from generated.api.tasks import tasks_create, tasks_listing
from generated.models import CreateTask, CreateTaskPayload, Problem, Task, TaskPage, TasksListingPriorityType1

address, key = sys.argv[1:]
client = AuthenticatedClient(base_url=address, token=key)

payload = CreateTaskPayload.from_dict({"hello": "world"})
made = tasks_create.sync(client=client, body=CreateTask(type_="demo.echo", payload=payload, priority=2))
assert isinstance(made, Task), made
page = tasks_listing.sync(client=client, type_=["demo.echo"], priority=TasksListingPriorityType1.HIGH, limit=10)
assert isinstance(page, TaskPage), page
refused = tasks_create.sync(client=client, body=CreateTask(type_="demo.ehco"))
assert isinstance(refused, Problem), refused
print(json.dumps({"id": str(made.id), "status": made.status, "listed": [str(task.id) for task in page.items], "refused": refused.code}))
