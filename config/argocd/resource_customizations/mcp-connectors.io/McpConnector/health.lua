-- Follows kstatus: Reconciling is work in progress, Stalled is the end, and both are absent unless True.
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

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return { status = "Degraded", message = conditions.Stalled.reason .. ": " .. conditions.Stalled.message }
end
if ready == nil then
  return health
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
local message = ready.reason .. ": " .. ready.message
if ready.status == "False" then
  if ready.reason == "Suspended" or ready.reason == "ScaledToZero" then
    return { status = "Suspended", message = ready.message }
  end
  return { status = "Degraded", message = message }
end
return { status = "Progressing", message = message }
