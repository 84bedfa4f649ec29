#!lua flags=no-writes
-- Read some series of one source out of its windows in Redis, newest first.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
--          2 windows    source hash: window token -> c (all of the window's rows are here, if the lane is whole and has
--                       the token behind the comma still) or p (perhaps not), its expiry, ms, "," and the token
--          then three for each declared window, newest first:
--          rows         hash: field (ts i64 BE, list identity 8 B) -> stamp 26 B, kind 1 B, payload
--          lists        hash, for older rows: list identity -> series keys, one a line; other fields are digests
--          dictionary   hash: series key -> index
-- ARGV     1 from       first ts, ms
--          2 to         last ts, ms
--          3 newest     1: only the samples of each series' newest ts
--          4 budget     bytes of rows to look at before the call ends early; what must be searched counts more
--          5 declared   number of declared windows, then their tokens in the order of KEYS
--          then the series keys
-- RETURNS  {state (w, r, or "" if none), tokens, next, found, samples, complete, deletes, master}: tokens of all windows of the
--          source; next: ts (ms) below which the reading goes on in another call, -1 if nothing is left; found: for each series
--          1 if a list or dictionary of a declared window has it; samples: for each series ts i64 BE, stamp, float64,
--          concatenated, one entry for each row that has it; complete: tokens of the declared windows of which all
--          rows are here; deletes: those of the windows that were looked at, as values of rows; master: the replication id
--          of the node that this was read from
-- EFFECTS  none
-- COST     O(fields + rows looked at + series of older lists)

local state_key, windows = KEYS[1], KEYS[2]
local from, to, newest, budget = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == "1", tonumber(ARGV[4])
local declared = tonumber(ARGV[5])
local HEAD, CHUNK, LIST_BYTES = 27, 16, 8
local DENSE, SPARSE, RUNS, BITMAP = 0, 1, 3, 4
local SEARCHED = 24 -- measured: a byte of a bitmap that a script looks at takes as long as so many that it copies
local TS_MS_MAX = 2^53 -- a delete is after it
local SECTION = "replication"
local COMPLETE, WHOLE, STATE_BYTES = "c", "w", 27
local series, wanted, found, deletes = {}, {}, {}, {}
for i = 6 + declared, #ARGV do
  series[#series + 1] = ARGV[i]
  wanted[ARGV[i]] = #series
  found[#series] = 0
end

-- include offsets
-- include samples
begin_samples(#series)

-- Where the wanted series stand in each older list: list identity -> {{number of the series, offset in the row}, ...}.
local function places(lists)
  local all = redis.call("HGETALL", lists)
  local result = {}
  for i = 1, #all, 2 do
    local here, position = {}, 0
    for name in string.gmatch(#all[i] == LIST_BYTES and all[i + 1] or "", "[^\n]+") do
      local number = wanted[name]
      if number then
        here[#here + 1] = {number, HEAD + 8 * position}
        found[number] = 1
      end
      position = position + 1
    end
    result[all[i]] = here
  end
  return result
end

-- The wanted series of the dictionary: {{number of the series, index}, ...}, ascending by index.
local function indexes(dictionary)
  local result = {}
  if redis.call("EXISTS", dictionary) == 0 then return result end
  for number = 1, #series do
    local index = redis.call("HGET", dictionary, series[number])
    if index then
      found[number] = 1
      result[#result + 1] = {number, tonumber(index)}
    end
  end
  table.sort(result, function(a, b) return a[2] < b[2] end)
  return result
end

-- Takes the wanted samples of a row; how many bytes that was like.
local function take_row(field, ts, row, here, by_index)
  local kind, cost = string.byte(row, HEAD), #row
  local head = string.sub(field, 1, 8) .. string.sub(row, 1, HEAD - 1)
  local function take(number, offset) keep(number, ts, head .. string.sub(row, offset + 1, offset + 8), newest) end
  if kind == RUNS then
    in_runs(row, by_index, take)
    cost = cost + SEARCHED * struct.unpack("<I2", row, HEAD + 1)
  elseif kind == BITMAP then
    in_bitmap(row, by_index, take)
    local _, bytes = struct.unpack("<I4I4", row, HEAD + 1)
    cost = cost + SEARCHED * bytes
  elseif kind == DENSE then
    in_list(here or {}, take)
  elseif kind == SPARSE then
    in_pairs(row, by_index, take)
    cost = cost * (1 + #by_index / 8) -- measured: eight searches take as long as the rest
  else
    error("row of kind " .. kind .. "; this code knows up to " .. BITMAP)
  end
  return cost
end

-- Fields of a window that can hold a wanted series, newest first: {{ts, field}, ...}.  Takes the deletes on the way:
-- where there is one, the newest sample of a series may be one that it concerns.
local function fields(rows, by_list, by_index)
  local result = {}
  for _, field in ipairs(redis.call("HKEYS", rows)) do
    local ts = struct.unpack(">i8", field)
    local here = by_list[string.sub(field, 9)]
    local possible = here and #here > 0 or not here and #by_index > 0
    if ts > TS_MS_MAX then
      deletes[#deletes + 1] = redis.call("HGET", rows, field)
      newest = false
    elseif possible and ts >= from and ts <= to then
      result[#result + 1] = {ts, field}
    end
  end
  table.sort(result, function(a, b) return a[1] > b[1] end)
  return result
end

local function complete()
  return newest and all_have_newest()
end

local next_ts = -1
local function read_window(rows, lists, dictionary)
  local by_list, by_index = places(lists), indexes(dictionary)
  local todo = fields(rows, by_list, by_index)
  local first = 1
  while first <= #todo and not complete() do
    local last = math.min(first + CHUNK - 1, #todo)
    while last < #todo and todo[last + 1][1] == todo[last][1] do last = last + 1 end
    for i = first, last do
      local ts, field = todo[i][1], todo[i][2]
      local row = redis.call("HGET", rows, field)
      budget = budget - take_row(field, ts, row, by_list[string.sub(field, 9)], by_index)
    end
    if budget < 0 and last < #todo then
      next_ts = todo[last][1]
      return
    end
    first = last + 1
  end
end

local lane = redis.call("GET", state_key) or ""
local state, generation = string.sub(lane, 1, 1), string.sub(lane, STATE_BYTES + 1)
local tokens, complete_tokens = redis.call("HKEYS", windows), {}
for i = 0, declared - 1 do
  local held = redis.call("HGET", windows, ARGV[6 + i]) or ""
  local covers = state == WHOLE and string.match(held, "^" .. COMPLETE .. "%d+,?(.*)$") == generation
  if covers and redis.call("EXISTS", KEYS[3 + 3 * i]) == 1 then
    complete_tokens[#complete_tokens + 1] = ARGV[6 + i]
  end
  if next_ts < 0 and not complete() then read_window(KEYS[3 + 3 * i], KEYS[4 + 3 * i], KEYS[5 + 3 * i]) end
end
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
return {state, tokens, next_ts, found, samples_of_each(), complete_tokens, deletes, master}
