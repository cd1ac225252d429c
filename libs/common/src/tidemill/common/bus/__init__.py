"""The bus: JetStream in, one transaction, JetStream out, exactly once in effect."""
