#!lua flags=allow-oom
-- Let messages up to a number be taken, and leases be as long as given: the table has noted it.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
-- ARGV     1 taken      the highest number that may be taken
--          2 lease      ms
-- RETURNS  1 if the queue has a state here, else 0
-- EFFECTS  both grow, and never shrink
-- COST     O(1)

local state_key = KEYS[1]
local taken, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local noted = redis.call("HMGET", state_key, "t", "l")
if not noted[1] then return 0 end
taken, lease = math.max(taken, tonumber(noted[1])), math.max(lease, tonumber(noted[2]))
redis.call("HSET", state_key, "t", string.format("%.0f", taken), "l", string.format("%.0f", lease))
return 1
