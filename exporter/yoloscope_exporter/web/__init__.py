"""The HTTP server: a Starlette application on uvicorn, in one thread of its own."""
