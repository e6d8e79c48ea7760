-- Follows kstatus: Reconciling is work in progress and absent unless True.
-- A condition that speaks of an older generation says nothing about what was just synced.
local health = { status = "Progressing", message = "Waiting for the operator to look at it." }
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration == nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation then
  health.message = "Waiting for the operator to look at the newest generation."
  return health
end
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      return { status = "Healthy", message = condition.message }
    end
    local message = condition.reason .. ": " .. condition.message
    if condition.status == "False" then
      return { status = "Degraded", message = message }
    end
    return { status = "Progressing", message = message }
  end
end
return health
