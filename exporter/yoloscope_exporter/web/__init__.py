"""The web side: a Starlette application on uvicorn's parser, in one thread of its own."""
