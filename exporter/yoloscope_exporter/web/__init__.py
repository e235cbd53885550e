"""The HTTP server and the live page: a Starlette application on uvicorn, in one thread of its own."""
