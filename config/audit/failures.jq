# Calls that failed or were refused, in the order in which they ended.
.[]
| select(.type == "io.mcp-connectors.tool_call.result" and .data.unmapped.outcome != "success")
| {time, caller: .data.actor.user.name, tool: .data.api.operation, outcome: .data.unmapped.outcome,
   why: .data.status_code, request: .data.api.request.uid}
