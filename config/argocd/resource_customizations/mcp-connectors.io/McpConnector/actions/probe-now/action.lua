-- Has every replica probe its platform at once.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mcp-connectors.io/probe-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
