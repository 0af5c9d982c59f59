"""Our server beside coqui's own tts-server: same model, same machine, one run, one table (`make bench`)."""
