-- The samples that a read collects: of all rows, or of each series only those of its newest ts.

local collected, newest_ts = {}, {}

local function begin_samples(count)
  for number = 1, count do collected[number] = {} end
end

-- Keeps one sample: packed as ts i64 BE, stamp, float64.
local function keep(number, ts, packed, newest)
  if newest then
    local known = newest_ts[number]
    if known and known > ts then return end
    if known and known < ts then collected[number] = {} end
    newest_ts[number] = ts
  end
  local mine = collected[number]
  mine[#mine + 1] = packed
end

-- Whether each series has a newest sample, so that older rows need no look.
local function all_have_newest()
  for number = 1, #collected do
    if not newest_ts[number] then return false end
  end
  return true
end

local function samples_of_each()
  local result = {}
  for number = 1, #collected do result[number] = table.concat(collected[number]) end
  return result
end
