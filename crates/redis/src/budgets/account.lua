-- An account is a hash. `k`: how spending is forgotten; `sd sp`, `hd hp`, `ud up`: what is spent, held, and of what is spent
-- unreconciled, in dollars and pico-dollars; `o`: how many holds are open; `x y`: for the calendar the period's first second and its
-- end in microseconds, for a rolling window the slice that was current when it was last brought up to date and the oldest slice
-- there is (or -1). In a rolling window also `b` and a slice's number: its part of spent and unreconciled. By the calendar also
-- `z zd zp`: what was posted as unreconciled after the last period that was named had ended, until the next is named, and the second
-- when.
local SLICES, HOUR = 64, 3600000

-- Where a claim's arguments begin that say how an account's spending is forgotten: a letter and four numbers.
--   l           never
--   r length    rolling, in slices of that many microseconds
--   c s e s e   by the calendar: the first second and the end in microseconds of two periods, one after the other
local function window_at(list, at)
  return { kind = list[at], a = tonumber(list[at + 1]), b = tonumber(list[at + 2]), c = tonumber(list[at + 3]), d = tonumber(list[at + 4]) }
end

local function period(window, now)
  if now < window.b then
    return window.a, window.b
  end
  return window.c, window.d
end

local function part(text)
  local d, p, ud, up = string.match(text, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(d), tonumber(p), tonumber(ud), tonumber(up)
end

local function field(slice)
  return 'b' .. string.format('%.0f', slice)
end

local function put(it, slice, d, p, ud, up)
  it.parts[field(slice)] = string.format('%.0f %.0f %.0f %.0f', d, p, ud, up)
end

-- The part of a slice, also if it is not written yet.
local function slice_of(it, slice)
  local name = field(slice)
  local known = it.parts[name] or (it.exists and not it.gone[name] and redis.call('HGET', it.key, name))
  if known then
    return part(known)
  end
end

-- Forgets the slices that have left the window wholly.
local function forget(it)
  local all = redis.call('HGETALL', it.key)
  it.sd, it.sp, it.ud, it.up, it.y = 0, 0, 0, 0, -1
  for at = 1, #all, 2 do
    local slice = tonumber(string.match(all[at], '^b(%-?%d+)$'))
    if slice then
      if slice < it.x - SLICES then
        it.gone[all[at]] = true
      else
        local d, p, ud, up = part(all[at + 1])
        it.sd, it.sp = add(it.sd, it.sp, d, p)
        it.ud, it.up = add(it.ud, it.up, ud, up)
        if it.y == -1 or slice < it.y then
          it.y = slice
        end
      end
    end
  end
end

-- An account as it is now; nothing is written.
local function look(key, window, now)
  local it = { key = key, window = window, now = now, kind = window.kind, parts = {}, gone = {} }
  if it.kind == 'r' then
    it.kind = 'r' .. string.format('%.0f', window.a)
  end
  local v = redis.call('HMGET', key, 'k', 'sd', 'sp', 'hd', 'hp', 'ud', 'up', 'o', 'x', 'y')
  it.exists = v[1] and true or false
  it.sd, it.sp, it.hd, it.hp = tonumber(v[2] or 0), tonumber(v[3] or 0), tonumber(v[4] or 0), tonumber(v[5] or 0)
  it.ud, it.up, it.o = tonumber(v[6] or 0), tonumber(v[7] or 0), tonumber(v[8] or 0)
  it.x, it.y = tonumber(v[9] or 0), tonumber(v[10] or 0)
  it.was_open = it.o > 0
  local same = v[1] == it.kind
  if window.kind == 'c' then
    local start, stop = period(window, now)
    if not same then
      it.x, it.y = start, stop
    elseif now >= it.y and stop > it.y then
      -- Time that steps back stays in the later period.
      it.x, it.y = start, stop
      it.sd, it.sp, it.ud, it.up = 0, 0, 0, 0
      local late = redis.call('HMGET', key, 'z', 'zd', 'zp')
      if late[1] then
        it.gone.z, it.gone.zd, it.gone.zp = true, true, true
        if tonumber(late[1]) >= start then
          it.sd, it.sp = tonumber(late[2]), tonumber(late[3])
          it.ud, it.up = it.sd, it.sp
        end
      end
    end
  elseif window.kind == 'r' then
    local current = math.floor(now / window.a)
    if not same then
      it.x, it.y = current, -1
    elseif current ~= it.x then
      it.x = current
      forget(it)
    end
  end
  if v[1] and not same then
    -- Somebody counts in one account by two windows: nothing that counts is lost.
    for _, name in ipairs(redis.call('HKEYS', key)) do
      if string.match(name, '^[bz]') then
        it.gone[name] = true
      end
    end
    if window.kind == 'r' and (it.sd > 0 or it.sp > 0) then
      it.y = it.x
      put(it, it.x, it.sd, it.sp, it.ud, it.up)
    end
  end
  return it
end

-- Posts an amount, of which so much as unreconciled, and gives the bucket it was posted under.
local function post(it, d, p, ud, up)
  it.sd, it.sp = add(it.sd, it.sp, d, p)
  it.ud, it.up = add(it.ud, it.up, ud, up)
  if it.window.kind ~= 'r' then
    return it.window.kind == 'c' and it.x or 0
  end
  if d > 0 or p > 0 then
    local d2, p2, ud2, up2 = slice_of(it, it.x)
    d, p = add(d, p, d2 or 0, p2 or 0)
    ud, up = add(ud, up, ud2 or 0, up2 or 0)
    put(it, it.x, d, p, ud, up)
    if it.y == -1 or it.x < it.y then
      it.y = it.x
    end
  end
  return it.x
end

-- Posts an amount as unreconciled. As nobody names the present period of the calendar, it may be one that is not known.
local function post_expired(it, d, p)
  if it.window.kind ~= 'c' or it.now < it.y then
    return post(it, d, p, d, p)
  end
  local second = math.floor(it.now / 1000000)
  local late = redis.call('HMGET', it.key, 'zd', 'zp')
  d, p = add(d, p, tonumber(late[1] or 0), tonumber(late[2] or 0))
  it.parts.z, it.parts.zd, it.parts.zp = second, d, p
  return second
end

-- Puts a charge in the place of what was posted under a bucket as unreconciled, if that still counts.
local function correct(it, bucket, d, p, d2, p2)
  if it.window.kind == 'c' and (bucket < it.x or bucket * 1000000 >= it.y) then
    return
  end
  if it.window.kind == 'r' then
    if bucket < it.x - SLICES then
      return
    end
    local d3, p3, ud, up = slice_of(it, bucket)
    if d3 then
      d3, p3 = replace(d3, p3, d, p, d2, p2)
      ud, up = sub(ud, up, d, p)
      put(it, bucket, d3, p3, ud, up)
    elseif d2 > 0 or p2 > 0 then
      put(it, bucket, d2, p2, 0, 0)
      if it.y == -1 or bucket < it.y then
        it.y = bucket
      end
    end
  end
  it.sd, it.sp = replace(it.sd, it.sp, d, p, d2, p2)
  it.ud, it.up = sub(it.ud, it.up, d, p)
end

-- Writes an account. It expires when nothing is held in it and nothing that was spent counts any more.
local function save(it)
  local window = it.window.kind
  if it.o == 0 and it.sd == 0 and it.sp == 0 and not it.parts.z and (window ~= 'r' or not it.exists) then
    if it.exists then
      redis.call('DEL', it.key)
    end
    return
  end
  local list = { 'k', it.kind, 'sd', it.sd, 'sp', it.sp, 'hd', it.hd, 'hp', it.hp, 'ud', it.ud, 'up', it.up, 'o', it.o, 'x', it.x, 'y', it.y }
  for name, text in pairs(it.parts) do
    list[#list + 1] = name
    list[#list + 1] = text
    it.gone[name] = nil
  end
  redis.call('HSET', it.key, unpack(list))
  local gone = {}
  for name in pairs(it.gone) do
    gone[#gone + 1] = name
  end
  if #gone > 0 then
    redis.call('HDEL', it.key, unpack(gone))
  end
  if it.o > 0 or window == 'l' then
    if it.exists and not it.was_open then
      redis.call('PERSIST', it.key)
    end
  elseif window == 'c' then
    local left = it.y - it.now
    if left <= 0 then
      -- Another period like it.
      left = it.y - it.x * 1000000
    end
    redis.call('PEXPIRE', it.key, math.ceil(left / 1000) + HOUR)
  else
    redis.call('PEXPIRE', it.key, math.ceil(it.window.a * (SLICES + 1) / 1000) + HOUR)
  end
end

-- When what is spent is forgotten, wholly or in part; -1 when it never is.
local function resets_at(it)
  if it.window.kind == 'c' then
    return it.y
  elseif it.window.kind == 'r' and it.y >= 0 then
    return (it.y + SLICES + 1) * it.window.a
  end
  return -1
end

-- The accounts of a hold, as its record names them, with the buckets of what was posted.
local function lines_of(text)
  local list = {}
  for word in string.gmatch(text, '%S+') do
    list[#list + 1] = word
  end
  return list
end
