# How often each tool was called.
map(select(.type == "io.mcp-connectors.tool_call.attempt"))
| group_by(.data.api.operation)
| map({key: .[0].data.api.operation, value: length})
| sort_by(-.value)
| from_entries
