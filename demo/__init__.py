"""A whole federation on one machine, each part its own process.

`python -m demo` starts PostgreSQL, RabbitMQ, the networks' registries, the syncs and a notify, loads places,
and stops all of them when it ends, in whatever way it ends. It talks to the services by their command lines
and HTTP only, as an operator would.
"""
