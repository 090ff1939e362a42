-- The time in microseconds, which never goes back: where the server's clock was set back, time goes on from where it was, and an
-- offset is kept from then on. KEYS[1] holds the latest time that was seen (to 0.1 s) and the offset.
local function clock(given)
  local now = tonumber(given)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
  end
  local known = redis.call('GET', KEYS[1])
  local latest, offset = 0, 0
  if known then
    latest, offset = string.match(known, '^(%d+) (%d+)$')
    latest, offset = tonumber(latest), tonumber(offset)
  end
  now = now + offset
  if now < latest then
    offset = offset + latest - now
    now = latest
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, offset))
  elseif now > latest + 100000 or not known then
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, offset))
  end
  return now
end
