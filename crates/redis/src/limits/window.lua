-- A sliding window in slices, as `window.rs` of the crate `limit` has it. A counter is a hash: under a slice's number what was used
-- in it; under `p` the slice that was present when it was last looked at, under `t` the sum, and under `n` the newest slice that
-- something was used in.
local SLICES = 32
-- The largest integer that a number holds exactly: what is more stays that.
local TOP = 9007199254740991

-- Brings sum and newest slice of a counter up to date from its slices, those that are in the window.
local function scan(it)
  local all = redis.call('HGETALL', it.key)
  local slices, gone = {}, {}
  it.total, it.newest = 0, 0
  for at = 1, #all, 2 do
    local number = tonumber(all[at])
    if number then
      if it.present - number > SLICES then
        gone[#gone + 1] = all[at]
      else
        local used = tonumber(all[at + 1])
        slices[#slices + 1] = { number, used }
        it.total = math.min(it.total + used, TOP)
        it.newest = math.max(it.newest, number)
      end
    end
  end
  if #gone > 0 then
    redis.call('HDEL', it.key, unpack(gone))
  end
  return slices
end

local function look(key, slice, now)
  local it = { key = key, slice = slice, present = math.floor(now / slice), total = 0, newest = 0, used = 0 }
  local known = redis.call('HMGET', key, 'p', 't', 'n', string.format('%.0f', it.present))
  local present = tonumber(known[1])
  if not present then
    it.fresh = true
  elseif present == it.present then
    it.total, it.newest, it.used = tonumber(known[2]), tonumber(known[3]), tonumber(known[4] or 0)
  elseif it.present < present then
    -- A moment behind: time stands still until it has caught up.
    it.present, it.total, it.newest = present, tonumber(known[2]), tonumber(known[3])
    it.used = tonumber(redis.call('HGET', key, string.format('%.0f', present)) or 0)
  else
    scan(it)
    redis.call('HSET', key, 'p', it.present, 't', it.total, 'n', it.newest)
  end
  return it
end

-- When a slice has left the window: it is one slice long itself.
local function left_at(it, number)
  return (number + SLICES + 1) * it.slice
end

local function count(it, amount, now)
  if amount == 0 then
    return
  end
  local first = it.used == 0
  it.used = math.min(it.used + amount, TOP)
  it.total = math.min(it.total + amount, TOP)
  it.newest = it.present
  redis.call('HSET', it.key, 'p', it.present, 't', it.total, 'n', it.newest, string.format('%.0f', it.present), it.used)
  if first then
    redis.call('PEXPIRE', it.key, math.ceil((left_at(it, it.present) - now) / 1000) + 1000)
  end
end

-- In what time nothing counts any more.
local function reset(it, now)
  if it.newest == 0 then
    return 0
  end
  return math.max(left_at(it, it.newest) - now, 0)
end
