"""`voxraga bench`: what a server with OpenAI's /v1/audio/speech gives its clients, measured from outside."""
