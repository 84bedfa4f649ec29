#!lua flags=allow-oom
-- Claim one due window for a sealer, so that others leave it alone for a while; this saves work and is not the safety.
--
-- KEYS     1 due        lane sorted set: window member -> due time, ms
--          2 claims     lane hash: window member -> end of its lease by the server's clock, ms
-- ARGV     1 member     the window
--          2 lease      ms
-- RETURNS  1 if the window is due still and now claimed, else 0
-- EFFECTS  the member's lease
-- COST     O(1)

local due_key, claims = KEYS[1], KEYS[2]
local member, lease = ARGV[1], tonumber(ARGV[2])
if not redis.call("ZSCORE", due_key, member) then return 0 end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if tonumber(redis.call("HGET", claims, member) or 0) > now then return 0 end
redis.call("HSET", claims, member, string.format("%.0f", now + lease))
return 1
