#!lua
-- Put messages into a queue that its table has; one that is in the queue already stays where it is.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
-- ARGV     1 token      of the caller, written so that a WAIT behind this call covers what an earlier one stored
--          then three for each message: id, number, due time (ms, 0 at once)
-- RETURNS  the state: w, r (not taken, it is being built), or l (not taken, it was not built on this master)
-- EFFECTS  the messages are ready, or delayed
-- COST     O(messages)

local state_key, ready, delayed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token = ARGV[1]
local SECTION, WHOLE, LOST = "replication", "w", "l"
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s", "q")
if state[1] ~= master then return LOST end
if state[2] ~= WHOLE then return state[2] end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local highest = tonumber(state[3])
for i = 2, #ARGV, 3 do
  local id, number, due = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  highest = math.max(highest, number)
  local known = redis.call("ZSCORE", leases, id) or redis.call("ZSCORE", ready, id)
  if not known and due > now then
    redis.call("ZADD", delayed, "NX", string.format("%.0f", due), id)
  elseif not known and not redis.call("ZSCORE", delayed, id) then
    redis.call("ZADD", ready, "NX", string.format("%.0f", number), id)
  end
end
redis.call("HSET", state_key, "w", token, "q", string.format("%.0f", highest))
return WHOLE
