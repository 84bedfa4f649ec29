#!lua flags=allow-oom
-- Let one more taker of a tenant wait for messages, unless too many do.
--
-- KEYS     1 takers     tenant sorted set: taker -> when it is gone at the latest, ms
-- ARGV     1 taker      a name of its own
--          2 span       ms that it waits at most
--          3 limit      takers of a tenant
-- RETURNS  1 if it may wait, else 0
-- EFFECTS  those that are gone leave the set, and the taker enters it
-- COST     O(takers)

local takers = KEYS[1]
local taker, span, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local MOVES, KEPT = 200, 600000
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local gone = redis.call("ZRANGE", takers, "-inf", string.format("%.0f", now), "BYSCORE", "LIMIT", 0, MOVES, "WITHSCORES")
for i = 1, #gone, 2 do redis.call("ZREM", takers, gone[i]) end
if redis.call("ZCARD", takers) >= limit then return 0 end
redis.call("ZADD", takers, "NX", string.format("%.0f", now + span), taker)
redis.call("PEXPIREAT", takers, string.format("%.0f", now + math.max(span, KEPT)))
return 1
