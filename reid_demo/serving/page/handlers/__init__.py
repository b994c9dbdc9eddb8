"""What one click does, without Gradio: `(engine, session, inputs) -> Session`, and a session to what is shown."""
