-- Amounts as two integers: dollars, and pico-dollars below 10^12. From 2^53 - 1 dollars on it is more money than there is, and stays that.
local TOP, PICO = 9007199254740991, 1000000000000

local function add(d, p, d2, p2)
  d, p = d + d2, p + p2
  if p >= PICO then
    d, p = d + 1, p - PICO
  end
  if d >= TOP then
    return TOP, 0
  end
  return d, p
end

local function less(d, p, d2, p2)
  return d < d2 or (d == d2 and p < p2)
end

-- At least nothing.
local function sub(d, p, d2, p2)
  if less(d, p, d2, p2) then
    return 0, 0
  end
  d, p = d - d2, p - p2
  if p < 0 then
    d, p = d - 1, p + PICO
  end
  return d, p
end

-- Another amount in the place of one that was posted.
local function replace(d, p, d2, p2, d3, p3)
  if d >= TOP then
    return d, p
  end
  d, p = sub(d, p, d2, p2)
  return add(d, p, d3, p3)
end

-- The time in microseconds, by the server's clock unless it is given.
local function time(given)
  local now = tonumber(given)
  if not now then
    local parts = redis.call('TIME')
    now = parts[1] * 1000000 + parts[2]
  end
  return now
end
