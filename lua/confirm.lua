#!lua flags=allow-oom
-- Let go of rows that a block holds: only exact (field, stamp) matches leave, now or when their window expires.
--
-- KEYS     1 rows       hash: field -> stamp 26 B, kind 1 B, payload
--          2 lists      hash: length of the dictionary -> its digest; for older rows list identity -> series keys
--          3 dictionary hash: series key -> index
--          4 windows    source hash: window token -> c (all of the window's rows are here, if the lane is whole and has
--                       the token behind the comma still) or p (perhaps not), its expiry, ms, 0 while it has unsealed
--                       rows, "," and the token
--          5 due        lane sorted set: window member -> due time, ms
--          6 claims     lane hash: window member -> end of its lease, ms
--          7 since      lane sorted set: window member -> when its first row that no block holds came to the stream, ms
-- ARGV     1 member     the window in due and claims
--          2 token      the window in windows
--          3 expiry     when the whole window expires if all rows match, ms; 0: it has ended long ago
--          4 again      when the window is due again if rows remain that no block holds, ms
--          5 frees      1: delete the matching rows now; until its expiry the window is p, also if no row is left
--          then pairs: field, stamp
-- RETURNS  1 if the window has no unsealed row left, else 0
-- EFFECTS  matching rows leave, or the whole window gets its expiry; due, claims, since and windows follow
-- COST     O(pairs)

local rows, lists, dictionary, windows = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local due_key, claims, since = KEYS[5], KEYS[6], KEYS[7]
local member, token, expiry, again, frees = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == "1"
local STAMP_BYTES = 26
local PARTIAL = "p"

-- What a window's entry is made of: c or p, its expiry, and the rest.
local function parts(entry)
  return string.match(entry, "^(.)(%d*)(.*)$")
end

-- Tokens of expired windows go; the hash itself expires with the last of them unless a window is unsealed.
local function tidy()
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local all, last = redis.call("HGETALL", windows), 0
  for i = 1, #all, 2 do
    local _, expires = parts(all[i + 1])
    local ends = tonumber(expires)
    if ends > 0 and ends <= now then redis.call("HDEL", windows, all[i]) end
    if ends == 0 then last = math.huge end
    last = math.max(last, ends)
  end
  if last > now and last < math.huge then redis.call("PEXPIREAT", windows, string.format("%.0f", last)) end
end

local function matches(field, stamp)
  local row = redis.call("HGET", rows, field)
  return row and string.sub(row, 1, STAMP_BYTES) == stamp
end

local matched = 0
for i = 6, #ARGV, 2 do
  if matches(ARGV[i], ARGV[i + 1]) then
    matched = matched + 1
    if frees then redis.call("HDEL", rows, ARGV[i]) end
  end
end
redis.call("HDEL", claims, member)
local left = redis.call("HLEN", rows)
local held = redis.call("HGET", windows, token)
if not frees and left == matched then
  for _, key in ipairs({ rows, lists, dictionary }) do redis.call("PEXPIREAT", key, expiry) end
  local kind, _, generation = parts(held or PARTIAL)
  redis.call("HSET", windows, token, kind .. expiry .. generation)
elseif left > 0 then
  -- Its expiry stays: another sealer may have let the whole window expire meanwhile, and then nothing is unsealed.
  if frees and held then
    local _, expires = parts(held)
    redis.call("HSET", windows, token, PARTIAL .. expires)
  end
  redis.call("ZADD", due_key, "XX", again, member)
  return 0
else
  redis.call("DEL", lists, dictionary)
  -- A window that may get rows again stays known, or it would look as if it had only begun.
  if held and expiry ~= "0" then
    redis.call("HSET", windows, token, PARTIAL .. expiry)
  else
    redis.call("HDEL", windows, token)
  end
end
redis.call("ZREM", due_key, member)
redis.call("ZREM", since, member)
tidy()
return 1
