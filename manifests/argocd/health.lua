-- Argo CD's health of a KerasModel and of a KerasModelVersion: their conditions, and the sentence of their status.
local status = obj.status or {}

if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "keras-operator has not looked at this spec yet"}
end

local holds = {}
for _, condition in ipairs(status.conditions or {}) do
  holds[condition.type] = condition.status == "True"
end

local health = "Progressing"
if holds.Stalled then
  health = "Degraded"
elseif holds.Ready then
  health = "Healthy"
elseif status.phase == "Suspended" then
  health = "Suspended"
end
return {status = health, message = status.message}
