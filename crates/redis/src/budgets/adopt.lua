-- KEYS: the open holds by their expiry; then for each hold the hold, the ids that have ended, and the accounts.
-- ARGV: the time or '', the time to live in microseconds; then for each hold the id in hex and as bytes, the amount that it has at least,
-- how many accounts there are, and of each its name and window. Whatever fits: it was given without this server.
local now, ttl = time(ARGV[1]), tonumber(ARGV[2])
local at, key = 3, 2

local function adopt(hex, raw, d, p, n)
  local hold = KEYS[key]
  local known = redis.call('HMGET', hold, 's', 'd', 'p', 'n')
  local names = {}
  for i = 1, n do
    names[i] = ARGV[at + 6 * (i - 1)]
  end
  names = table.concat(names, ' ')
  if redis.call('SISMEMBER', KEYS[key + 1], raw) == 1 or known[1] == 'u' or (known[1] and known[4] ~= names) then
    return
  end
  local was_d, was_p = tonumber(known[2] or 0), tonumber(known[3] or 0)
  local more_d, more_p = sub(d, p, was_d, was_p)
  for i = 1, n do
    local it = look(KEYS[key + 1 + i], window_at(ARGV, at + 6 * (i - 1) + 1), now)
    it.hd, it.hp = add(it.hd, it.hp, more_d, more_p)
    if not known[1] then
      it.o = it.o + 1
    end
    save(it)
  end
  d, p = add(was_d, was_p, more_d, more_p)
  local lines = table.concat(ARGV, ' ', at, at + 6 * n - 1)
  redis.call('HSET', hold, 's', 'o', 'd', d, 'p', p, 'n', names, 'l', lines)
  redis.call('ZADD', KEYS[1], now + ttl, hex)
end

while ARGV[at] do
  local hex, raw, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 4])
  local d, p = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 5
  adopt(hex, raw, d, p, n)
  at, key = at + 6 * n, key + 2 + n
end
return 1
