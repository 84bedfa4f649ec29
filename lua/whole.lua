#!lua flags=allow-oom
-- Call a lane whole behind its fence: everything before the fence has been replayed, and nothing was lost meanwhile.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
-- ARGV     1 token      of the replay
-- RETURNS  1 if the lane is whole, 0 if it was lost again since the replay began, or is in another one
-- EFFECTS  state becomes whole if it has the token
-- COST     O(1)

local state_key, token = KEYS[1], ARGV[1]
local WHOLE, STATE_BYTES = "w", 27
local held = redis.call("GET", state_key) or ""
local whole = string.sub(held, 1, 1) == WHOLE
if not whole and token ~= "" and string.sub(held, STATE_BYTES + 1) == token then
  held, whole = WHOLE .. string.sub(held, 2), true -- its token stays: windows of an earlier one are not complete
end
-- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
if held ~= "" then redis.call("SET", state_key, held) end
return whole and 1 or 0
