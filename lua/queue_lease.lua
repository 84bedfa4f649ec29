#!lua flags=allow-oom
-- Make leases of messages longer, or end them so that others may take the messages.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 leases     queue sorted set: id -> end of the lease, ms
--          4 tokens     queue hash: id -> token of its lease
-- ARGV     1 lease      ms from now; 0 ends it
--          then two for each message: id, token
-- RETURNS  {state (w, r, l if it was not built on this master, n if the lease is longer than the table noted), for each
--          message 1, or 0 if it is not leased, or under another token}
-- EFFECTS  leases have their new ends; where Redis lost the token, anyone may have the message, so it is only kept longer
-- COST     O(messages)

local state_key, ready, leases, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lease = tonumber(ARGV[1])
local SECTION, WHOLE, LOST, UNNOTED, DIGITS = "replication", "w", "l", "n", 16
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s", "l")
if state[1] ~= master then return {LOST} end
if state[2] ~= WHOLE then return {state[2]} end
if lease > tonumber(state[3]) then return {UNNOTED} end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local result = {WHOLE}
for i = 2, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local ends, known = redis.call("ZSCORE", leases, id), redis.call("HGET", tokens, id)
  local mine = ends and (known or token) == token
  result[#result + 1] = mine and 1 or 0
  if mine and lease > 0 then
    local longest = known and 0 or tonumber(ends)
    redis.call("ZREM", leases, id)
    redis.call("ZADD", leases, "NX", string.format("%.0f", math.max(longest, now + lease)), id)
  elseif mine and known then
    redis.call("ZREM", leases, id)
    redis.call("HDEL", tokens, id)
    redis.call("ZADD", ready, "NX", string.sub(id, 1, DIGITS), id)
  end
end
redis.call("HSET", state_key, "w", ARGV[#ARGV])
return result
