"""`mcp-connectors local` as people, programs and editors use it. No cluster is needed."""
