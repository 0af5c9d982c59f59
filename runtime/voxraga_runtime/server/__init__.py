"""The model server: serves one VoiceModel over HTTP."""
