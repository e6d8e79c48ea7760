-- Has the pods replaced, one by one.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connectors.io/restarted-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
