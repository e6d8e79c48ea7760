"""What proves that connectors speak MCP: the official conformance suites and the MCP inspector."""
