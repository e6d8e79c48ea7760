-- What has no pod can't be asked. What it was asked last stands in status.requests.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
local actions = {}
actions["probe-now"] = { ["disabled"] = suspended }
actions["reload-credentials"] = { ["disabled"] = suspended }
actions["restart"] = { ["disabled"] = suspended }
actions["suspend"] = { ["disabled"] = suspended }
actions["resume"] = { ["disabled"] = not suspended }
return actions
