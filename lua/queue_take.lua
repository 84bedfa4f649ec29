#!lua flags=allow-oom
-- Lease the first ready messages of a queue.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
--          5 tries      queue hash: id -> how often it was leased
--          6 tokens     queue hash: id -> token of its lease
-- ARGV     1 token      of these leases
--          2 most       messages
--          3 lease      ms
--          4 limit      tries of a message
-- RETURNS  {state (w, r, l if it was not built on this master, n if the table must note first what is taken: second is
--          the number), number, leased: id, tries, ...; worn out: ids that had all their tries, leased as well}
-- EFFECTS  delayed messages that are due, and those whose lease is over, are ready; the first ones are leased
-- COST     O(messages moved)

local state_key, ready, delayed, leases, tries, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local token, most, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local SECTION, WHOLE, LOST, UNNOTED, MOVES, DIGITS = "replication", "w", "l", "n", 200, 16
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s", "t", "l")
if state[1] ~= master then return {LOST, 0, {}, {}} end
if state[2] ~= WHOLE then return {state[2], 0, {}, {}} end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function wake(from)
  local some = redis.call("ZRANGE", from, "-inf", string.format("%.0f", now), "BYSCORE", "LIMIT", 0, MOVES, "WITHSCORES")
  for i = 1, #some, 2 do
    redis.call("ZREM", from, some[i])
    redis.call("HDEL", tokens, some[i])
    redis.call("ZADD", ready, "NX", string.sub(some[i], 1, DIGITS), some[i])
  end
end

wake(delayed)
wake(leases)
local noted = tonumber(state[3])
local first = redis.call("ZRANGE", ready, "-inf", "+inf", "BYSCORE", "LIMIT", 0, most, "WITHSCORES")
if #first > 0 and lease > tonumber(state[4]) then return {UNNOTED, math.max(noted, tonumber(first[#first])), {}, {}} end
local leased, worn = {}, {}
for i = 1, #first, 2 do
  local id, number = first[i], tonumber(first[i + 1])
  if number > noted then
    if i == 1 then return {UNNOTED, number, {}, {}} end
    break
  end
  local count = tonumber(redis.call("HGET", tries, id) or 0) + 1
  if count > limit then
    worn[#worn + 1] = id
  else
    redis.call("HSET", tries, id, count)
    leased[#leased + 1] = id
    leased[#leased + 1] = count
  end
  redis.call("ZREM", ready, id)
  redis.call("ZADD", leases, "NX", string.format("%.0f", now + lease), id)
  redis.call("HSET", tokens, id, token)
end
-- Written even when nothing is ready: only with a WAIT behind it is an empty queue known to be empty.
redis.call("HSET", state_key, "w", token)
return {WHOLE, 0, leased, worn}
