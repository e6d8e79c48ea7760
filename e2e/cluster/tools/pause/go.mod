module mcp-connectors.io/e2e/tools/pause

go 1.27.0
