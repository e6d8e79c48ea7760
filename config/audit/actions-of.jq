# What one caller did: jq --arg caller system:serviceaccount:agents:triage
.[]
| select(.type == "io.mcp-connectors.tool_call.result" and .data.actor.user.name == $caller)
| {time, tool: .data.api.operation, arguments: .data.unmapped.arguments, outcome: .data.unmapped.outcome}
