#!lua
-- Store the rows of one lane; a newer arrival stamp wins, an equal one changes nothing.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
--          2 due        lane sorted set: window member -> due time, ms
--          3 since      lane sorted set: window member -> when its first row that no block holds came to the stream, ms
--          then four for each group (one source and window):
--          rows         hash: field (ts i64 BE, list identity 8 B) -> stamp 26 B, kind 1 B, payload
--          lists        hash: length of the dictionary after an append (u32 BE) -> digest of it up to there; for older
--                       rows list identity -> series keys, one a line
--          dictionary   hash: series key -> index, by which rows name their series
--          windows      source hash: window token -> c (all of the window's rows are here, if the lane is whole and has
--                       the token behind the comma still) or p (perhaps not), its expiry, ms, 0 while it has unsealed
--                       rows, "," and the token
-- ARGV     1 call       highest stamp of this call; highest stamp of this lane that the caller knows to be acknowledged;
--                       and the token that the lane had then: under another one a replay brings that back
--          then for each group
--          head         number of rows n (u32 BE), whether it appends (u8), bytes of the digest (u8), length of the
--                       dictionary that the caller means (u32 BE), its digest, the window's token
--          window       a line each: member, due (ms), fresh (1: the window can't have been sealed yet), when its first
--                       row came to the stream (ms)
--          if it appends: series keys to append, one a line, and the digest after that
--          n times      field, value
-- RETURNS  {lost, stored, token, refused...}: lost 1 if the lane had no state or its highest stamp had gone back; the
--          number of rows that changed; the lane's token; the groups (counted from 1) whose dictionary is another one,
--          of which nothing is stored
-- EFFECTS  a lane that lost something is rebuilding, and in no replay; no window becomes complete in it; a window that
--          opens over one of another length is p, and makes that one p;
--          rows, lists and dictionary lose their expiry when a row of theirs changes; the window becomes due
-- COST     O(rows + series to append), O(windows of the source) for each that opens

local state_key, due_key, since = KEYS[1], KEYS[2], KEYS[3]
local call = ARGV[1]
local STAMP_BYTES, CHUNK = 26, 4000
local stamp, seen = string.sub(call, 1, STAMP_BYTES), string.sub(call, 1 + STAMP_BYTES, 2 * STAMP_BYTES)
local token = string.sub(call, 1 + 2 * STAMP_BYTES)
local EMPTY = "\0\0\0\0"
local WHOLE, REBUILDING = "w", "r"
local COMPLETE, PARTIAL = "c", "p"

-- Lua's < on strings follows the locale; doubles hold 6 bytes exactly.
local function newer(a, b)
  local a1, a2, a3, a4, a5 = struct.unpack(">I6I6I6I6I2", a)
  local b1, b2, b3, b4, b5 = struct.unpack(">I6I6I6I6I2", b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  return a5 > b5
end

local function append(dictionary, series, length)
  local pairs = {}
  for name in string.gmatch(series, "[^\n]+") do
    pairs[#pairs + 1], pairs[#pairs + 2] = name, length
    length = length + 1
    if #pairs >= CHUNK then
      redis.call("HSET", dictionary, unpack(pairs))
      pairs = {}
    end
  end
  if #pairs > 0 then redis.call("HSET", dictionary, unpack(pairs)) end
  return struct.pack(">I4", length)
end

-- Whether the window's dictionary begins as the caller means it; then it has the caller's new series behind that.  An
-- append that a promotion lost may have been followed by another one, so the length alone would say nothing.
local function agrees(lists, dictionary, base, digest, series, digest_after)
  local held = base == EMPTY and digest or redis.call("HGET", lists, base)
  if held == digest and not series then return true end
  local length = redis.call("HLEN", dictionary)
  local is_end = struct.pack(">I4", length) == base
  if not held and is_end then -- older code, which keeps no digests, has appended last
    redis.call("HSET", lists, base, digest)
    held = digest
  end
  if held ~= digest or series and not is_end then return false end
  if series then redis.call("HSET", lists, append(dictionary, series, length), digest_after) end
  return true
end

local function put(rows, field, value)
  if redis.call("HSETNX", rows, field, value) == 1 then return 1 end
  local old = redis.call("HGET", rows, field)
  if not newer(value, old) then return 0 end
  redis.call("HSET", rows, field, value)
  return 1
end

-- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
local held = redis.call("SET", state_key, WHOLE .. stamp .. token, "GET")
local highest = held and string.sub(held, 2, 1 + STAMP_BYTES) or string.rep("\0", STAMP_BYTES)
local generation = held and string.sub(held, 2 + STAMP_BYTES) or ""
local lost = (not held or generation == token and seen ~= highest and newer(seen, highest)) and 1 or 0
local whole = lost == 0 and string.sub(held, 1, 1) == WHOLE
if lost == 1 then generation = "" end
if not whole or generation ~= token or newer(highest, stamp) then
  local newest = newer(stamp, highest) and stamp or highest
  redis.call("SET", state_key, (whole and WHOLE or REBUILDING) .. newest .. generation)
end

local function is_complete(window)
  return string.match(window, "^" .. COMPLETE .. "%d+,?(.*)$") == generation
end

-- Whether the window shares time with one of another length, of before or after a change of that length.  Rows of that
-- time are in either, so that neither has all of its own.
local function overlaps(windows, window)
  local start, length = string.match(window, "^(-?%d+)%+(%d+)$")
  start, length = tonumber(start), tonumber(length)
  local result = false
  for _, other in ipairs(redis.call("HKEYS", windows)) do
    local from, span = string.match(other, "^(-?%d+)%+(%d+)$")
    from, span = tonumber(from), tonumber(span)
    if span ~= length and from < start + length and start < from + span then
      redis.call("HSET", windows, other, PARTIAL .. string.sub(redis.call("HGET", windows, other), 2))
      result = true
    end
  end
  return result
end

local function reopen(rows, lists, dictionary, windows, window, at)
  local held = redis.call("HGET", windows, window)
  local open = held and string.match(held, "^.(%d+)") == "0"
  if open and whole then return end
  local member, due, fresh, arrived = string.match(at, "^(.*)\n(.*)\n(.*)\n(.*)$")
  -- In their order rows only come later; those that a replay brings back came earlier.
  redis.call("ZADD", since, "LT", arrived, member)
  if open then return end
  local kept = redis.call("PERSIST", rows) == 1
  redis.call("PERSIST", lists)
  redis.call("PERSIST", dictionary)
  redis.call("PERSIST", windows)
  local complete = not overlaps(windows, window) and whole and (not held and fresh == "1" or kept and held and is_complete(held))
  local complete_now = COMPLETE .. "0" .. (generation == "" and "" or "," .. generation)
  redis.call("HSET", windows, window, complete and complete_now or PARTIAL .. "0")
  redis.call("ZADD", due_key, "NX", due, member)
end

local result = {lost, 0, generation}
local key, arg, number, total = 4, 2, 0, 0
while arg <= #ARGV do
  local rows, lists, dictionary, windows = KEYS[key], KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
  local head = ARGV[arg]
  local count, appends, length = struct.unpack(">I4I1I1", head)
  local base, digest = string.sub(head, 7, 10), string.sub(head, 11, 10 + length)
  local window = string.sub(head, 11 + length)
  local at, series, digest_after = ARGV[arg + 1], nil, nil
  key, arg, number = key + 4, arg + 2, number + 1
  if appends == 1 then
    series, digest_after = ARGV[arg], ARGV[arg + 1]
    arg = arg + 2
  end
  if agrees(lists, dictionary, base, digest, series, digest_after) then
    local stored = 0
    for i = arg, arg + 2 * count - 2, 2 do stored = stored + put(rows, ARGV[i], ARGV[i + 1]) end
    if stored > 0 then reopen(rows, lists, dictionary, windows, window, at) end
    total = total + stored
  else
    result[#result + 1] = number
  end
  arg = arg + 2 * count
end
result[2] = total
return result
