-- Has every connector that uses the source read its credentials again and try them.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connectors.io/reload-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
