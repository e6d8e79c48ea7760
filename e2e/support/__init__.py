"""What the stories and the demo share: kubectl, waiting, connectors, Vault and MCP clients."""
